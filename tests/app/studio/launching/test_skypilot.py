"""The task for SkyPilot."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from app.studio.launching.skypilot import SkyTask, write_task
from trainers.errors import VelaturaError


def test_a_task_is_yaml_with_what_was_wished(tmp_path: Path) -> None:
    run = tmp_path / "Harbour: blue"
    task = yaml.safe_load(write_task(run, SkyTask("H100:2", spot=False)))
    assert task["name"] == "velatura-harbour-blue"
    assert task["resources"] == {"accelerators": "H100:2", "use_spot": False}
    assert task["file_mounts"] == {"/velatura": {"name": "velatura-harbour-blue", "source": str(run), "mode": "MOUNT"}}
    assert (Path(task["workdir"]) / "pyproject.toml").is_file()
    assert "run=~/velatura-runs/'Harbour: blue'\n" in task["run"] and 'velatura resume "$run"\n' in task["run"]
    assert yaml.safe_load(write_task(run, SkyTask(bucket="mine")))["file_mounts"]["/velatura"]["name"] == "mine"


def test_what_skypilot_could_not_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VelaturaError, match="does not name an accelerator"):
        write_task(tmp_path, SkyTask("L4; rm"))
    with pytest.raises(VelaturaError, match="is not Velatura's source"):
        write_task(tmp_path, SkyTask(), tmp_path)
