"""Runs that have ended, as a page sees them: written, not trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.trainers.data.pictures import scene
from trainers.config.build import build_config, dump_config
from trainers.models.files.source import base_name
from trainers.runs.events import Recorder
from trainers.runs.run import Run

PROMPTS = ("a lighthouse on a rock", "two cats on a sofa")
LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def write_run(
    runs: Path,
    name: str,
    settings: Mapping[str, Any] | None = None,
    prompts: Sequence[str] = PROMPTS,
    first: int = 0,
    side: int = 96,
) -> Path:
    """A finished run, drawn before training, at half its steps, at its last and from its file.

    `first` says which pictures and which file, `side` how many pixels wide: copies of small ones are made quickly.
    """
    run = runs / name
    config = build_config({"name": name, "base": {"model": "starter"}, "data": {"images": "dataset"}}, settings or {})
    steps = config.train.steps
    for folder in ("style", "samples"):
        (run / folder).mkdir(parents=True)
    (run / "config.toml").write_text(dump_config(config), encoding="utf-8")
    record = Recorder(run)
    facts = {"method": config.method.name, "base": base_name(config.base.model), "images": 12, "prompts": list(prompts)}
    record("start", steps=steps, **facts)
    for step in range(1, steps + 1):
        loss = 0.1 + 0.3 * math.exp(-5 * step / steps) + 0.01 * math.sin(step + first)
        record("step", step=step, steps=steps, loss=loss, lr=config.train.learning_rate, speed=2.0)
    for number, folder in enumerate(("step-00000000", f"step-{steps // 2:08d}", f"step-{steps:08d}", "final")):
        (run / "samples" / folder).mkdir()
        for row in range(len(prompts)):
            scene(first + 10 * number + row, (side, side)).save(run / "samples" / folder / f"{row:02d}.png")
    write_style(run, first + 1)
    record("done", step=steps)
    return run


def write_style(run: Path, number: int = 1) -> None:
    """The exported style of a run; another one for each number."""
    (run / "style").mkdir(exist_ok=True)
    save_file(_tensors(number), run / "style" / f"{run.name}.safetensors")


def write_snapshot(run: Path, step: int) -> Path:
    """The style of a run as it was at a step."""
    Run(run).snapshots.mkdir(exist_ok=True)
    save_file(_tensors(step), Run(run).snapshot(step))
    return Run(run).snapshot(step)


def write_scores(run: Path, best: int, steps: Sequence[int], nearest: float = 6.0) -> None:
    """Scores of the base and of steps, of which `best` is the best: as near as the later ones, with less change."""
    record = Recorder(run)
    for step in (0, *steps):
        distance = 10.0 if not step else nearest if step >= best else 9.9
        record("score", step=step, distance=distance, change=step / 100, error=0.1, pictures=4)


def _tensors(number: int) -> dict[str, torch.Tensor]:
    tensors = {f"{LAYER}.lora_up.weight": torch.ones(320, 8), f"{LAYER}.lora_down.weight": torch.ones(8, 768)}
    return {key: tensor * number for key, tensor in tensors.items()}
