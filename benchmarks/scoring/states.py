"""One run, in a process of its own: train it, then draw every state's pictures."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.scoring.plan import SEEDS, Plan
from benchmarks.styles.sets import LARGER, unseen_of, write_style
from trainers.adapters.network import Network
from trainers.composition.apply import apply_styles
from trainers.composition.schedule import StyleSchedule
from trainers.config.build import build_config
from trainers.data.subjects import choose_subjects
from trainers.formats.read import read_style
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.runs.event_lines import Event
from trainers.runs.run import Run
from trainers.sampling.sample import SamplingParams, draw
from trainers.training.train import train

SIDE, BATCH = 128, 16
LOSSES = "losses.json"
"""Written last, it says that a run is whole."""
HELD_OUT = 0.17
"""Share of the training pictures for the held-out loss: two of twelve, one of eight."""


def main(plan: str, folder: str) -> None:
    """Train the run (JSON) in a folder and draw its states; `LOSSES` is written last."""
    place, run_plan = Path(folder), Plan(**json.loads(plan))
    trained, _ = write_style(run_plan.style, LARGER, place)
    options = {
        "name": "run",
        "seed": 1,
        "data": {"images": str(trained), "held_out": HELD_OUT},
        "sample": {"seeds": SEEDS[:1], "steps": 1, "every": run_plan.interval},
        "save": {"every": 10_000, "keep": 1},
    }
    config, losses = build_config(run_plan.settings(), options), list[Event]()
    result = train(
        config,
        place / "runs",
        overwrite=True,
        listener=lambda event: losses.append(event) if event["type"] in ("held_out", "step") else None,
    )
    draw_states(run_plan, Run(result.run), place)
    kept = {str(event["step"]): event["loss"] for event in losses if event["type"] == "held_out"}
    facts = {"held_out": kept, "train": [event["loss"] for event in losses if event["type"] == "step"]}
    shutil.rmtree(place / "runs")
    (place / LOSSES).write_text(json.dumps(facts), encoding="utf-8")


def draw_states(plan: Plan, run: Run, place: Path) -> None:
    """Draw the base and every state: new subjects as the run asks for them, and the concepts with a truth."""
    config = run.config()
    model = load_model(config.base, torch.bfloat16, "cpu")
    prompts = (*new_subjects(place), *unseen_of(plan.style))
    _draw(model, None, prompts, place / "base")
    final = next(path for path in sorted(run.style.glob("*.safetensors")) if not path.stem.endswith("-diffusers"))
    files = run.list_snapshots() | {plan.steps: final}
    for step, strength in plan.states:
        network = apply_styles(model.parts, model.family.name, [(read_style(files[step]), strength)], model.words)
        _draw(model, network, prompts, place / f"{step}@{strength:g}")
        network.remove()


def new_subjects(place: Path) -> list[str]:
    """The prompts that a run with these pictures has without prompts of its own."""
    captions = [path.read_text(encoding="utf-8").strip() for path in sorted((place / "trained").glob("*.txt"))]
    return choose_subjects(captions, starter=True)


def _draw(model: Model, network: Network | None, prompts: Sequence[str], folder: Path) -> None:
    params = SamplingParams(
        tuple(prompts), SEEDS, steps=8, guidance=3.0, size=(SIDE, SIDE), sampler="dpm++ 2m quick", batch=BATCH
    )
    folder.mkdir(parents=True, exist_ok=True)
    pictures = draw(model, params, styling=StyleSchedule(network))
    for (prompt, seed), picture in zip(params.pictures, pictures, strict=True):
        picture.save(folder / f"{prompts.index(prompt):02d}-{seed}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
