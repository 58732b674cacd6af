"""The disk space of a run."""

from __future__ import annotations

import os
from pathlib import Path

from app.studio.runs.disk_use import disk_use


def test_a_file_counts_once_and_is_measured_again_after_a_change(tmp_path: Path) -> None:
    run = tmp_path / "dusk"
    for folder in (run / "checkpoints" / "step-1", run / "style"):
        folder.mkdir(parents=True)
    (run / "config.toml").write_bytes(b"x" * 10)
    (run / "checkpoints" / "step-1" / "state").write_bytes(b"x" * 1000)
    (run / "style" / "dusk.safetensors").write_bytes(b"x" * 200)
    assert disk_use(run) == 1210
    os.link(run / "style" / "dusk.safetensors", run / "style" / "again.safetensors")
    (run / "away").symlink_to(run / "checkpoints", target_is_directory=True)
    assert 1210 < disk_use(run) < 1300, "a link has a few bytes"
    (run / "away").unlink()
    assert disk_use(run) == 1210
    (run / "samples").mkdir()
    (run / "samples" / "00.png").write_bytes(b"x" * 30)
    assert disk_use(run) == 1240
    assert disk_use(tmp_path / "gone") == 0


def test_an_unchanged_run_is_not_read_again(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "00.png").write_bytes(b"x" * 30)
    assert disk_use(tmp_path) == 30
    monkeypatch.setattr("app.studio.runs.disk_use._files", lambda _: iter(()))
    assert disk_use(tmp_path) == 30
    (tmp_path / "config.toml").touch()
    assert disk_use(tmp_path) == 0, "else the test proves nothing"
