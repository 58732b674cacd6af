"""The login to the hub, against one on this machine."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from app.studio.downloads.hub_login import hub_page, is_logged_in, log_in, log_out
from tests.base_hub import TOKEN, BaseHub
from trainers.errors import VelaturaError


def test_a_token_is_stored_once_the_hub_knows_it(
    base_hub: BaseHub, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    assert not is_logged_in() and hub_page("settings/tokens") == f"{base_hub.url}/settings/tokens"
    for wrong in ("", "hf_wrong", "hf_\nwrong", "hf_wrüng"):
        with pytest.raises(VelaturaError, match="does not know this token"):
            log_in(wrong)
    assert not is_logged_in()
    log_in(f" {TOKEN} ")
    assert is_logged_in()
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN in path.read_text(errors="replace")]
    assert {path.name for path in kept} == {"token", "stored_tokens"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)
    assert TOKEN not in caplog.text and TOKEN not in "".join(capsys.readouterr())
    log_out()
    assert not is_logged_in() and not any(path.exists() for path in kept)


def test_without_a_network_a_login_says_so(base_hub: BaseHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", "http://127.0.0.1:9")  # the port that discards
    with pytest.raises(VelaturaError, match="no connection to Hugging Face"):
        log_in(TOKEN)
    assert not is_logged_in()


def test_a_login_by_the_environment_is_not_ended_here(base_hub: BaseHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert is_logged_in()
    with pytest.raises(VelaturaError, match="HF_TOKEN"):
        log_out()
