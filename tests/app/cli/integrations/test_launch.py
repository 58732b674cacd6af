"""`velatura launch`, with a stand-in for sbatch and sky."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.app.command import call
from tests.app.conftest import Trained

STOPPED = '{"time": 2, "type": "stopped", "step": 1}\n'


@pytest.fixture
def run(trained: Trained, tmp_path: Path) -> Path:
    """A run that was stopped."""
    run = tmp_path / "runs" / "dusk"
    shutil.copytree(trained.run, run)
    events = run / "events.jsonl"
    kept = [line for line in events.read_text("utf-8").splitlines(True) if '"type": "done"' not in line]
    events.write_text("".join(kept) + STOPPED, encoding="utf-8")
    return run


def put_tool(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, script: str) -> Path:
    """Let a command be the only one on this machine."""
    folder.mkdir()
    tool = folder / name
    tool.write_text(f'#!/bin/sh\necho "$@" > {folder}/asked\n{script}\n', encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder / "asked"


@pytest.mark.skipif(os.name == "nt", reason="Slurm runs on Linux")
def test_a_run_is_submitted_where_sbatch_is(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = put_tool(monkeypatch, tmp_path / "tools", "sbatch", "echo 17")
    written = call("launch", "slurm", run, "--dry-run", "--option", "partition=gpu")
    script = run / "slurm.sh"
    assert written.code == 0 and "nothing was submitted" in written.err and not asked.exists()
    assert "#SBATCH --partition=gpu\n" in script.read_text("utf-8")
    outcome = call("launch", "slurm", run, "--time", "60", "--json")
    assert outcome.code == 0 and asked.read_text() == f"--parsable {script}\n", outcome.err
    assert json.loads(outcome.out) == {"file": str(script), "submitted": True, "answer": "17"}
    (tmp_path / "tools" / "sbatch").write_text("#!/bin/sh\necho 'invalid partition' >&2\nexit 1\n", encoding="utf-8")
    refused = call("launch", "slurm", run)
    assert refused.code == 1 and "sbatch has refused" in refused.err and "invalid partition" in refused.err
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "sbatch is not on this machine" in call("launch", "slurm", run).err


@pytest.mark.skipif(os.name == "nt", reason="its stand-in is a script of a shell")
def test_a_machine_is_rented_only_after_a_yes(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = put_tool(monkeypatch, tmp_path / "tools", "sky", "echo launched")
    monkeypatch.setattr("typer.confirm", lambda _question: False)
    declined = call("launch", "skypilot", run)
    assert declined.code == 0 and "nothing was submitted" in declined.err and not asked.exists()
    assert call("launch", "skypilot", run, "--yes", "--gpu", "A100:2").code == 0
    assert asked.read_text() == f"jobs launch --yes --detach-run {run / 'skypilot.yaml'}\n"
    assert '"accelerators": "A100:2"' in (run / "skypilot.yaml").read_text("utf-8")


def test_runs_that_need_no_machine_are_refused(trained: Trained, tmp_path: Path) -> None:
    finished = call("launch", "slurm", trained.run)
    assert finished.code == 1 and "has finished" in finished.err and not (trained.run / "slurm.sh").exists()
    assert "is not a run folder" in call("launch", "skypilot", tmp_path).err


def test_the_command_for_a_finished_run_quotes_its_name(trained: Trained, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "red fox"
    shutil.copytree(trained.run, run)
    said = " ".join(call("launch", "slurm", run).err.split())
    assert f"“{run}” has finished" in said and f"velatura resume '{run}' --steps N" in said
