"""`velatura update` and `velatura uninstall` hand over to the installer of the installation that they run in."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.app.command import call

ECHO = "import json, os, sys\nprint(json.dumps([sys.argv[1:], os.environ['PYTHONPATH']]))\nsys.exit(3)\n"


def test_a_checkout_is_not_updated(tmp_path: Path) -> None:
    for command in ("update", "uninstall"):
        outcome = call(command)
        assert outcome.code == 1 and "was not installed by install.sh or install.ps1" in outcome.err


def test_an_installation_runs_its_installer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "installer" / "installer"
    package.mkdir(parents=True)
    (package / "__main__.py").write_text(ECHO)
    (tmp_path / "installation.json").write_text("{}")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "versions" / "1.0"))
    for given, handed in {
        ("update", "some folder", "--sha256", "ab", "--yes"): ["update", "some folder", "--sha256", "ab", "--yes"],
        ("update", "--back"): ["update", "--back"],
        ("uninstall", "--wait"): ["uninstall", "--wait"],
    }.items():
        assert call(*given).code == 3
        expected = [[*handed, "--to", str(tmp_path)], str(tmp_path / "installer")]
        assert json.loads(capfd.readouterr().out) == expected
