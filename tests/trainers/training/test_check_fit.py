"""Refused or said before the first step: settings that would do nothing, images and captions that do not fit."""

from __future__ import annotations

import pytest

from tests.trainers.tiny_runs import events_of, write_images
from trainers.config.build import build_config
from trainers.errors import VelaturaError
from trainers.runs.events import read_events
from trainers.runs.run import Run
from trainers.training.train import train

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.mark.parametrize(
    ("method", "setting"),
    [
        ({"name": "loha", "rank": 2, "tucker": True}, "method.tucker"),  # cross-kv has no k×k kernel
        ({"name": "lora", "tucker": True}, "method.tucker"),
        ({"name": "lokr", "factor": 4, "paper_split": True}, "method.paper_split"),
        ({"name": "lokr", "rank": 64, "decompose_both": True}, "method.decompose_both"),
        ({"name": "lokr", "rank": 64, "full_matrix": False, "rank_dropout": 0.5}, "method.rank_dropout"),
        ({"name": "lokr", "rank": 1, "factor": 2, "full_matrix": False, "tucker": True}, "method.tucker"),
    ],
)
def test_a_setting_without_effect_on_these_layers_is_refused(quick, tmp_path, method, setting):
    with pytest.raises(VelaturaError, match=f"{setting} has no effect on the trained layers"):
        train(quick({"method": method}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_budget_that_lets_nothing_grow_is_refused(quick, tmp_path):
    settings = {"method": {"name": "selora", "budget": 10}}
    with pytest.raises(VelaturaError, match=r"budget = 10 leaves no room to grow: each of the \d+ layers") as caught:
        train(quick(settings), tmp_path / "out")
    assert caught.value.code == "refused", "another attempt would fail the same way"


@pytest.mark.parametrize(("rank", "said"), [(40, True), (8, False)])
def test_a_rank_above_what_layers_can_have_is_said(quick, tmp_path, rank, said):
    run = Run(train(quick({"method": {"rank": rank, "alpha": float(rank)}}), tmp_path).run)
    notes = [event["message"] for event in events_of(run, "note")]
    assert any("method.rank is higher than" in note for note in notes) == said


@pytest.mark.parametrize(("method", "said"), [("sora", True), ("lora", False)])
def test_a_method_that_prodigy_misreads_is_said(quick, tmp_path, method, said):
    settings = {"name": "sora", "rank": 2, "gate_ratio": 1.0} if method == "sora" else {"name": "lora", "rank": 2}
    for optimizer, rate in (("prodigy", 1.0), ("adamw", 1e-3)):
        train_settings = {"optimizer": optimizer, "learning_rate": rate, "steps": 1}
        run = Run(train(quick({"method": settings, "train": train_settings}), tmp_path / optimizer).run)
        notes = [event["message"] for event in events_of(run, "note")]
        assert any("changes parameters outside the optimizer" in note for note in notes) == (
            said and optimizer == "prodigy"
        )


def test_a_rank_by_block_needs_a_low_rank_factor():
    blocks = {"name": "x", "targets": {"blocks": {"mid_block.*": {"rank": 4}}}}
    with pytest.raises(VelaturaError, match=r"no effect while method\.full_matrix"):
        build_config(blocks, {"method": {"name": "lokr"}})


def test_a_rank_by_block_out_of_the_method_s_range_is_named(quick, tmp_path):
    settings = {"method": {"name": "loha"}, "targets": {"blocks": {"mid_block": {"rank": 512}}}}
    with pytest.raises(VelaturaError, match=r"targets.blocks.'mid_block': rank 512 does not fit"):
        train(quick(settings), tmp_path / "out")


def test_small_images_and_long_captions_are_named(quick, tmp_path):
    images = write_images(tmp_path / "odd", {"fox": (13, 13), "house": (96, 96), "moon": (100, 90)})
    (images / "house.txt").write_text("a house " * 60, encoding="utf-8")
    result = train(quick({"data": {"images": str(images), "resolution": 64}}), tmp_path / "out")
    said = [event["message"] for event in read_events(result.run) if event["type"] == "warning"]
    assert any("fox" in line and "data.max_upscale" in line for line in said)
    assert any("house" in line and "75 tokens" in line for line in said)
    assert not any("moon" in line for line in said)
