"""A trial draws what the run would, and keeps nothing."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainers.errors import VelaturaError
from trainers.training.briefly import try_out
from trainers.training.train import train

pytestmark = pytest.mark.usefixtures("quick_runs")


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Where trials do their work."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_it_draws_what_the_run_draws_last(quick, tmp_path, scratch):
    config = quick(
        {"train": {"steps": 3, "learning_rate": 0.01}, "sample": {"prompts": ["a fox", "a boat"], "steps": 4}}
    )
    told = list[dict[str, Any]]()
    picture = try_out(config, 60.0, 3, told.append)
    assert [event["step"] for event in told if event["type"] == "step"] == [1, 2, 3] and not list(scratch.iterdir())
    run = train(config, tmp_path / "runs").run
    before, last = (
        np.asarray(Image.open(run / "samples" / step / "00.png"), int) for step in ("step-00000000", "final")
    )
    drawn = np.asarray(picture, int)
    assert np.abs(drawn - last).max() <= 2 < np.abs(drawn - before).max()


def test_it_ends_after_its_seconds_and_draws_small_and_soon(quick, monkeypatch, tmp_path):
    monkeypatch.setattr("trainers.training.briefly.SIDE", 8)
    config, told = quick({"train": {"steps": 50}}), list[dict[str, Any]]()
    assert try_out(config, 0.0, 1, told.append, tmp_path).size == (8, 8)
    assert [event["step"] for event in told if event["type"] == "step"] == [1]
    with pytest.raises(VelaturaError, match=r"only 1 steps in 0 s show nothing yet"):
        try_out(config, 0.0, 2, told.append, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]
