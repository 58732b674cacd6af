"""An estimate's numbers are those of the run that it is about."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from app.cli.train import in_words
from app.studio.runs.estimates import measure_config
from tests.pairs import seldom_but
from tests.tiny_flow import tiny_flow_folder
from tests.trainers.tiny_runs import events_of
from trainers.errors import VelaturaError
from trainers.messages import from_record
from trainers.runs.run import Run
from trainers.training.estimate import PICTURE_STEPS, measure
from trainers.training.train import train

pytestmark = pytest.mark.usefixtures("quick_runs")


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Where estimates do their work."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_it_counts_what_the_run_does_and_weighs_what_it_writes(quick, tmp_path, scratch):
    sample = {"every": 3, "prompts": ["a fox", "a boat"], "steps": PICTURE_STEPS + 2}
    config = quick({"train": {"steps": 7}, "sample": sample, "prior": {"prompt": "a drawing", "images": 3}})
    told = []
    found = measure(config, told.append)
    assert (found.steps, found.measured, found.device) == (7, 5, "cpu")
    assert [event["step"] for event in told if event["type"] == "step"] == [1, 2, 3, 4, 5]
    assert list(scratch.iterdir()) == []  # nothing is left of it
    result = train(config, tmp_path / "runs")
    assert found.pictures == len(events_of(Run(result.run), "drawing")) == 2 * (1 + 2 + 2) + 3
    # The metadata says other times and numbers of steps, in a few other letters.
    assert abs(found.file - result.style.stat().st_size) < 64
    counted = found.steps * found.seconds_a_step + found.pictures * found.seconds_a_picture
    assert found.seconds_a_step > 0 and found.seconds_a_picture > 0 and found.seconds > counted
    weights = sum(path.stat().st_size for path in Path(config.base.model).rglob("*.safetensors"))
    assert found.memory > weights and found.free > 0


@pytest.mark.parametrize("method", seldom_but(("adalora",), ("selora", "adalora", "lora")))
def test_the_file_of_a_method_that_moves_its_rank_is_one_of_its_highest_ranks(quick, tmp_path, method):
    rank = {"rank": 8} | ({"target_rank": 2} if method == "adalora" else {})
    moved = measure(quick({"train": {"steps": 40}, "method": {"name": method, **rank}}))
    fixed = train(quick({"method": {"name": "lora", "rank": 8}}), tmp_path)
    assert moved.at_most == (method != "lora")
    assert abs(moved.file - fixed.style.stat().st_size) < 512  # the metadata


def test_a_run_shorter_than_an_estimate_is_measured_to_its_end(quick):
    found = measure(quick({"train": {"steps": 1}, "sample": {"every": 0, "steps": 1, "prompts": ["a fox"]}}))
    assert (found.measured, found.pictures) == (1, 3) and found.seconds_a_step > 0


def test_what_could_not_be_trained_is_said_and_nothing_is_left(quick, scratch):
    with pytest.raises(VelaturaError, match="matches no layer"):
        measure(quick({"targets": {"unet": ["no.such.*"]}}))
    assert list(scratch.iterdir()) == []


@pytest.mark.thorough
def test_an_estimate_on_a_transformer_says_which_card_it_fits(quick, tmp_path):
    flow = {"loss": {"weighting": "none"}, "targets": {"unet": "attn"}, "sample": {"sampler": "euler"}}
    base = {"base": {"model": str(tiny_flow_folder("chroma", tmp_path))}, "train": {"steps": 1}}
    told: dict[str, dict[str, Any]] = {}
    found = measure_config(quick(base, flow), lambda kind, **facts: told.update({kind: facts}))
    assert found.cards[0] == "fits in 6 GB in 16 bits (computed, not measured on a card)" and len(found.cards) == 5
    assert from_record(told["estimate"]["card"]) == found.cards[0] and json.dumps(told["estimate"])
    assert in_words(found)[-1].startswith("card    fits in 24 GB in 16 bits")
