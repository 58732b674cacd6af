"""A run of several processes ends as one process would: the same draws, choices, gradients and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainers.distributed.several import result_of, train_together
from tests.trainers.tiny_runs import METHODS, WORD, both, equal, events_of, one
from trainers.adapters.methods import METHODS as KINDS
from trainers.config.build import as_table
from trainers.config.config import Config
from trainers.runs.run import Run

MOST = 3e-3
"""How far parameters may be from those of one process, relative to how far they have moved; rounding grows in Adam."""
MOST_OF_GRADIENTS = 1e-5
CHOICES = ("kept", "open", "use", "settled")
"""Buffers in which methods keep which of their components count."""

DRAWN: dict[str, Any] = {
    "data": {"flip": True, "crop": "random", "caption_dropout": 0.3},
    "loss": {"noise_offset": 0.1},
    "train": {"batch_size": 6, "accumulation": 2, "gradient_checkpointing": True, "learning_rate": 1e-3, "ema": 0.9},
}
"""Everything that is drawn for the whole batch and sliced, gradients from two batches, activations recomputed."""
DROPPED = {"dropout": 0.2, "rank_dropout": 0.3, "module_dropout": 0.1}
RECIPES: Mapping[str, dict[str, Any]] = {
    "schedule-free": {
        "train": {"optimizer": "schedule-free", "max_grad_norm": 0.5},
        "loss": {"weighting": "debiased", "kind": "huber", "huber_schedule": "snr"},
    },
    "output-kept": {
        "prior": {"kind": "output", "prompt": "a drawing"},
        "data": {"trigger": "dusk", "tag_dropout": 0.3, "wildcards": True, "caption_dropout": 0.3},
    },
    "noise": {
        "train": {"optimizer": "came", "max_norm": 0.01, "schedule": "rex", "floor": 0.1},
        "loss": {
            "multires_iterations": 3, "noise_offset": 0.1, "noise_offset_random": True, "input_perturbation": 0.1,
            "input_perturbation_random": True, "kind": "smooth-l1",
        },
    },
}  # fmt: skip
"""Recipes that draw, average or weigh in ways of their own."""
TEXT = {"adapter": "attn-mlp", "krona-b": "attn-mlp", "t-lora": "none", "vpt": "none"}
BLOCKS = ("adapter", "krona-b", "vpt", "ssf", "bitfit", "ia3")


def dropping(method: str) -> dict[str, Any]:
    """Small settings of a method with all the dropout that it has."""
    known = {field.name for field in fields(KINDS[method])} - ({"rank_dropout"} if method == "lokr" else set())
    return METHODS[method] | {name: share for name, share in DROPPED.items() if name in known}


def everything(method: str, steps: int) -> dict[str, Any]:
    """Settings of a method's run in which everything is drawn, and the text encoder stops before its end."""
    text = TEXT.get(method, "attn")
    targets = {"unet": "attn-mlp" if method in BLOCKS else "cross-kv", "text_encoder": text}
    train = {"steps": steps, **({} if text == "none" or steps < 3 else {"text_encoder_stop": 0.6})}
    return both(DRAWN, {"method": dropping(method), "targets": targets, "train": train, "save": {"every": steps}})


def check_same(folder: Path, case: str, count: int) -> None:
    """All processes have the same bits, the same choices as one process, and its parameters but for rounding."""
    ends = [result_of(folder, case, count, index, "end") for index in range(count)]
    assert all(equal(ends[0], other) for other in ends[1:]), case
    alone, start = result_of(folder, case, 1, 0, "end"), result_of(folder, case, 1, 0, "start")
    chosen = [name for name in alone if name.rpartition(".")[2] in CHOICES]
    assert equal({name: alone[name] for name in chosen}, {name: ends[0][name] for name in chosen}), case
    moving = [name for name in alone if alone[name].is_floating_point() and name not in chosen]
    assert distance(alone, ends[0], moving) <= MOST * distance(alone, start, moving), case
    zero = [name for name in moving if not start[name].any()]
    assert distance(alone, ends[0], zero) <= MOST * distance(alone, start, zero), case


def check_gradients(folder: Path, case: str, count: int) -> None:
    alone, shared = (result_of(folder, case, number, 0, "gradients") for number in (1, count))
    assert alone.keys() == shared.keys(), case
    nothing = {name: torch.zeros_like(tensor) for name, tensor in alone.items()}
    assert distance(alone, shared, alone) <= MOST_OF_GRADIENTS * distance(alone, nothing, alone), case


def distance(left: Mapping[str, Tensor], right: Mapping[str, Tensor], names: Any) -> float:
    squares = [(left[name].double() - right[name].double()).square().sum() for name in names]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


@pytest.fixture(scope="module")
def quick_table(quick):
    def table(*layers: Mapping[str, Any]) -> dict[str, Any]:
        config: Config = quick(*layers)
        return as_table(config)

    return table


def test_two_processes_end_as_one_does(quick_table, tmp_path):
    pair = one("train.batch_size", 2)
    prior = {"prior": {"prompt": "a drawing", "images": 2}, "data": {"caption_dropout": 0.5}}
    cases = {
        "double-sora": quick_table(everything("sora", 3), pair),
        "word-and-prior": quick_table(WORD, prior, pair, one("train.steps", 2), one("method.dropout", 0.2)),
        **{name: quick_table(recipe, pair, one("train.steps", 2)) for name, recipe in RECIPES.items()},
    }
    for count in (1, 2):
        train_together(tmp_path / "runs", cases, count)
    for case in cases:
        check_same(tmp_path / "runs", case, 2)
    check_gradients(tmp_path / "runs", "double-sora", 2)
    runs = [Run(tmp_path / "runs" / str(count) / "double-sora") for count in (1, 2)]
    losses = [[event["loss"] for event in events_of(run, "step")] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and len(losses[0]) == 3
    assert [events_of(run, "start")[0]["devices"] for run in runs] == [1, 2]


@pytest.mark.thorough
@pytest.mark.parametrize("count", [2, 3])
def test_every_method_ends_as_with_one_process(count, quick_table, tmp_path):
    cases = {name: quick_table(everything(name, 20)) for name in METHODS}
    cases |= {f"double-{name}": quick_table(everything(name, 1)) for name in METHODS}
    tokens = {"method": METHODS["vpt"] | {"unconditional": False}, "targets": {"unet": "attn-mlp"}}
    cases["tokens"] = quick_table(tokens, {"data": {"caption_dropout": 0.8}}, one("train.batch_size", 6))
    for number in (1, count):
        train_together(tmp_path / "runs", cases, number)
    check_same(tmp_path / "runs", "tokens", count)
    for name in METHODS:
        check_same(tmp_path / "runs", name, count)
        check_gradients(tmp_path / "runs", f"double-{name}", count)
