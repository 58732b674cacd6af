"""What makes a run fit is chosen in order, within what the settings say, and written down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_flow import tiny_flow_folder
from tests.trainers.tiny_runs import events_of
from trainers.config.build import build_config
from trainers.errors import VelaturaError
from trainers.planning.activations import Activations
from trainers.planning.needs import RESERVE, MemoryChoice, Needs, needs_of
from trainers.planning.plan import GB, card_lines, choices, choose, fits, in_words, plan_memory
from trainers.runs.run import Run
from trainers.training.train import train

pytestmark = pytest.mark.long

NEEDS = Needs(
    denoiser={"full": 20 * GB, "int8": 10 * GB, "nf4": 5 * GB},
    blocks={"full": (2 * GB,) * 10, "int8": (GB,) * 10, "nf4": (GB // 2,) * 10},
    encoders={"full": (2 * GB,), "int8": (GB,), "nf4": (GB // 2,)},
    vae=0,
    decoding=GB // 8,
    trained=GB // 2,
    activations=Activations(kept=20 * GB, recomputed=2 * GB, largest=GB // 4),
    largest_weight=GB // 4,
)


def config(**table: Any) -> Any:
    return build_config({"name": "x"} | table)


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (43, MemoryChoice()),
        (41.5, MemoryChoice(offload_encoders=True)),
        (40, MemoryChoice("full", 0, True)),
        (23, MemoryChoice("full", 0, True, True)),
        (14.5, MemoryChoice("int8", 0, True)),
        (13.5, MemoryChoice("int8", 0, True, True)),
        (11.5, MemoryChoice("int8", 5, True, True)),
        (8.5, MemoryChoice("nf4", 0, True)),
        (8, MemoryChoice("nf4", 0, True, True)),
        (7, MemoryChoice("nf4", 5, True, True)),
        (4, None),
    ],
)
def test_what_costs_least_and_fits_is_chosen(room, expected):
    found = choose(NEEDS, config(), room * GB)
    assert found == expected and (found is None or NEEDS.bytes_of(found) <= room * GB)


def test_settings_are_not_overruled():
    assert {each.storage for each in choices(NEEDS, config(base={"storage": "nf4"}))} == {"nf4"}
    assert {each.swap_blocks for each in choices(NEEDS, config(base={"swap_blocks": 3}))} == {3}
    assert all(each.checkpointing for each in choices(NEEDS, config(train={"gradient_checkpointing": True})))
    varied = config(data={"shuffle_tags": True})
    assert not any(each.offload_encoders for each in choices(NEEDS, varied)), "they have work in every step"
    whole = list(choices(NEEDS, config(method={"name": "full"})))
    assert {each.storage for each in whole} == {"full"} and max(each.swap_blocks for each in whole) == 10
    assert not any(each.swap_blocks for each in choices(NEEDS, config(), swaps=False))


def test_it_is_said_in_one_line_for_each_size_of_card():
    lines = fits(NEEDS, config())
    assert [line.removesuffix(" (computed, not measured on a card)") for line in lines[:3]] == [
        "fits in 6 GB as NF4 with 9 blocks and the encoders in main memory",
        "fits in 8 GB as NF4 with 5 blocks and the encoders in main memory",
        "fits in 12 GB as int8 with 5 blocks and the encoders in main memory",
    ]
    tight = replace(NEEDS, trained=9 * GB)
    assert fits(tight, config())[0] == "does not fit in 6 GB (computed, not measured on a card)"
    assert in_words(MemoryChoice("int8", 10, True)) == "as int8 with 10 blocks in main memory"
    assert in_words(MemoryChoice()) == "in 16 bits"


def test_unets_are_left_alone_unless_a_size_is_given(tiny_bases, monkeypatch):
    told: list[str] = []
    settings = config(base={"model": str(tiny_bases["sd1"])})
    assert plan_memory(settings, told.append) is settings and card_lines(settings) == () and not told
    sized = config(base={"model": str(tiny_bases["sd1"])}, train={"memory": 4})
    found = plan_memory(sized, told.append)
    assert found.train.memory == 0 and found.base.storage == "full" and not found.train.gradient_checkpointing
    assert len(told) == 1 and "of 3.4 GB" in told[0] and "in 16 bits" in told[0]
    monkeypatch.setattr("trainers.planning.plan.RESERVE", 4 * GB)
    with pytest.raises(VelaturaError, match=r"needs 0.0 GB at least, with the base as NF4 .* leaves 0.0"):
        plan_memory(sized, told.append)
    assert RESERVE < GB


@pytest.mark.usefixtures("no_pictures")
def test_a_run_keeps_what_was_chosen_for_it(quick, tmp_path, monkeypatch):
    base = tiny_flow_folder("chroma", tmp_path / "base")
    flow = {"loss": {"weighting": "none"}, "targets": {"unet": "attn", "text_encoder": "none"}}
    settings = quick({"base": {"model": str(base)}, "sample": {"sampler": "euler"}}, flow)
    assert settings.train.memory == "auto"
    needs = needs_of(settings, torch.float32)
    room = needs.bytes_of(MemoryChoice("int8", 0, True))
    monkeypatch.setattr("trainers.planning.plan.free_memory", lambda _device: room)
    run = Run(train(settings, tmp_path / "runs").run)
    found = run.config()
    assert (found.base.storage, found.base.swap_blocks) == ("int8", 0)
    assert found.train.gradient_checkpointing and found.train.memory == 0
    notes = [event["message"] for event in events_of(run, "note")]
    assert any(note.startswith("With the base as int8 with gradient checkpointing, the training") for note in notes)


def test_computed_lines_of_a_folder(tmp_path):
    settings = config(base={"model": str(tiny_flow_folder("chroma", Path(tmp_path)))})
    assert card_lines(settings)[0] == "fits in 6 GB in 16 bits (computed, not measured on a card)"
