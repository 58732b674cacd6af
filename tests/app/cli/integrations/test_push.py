"""`velatura push`: a real client and a hub on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.command import call
from tests.app.conftest import Trained
from tests.hub import READ_ONLY, TOKEN, Hub, serving


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, to which somebody is logged in and which stores large files by LFS."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nowhere")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def test_push_publishes_what_a_dry_run_writes(trained: Trained, hub: Hub, tmp_path: Path) -> None:
    place = tmp_path / "hub"
    written = call("push", trained.run, "--to", "hub:ann/dusk", "--dry-run", "--out", place, "--json")
    names = json.loads(written.out)["files"]
    pictures = [f"pictures/{number:02}.png" for number in range(1, 5)]  # of every prompt, however short the run
    assert names == ["README.md", "before-after.png", "dusk.safetensors", *pictures] and not hub.repositories
    again = call("push", trained.run, "--to", "hub:ann/dusk", "--dry-run", "--out", place)
    assert again.code == 1 and "already exists" in again.err

    assert call("push", trained.run, "--to", "ann/dusk", "--dry-run", "--out", place, "--overwrite").code == 0
    (place / "main.py").touch()  # somebody's own folder, which has a README, too
    kept = call("push", trained.run, "--to", "ann/dusk", "--dry-run", "--out", place, "--overwrite")
    assert kept.code == 1 and "already exists" in kept.err and (place / "main.py").exists()

    outcome = call("push", trained.run, "--to", "hub:ann/dusk", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["address"] == f"{hub.url}/ann/dusk"
    assert hub.visibility == {"ann/dusk": "private"} and hub.commits == ["Publish dusk with Velatura"]
    assert hub.repositories["ann/dusk"] == {name: (place / name).read_bytes() for name in names}
    assert hub.repositories["ann/dusk"]["dusk.safetensors"] == trained.style.read_bytes()

    taken = call("push", trained.run, "--to", "ann/dusk")
    assert taken.code == 1 and "ann/dusk already exists on the hub" in taken.err and "--update" in taken.err
    updated = call("push", trained.run, "--to", "ann/dusk", "--update", "--public", "--licence", "cc-by-4.0")
    assert updated.code == 0 and "as visible as before" in updated.err + updated.out, updated.err
    assert hub.visibility == {"ann/dusk": "private"}
    assert b"license: cc-by-4.0\n" in hub.repositories["ann/dusk"]["README.md"]


def test_push_to_everybody(trained: Trained, hub: Hub) -> None:
    assert call("push", trained.run, "--to", "hub:ann/dusk", "--public").code == 0
    assert hub.visibility == {"ann/dusk": "public"}


@pytest.mark.parametrize(
    ("token", "refuse", "said"),
    [
        ("", {}, "you are not logged in to the hub"),
        ("hf_old", {}, "wrong or has expired"),
        (READ_ONLY, {}, "your token may not write to ann/dusk"),
        (TOKEN, {"/commit/": 413}, "refused the files of ann/dusk (status 413)"),
        (TOKEN, {"objects/batch": 422}, "refused the files of ann/dusk (status 422)"),
        (TOKEN, {"/create": 404}, "the hub refused ann/dusk (status 404)"),
    ],
)
def test_refusals_of_the_hub_are_sentences(
    trained: Trained, hub: Hub, monkeypatch: pytest.MonkeyPatch, token: str, refuse: dict[str, int], said: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    hub.refuse = refuse
    outcome = call("push", trained.run, "--to", "hub:ann/dusk")
    assert outcome.code == 1 and said in outcome.err, outcome.err


def test_push_without_a_network(trained: Trained, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    outcome = call("push", trained.run, "--to", "hub:ann/dusk")
    assert outcome.code == 1 and "the hub cannot be reached" in outcome.err, outcome.err


def test_push_whose_storage_breaks_off(trained: Trained, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    outcome = call("push", trained.run, "--to", "hub:ann/dusk")
    assert outcome.code == 1 and "run this again with --update" in outcome.err, outcome.err


def test_push_refuses_what_cannot_be_published(trained: Trained, tmp_path: Path) -> None:
    wrong = call("push", trained.run, "--to", "hub:dusk")
    assert wrong.code == 1 and "'hub:dusk' is no place on the hub" in wrong.err
    run = tmp_path / "early"
    run.mkdir()
    shutil.copy(trained.run / "config.toml", run)
    (run / "events.jsonl").touch()
    (run / "style").mkdir()
    (run / "style" / "how-to-load.txt").symlink_to("/etc/hostname")
    link = call("push", run, "--to", "hub:ann/early", "--dry-run", "--out", tmp_path / "hub")
    assert link.code == 1 and "how-to-load.txt is a link" in link.err
    (run / "style" / "how-to-load.txt").unlink()
    early = call("push", run, "--to", "hub:ann/early", "--dry-run", "--out", tmp_path / "hub")
    assert early.code == 1 and "has no style yet" in early.err
