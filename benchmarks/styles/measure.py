"""One row, in a process of its own: train, then measure what was learned on images that were held out."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.styles.rows import BASE, Figures, Row, settings
from tools.starter.measure import as_tensor
from tools.starter.networks.autoencoder import reconstruct
from tools.starter.networks.perception import Perception, load_perception
from trainers.adapters.network import Network
from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.config.presets import STARTER, find_preset
from trainers.data.dataset import CENTRE, Dataset, Draw, load_dataset, pixels
from trainers.data.sample_sets import SampleSet, read_sets
from trainers.errors import VelaturaError
from trainers.memory import peak_memory
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.runs.event_lines import Event
from trainers.runs.run import Run
from trainers.sampling.sample import draw, drawing_context, to_image
from trainers.training.previews import preview_params
from trainers.training.reopen import reopened
from trainers.training.step.denoising import denoising_errors, make_probes
from trainers.training.train import train

HELD_OUT = slice(1, None, 3)
"""Which of a set's concepts are not trained: every third, one or more of each kind."""
TIMES = 32
SEEDS = (1, 2)
LOOKS = 15
GUIDANCE = 3.0
PERCEPTION = Path("outputs/starter-build/perception")


def main(row: str, scratch: str) -> None:
    """Measure the row (JSON) and write `result.json` into its scratch folder, and what it drew beside it."""
    folder = Path(scratch)
    found: dict[str, Any]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        figures = measure(Row(**json.loads(row)), folder)
        found = {"figures": asdict(figures), "threads": torch.get_num_threads(), "cpu": round(time.process_time(), 1)}
    except VelaturaError as error:
        found = {"error": str(error)}
    (folder / "result.json").write_text(json.dumps(found), encoding="utf-8")


def measure(row: Row, folder: Path) -> Figures:
    """Train a row in a folder, and look at what it learned."""
    sample = read_sets()[row.style]
    held_out = set(sample.concepts[HELD_OUT])
    trained = put_images(sample, [c for c in sample.concepts if c not in held_out], folder / "trained")
    unseen = put_images(sample, sample.concepts[HELD_OUT], folder / "unseen")
    options = {
        "name": "row",
        "seed": row.seed,
        "data": {"images": str(trained)},
        # its own pictures do not matter; those of the held-out captions do
        "sample": {"seeds": SEEDS[:1], "steps": 1, "guidance": GUIDANCE, "every": 0, "subjects": "captions"},
        "save": {"every": 10_000, "keep": 1},
    }
    if row.preset == BASE:
        return _measure_base(build_config(find_preset("lora").settings_for(STARTER), options), unseen, folder)
    config = build_config(settings(row), options)
    clock = _Clock()
    result = train(config, folder / "runs", overwrite=True, listener=clock)
    with reopened(Run(result.run)) as found:
        session = found.session
        figures = look_at(session.model, session.network, session.config, unseen, folder)
    files = [path for path in (result.run / "style").glob("*.safetensors") if not path.stem.endswith("-diffusers")]
    size = sum(path.stat().st_size for path in files)
    shutil.rmtree(folder / "runs")
    return replace(
        figures,
        learning_rate=config.train.learning_rate,
        parameters=result.parameters,
        bytes=size,
        seconds=result.seconds,
        cpu_seconds=round(clock.spent, 2),
        memory=clock.memory,
    )


def put_images(sample: SampleSet, concepts: Sequence[str], folder: Path) -> Path:
    """A folder with these concepts' images of a set, and their captions."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for concept in concepts:
        for path in sample.folder.glob(f"{concept.replace(' ', '-')}.*"):
            shutil.copy(path, folder)
    return folder


class _Clock:
    """Of a run's events: time and memory of its steps."""

    def __init__(self) -> None:
        self.began = self.spent = 0.0
        self.memory = 0

    def __call__(self, event: Event) -> None:
        if event["type"] == "start":
            self.began = time.process_time()
        elif event["type"] == "step":
            self.spent, self.memory = time.process_time() - self.began, event["memory"]


def _measure_base(config: Config, unseen: Path, folder: Path) -> Figures:
    model = load_model(config.base, torch.float32, "cpu")
    figures = look_at(model, None, config, unseen, folder)
    truth = _truth(_open(model, config, unseen))
    with torch.no_grad():
        decoded = reconstruct(model.vae, truth)
    distance = _perception().style_distance(decoded, truth)
    return replace(figures, truth=round(distance, 4), memory=peak_memory(torch.device("cpu")))


def look_at(model: Model, network: Network | None, config: Config, unseen: Path, folder: Path) -> Figures:
    dataset = _open(model, config, unseen)
    errors = denoising_errors(model, network, make_probes(model, dataset.items, config, TIMES), config)
    params = preview_params(config, dataset, dataset.items[0].bucket.width, model.starter)  # the held-out captions
    if network is not None:
        network.holder.context = drawing_context(model, params)
    drawn = list(draw(model, replace(params, seeds=SEEDS, steps=LOOKS)))
    truth = _truth(dataset)
    beside(drawn[:: len(SEEDS)]).save(folder / "drawn.png")
    beside([to_image(image) for image in truth]).save(folder / "truth.png")
    distance = _perception().style_distance(as_tensor(drawn), truth)
    return Figures(loss=round(float(errors.mean()), 5), style=round(distance, 4))


def _open(model: Model, config: Config, folder: Path) -> Dataset:
    return load_dataset(folder, config.data, 0, config.data.resolution or model.resolution, model.stride)


def _truth(dataset: Dataset) -> Tensor:
    """The images as they are trained, `(n, 3, h, w)` from −1 to 1."""
    return torch.stack([pixels(item, Draw(0, False, CENTRE, "")) for item in dataset.items])


def _perception() -> Perception:
    return load_perception(PERCEPTION, torch.device("cpu"))


def beside(pictures: Sequence[Image.Image]) -> Image.Image:
    """Square pictures of one size in one row."""
    side = pictures[0].height
    strip = Image.new("RGB", (side * len(pictures), side))
    for number, picture in enumerate(pictures):
        strip.paste(picture, (number * side, 0))
    return strip


if __name__ == "__main__":
    main(*sys.argv[1:])
