"""One row or the cost of a step, in a process of its own."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from benchmarks.quiet import quiet, wait_until_quiet
from benchmarks.styles.rows import BASE, UNIT, Figures, Row, Setup, settings
from benchmarks.styles.sets import LARGER, PHOTOGRAPH, write_style
from tools.starter.measure import as_tensor
from tools.starter.networks.autoencoder import reconstruct
from tools.starter.networks.perception import Perception, load_perception
from trainers.adapters.network import Network
from trainers.atomic_files import whole_file
from trainers.composition.apply import apply_styles
from trainers.composition.schedule import StyleSchedule
from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.data.captions import full_caption
from trainers.data.dataset import CENTRE, Dataset, Draw, load_dataset, pixels
from trainers.errors import VelaturaError
from trainers.formats.embedding import embedding_of
from trainers.formats.read import read_style
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.runs.event_lines import Event
from trainers.sampling.sample import SamplingParams, draw, to_image
from trainers.training.estimate import measure as estimate
from trainers.training.previews import preview_params, with_prefix
from trainers.training.train import Result, train

PERCEPTION = Path("outputs/starter-build/perception")
SEEDS = (1, 2)
"""Of the pictures of each unseen concept."""
TOGETHER, TOGETHER_ELSEWHERE = 16, 4
"""Pictures drawn at once on the starter, and on other bases."""
ROUNDS, WARM_UP, TIMED = 2, 3, 9
"""Of a preset and `UNIT` in turn, and the steps of each."""
PRODUCTS = (functional.conv2d, functional.linear, functional.scaled_dot_product_attention, torch.matmul, torch.bmm)
"""Functions that a processor without bf16 instructions computes up to 70 times slower than in fp32."""


def main(order: str, scratch: str) -> None:
    """Measure what the order (JSON) names, and write `result.json` into the scratch folder."""
    folder, asked = Path(scratch), json.loads(order)
    folder.mkdir(parents=True, exist_ok=True)
    setup = Setup(**asked["setup"])
    result: dict[str, Any]
    try:
        if "row" in asked:
            row = Row(**asked["row"])
            result = {"figures": asdict(measure(row, asked["steps"], setup, folder)), "cpu": round(time.process_time())}
        else:
            result = dict(cost(asked["preset"], setup, folder))
    except VelaturaError as error:
        result = {"error": str(error)}
    if setup.device.startswith("cuda"):
        result["card"] = torch.cuda.get_device_name(setup.device)
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


# ---------------------------------------------------------------- a row
def measure(row: Row, steps: int, setup: Setup, folder: Path) -> Figures:
    """Train a row in a folder, and look at what its file draws of concepts that were not trained."""
    trained, unseen = write_style(row.style, row.pictures, folder, setup.scale)
    if row.preset == BASE:
        return look_at((), config_of(UNIT, setup, row, unseen), unseen, folder)
    clock = _Clock()
    result = train(config_of(row.preset, setup, row, trained, steps), folder / "runs", overwrite=True, listener=clock)
    files = [path for path in (result.run / "style").glob("*.safetensors") if not path.stem.endswith("-diffusers")]
    figures = look_at(_styles(result), config_of(row.preset, setup, row, unseen), unseen, folder)
    size = sum(path.stat().st_size for path in files)
    shutil.rmtree(folder / "runs")
    return replace(
        figures,
        steps=result.steps,
        parameters=result.parameters,
        bytes=size,
        cpu_seconds=round(clock.spent, 2),
        memory=clock.memory,
    )


def config_of(preset: str, setup: Setup, row: Row, images: Path, steps: int = 0) -> Config:
    """The config of a run of so many steps, which draws next to nothing; without steps, that of what is drawn."""
    drawing = {"seeds": SEEDS} if not steps else {"seeds": SEEDS[:1], "steps": 1, "every": 0, "subjects": "captions"}
    options = {
        "name": "row",
        "seed": row.seed,
        "base": {"model": setup.base},
        "data": {"images": str(images)},
        "train": {"device": setup.device, **({"steps": steps} if steps else {})},
        "sample": drawing,
        "save": {"every": 10**6, "keep": 1},
    }
    return build_config(settings(preset, setup), options)


def _styles(result: Result) -> tuple[Path, ...]:
    """The file that people use, and the word that was trained with it."""
    assert result.style is not None  # nothing ends these runs early
    word = embedding_of(result.style)
    return (result.style,) if word is None else (result.style, word)


class _Clock:
    """Of a run's events: time and memory of its steps. Waits while something is timed."""

    def __init__(self) -> None:
        self.began = self.spent = 0.0
        self.memory = 0

    def __call__(self, event: Event) -> None:
        if event["type"] == "start":
            self.began = time.process_time()
        elif event["type"] == "step":
            self.spent, self.memory = time.process_time() - self.began, event["memory"]
            wait_until_quiet()


# ---------------------------------------------------------------- its figures
class _Bf16Products(TorchFunctionMode):
    """Computes products of bf16 tensors in fp32 and rounds them once, as bf16 instructions do."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`, with wider arguments if it is one of `PRODUCTS`."""
        kwargs = kwargs or {}
        if func not in PRODUCTS or args[0].dtype != torch.bfloat16:
            return func(*args, **kwargs)
        args, kwargs = tree_map_only(
            Tensor, lambda each: each.float() if each.is_floating_point() else each, (args, kwargs)
        )
        return func(*args, **kwargs).bfloat16()


def look_at(styles: Sequence[Path], config: Config, unseen: Path, folder: Path) -> Figures:
    """What the base draws with these files, in bf16, beside the truth; `drawn.png` and `truth.png` show it."""
    model = load_model(config.base.whole(), torch.bfloat16, config.train.device)
    perception = load_perception(PERCEPTION, torch.device(config.train.device))
    data = config.data.model_copy(update={"more_resolutions": ()})
    dataset = load_dataset(unseen, data, 0, data.resolution or model.resolution, model.stride)
    truth = torch.stack([pixels(item, Draw(0, False, CENTRE, "")) for item in dataset.items])
    params = _params(config, dataset, model)
    captions = tuple(with_prefix(item.caption, config.sample.prefix) for item in dataset.items)
    bare = _of_base(model, replace(params, prompts=captions), perception, folder.parent)
    files = [(read_style(path), 1.0) for path in styles]
    network = apply_styles(model.parts, model.family.name, files, model.words) if files else None
    drawn = _drawn(model, params, network)
    embedded, true = perception.embed(drawn), perception.embed(truth).repeat_interleave(len(SEEDS), 0)
    for name, images in (("drawn", drawn[:: len(SEEDS)]), ("truth", truth)):
        _beside(images).save(folder / f"{name}.png")
    figures = Figures(
        style=round(perception.style_distance(drawn, truth), 4),
        content=round(float((1 - (embedded * true).sum(1)).mean()), 4),
        change=round(float((1 - (embedded * bare).sum(1)).mean()), 4),
    )
    return figures if styles else _with_limits(figures, model, perception, truth)


def _params(config: Config, dataset: Dataset, model: Model) -> SamplingParams:
    """Every caption with the words that the run trained, at the size of the true pictures."""
    params = preview_params(config, dataset, dataset.items[0].bucket.width, model.starter)
    captions = [full_caption(item.caption, config.data, config.tokens.word) for item in dataset.items]
    prompts = tuple(with_prefix(caption, config.sample.prefix) for caption in captions)
    return replace(params, prompts=prompts, batch=TOGETHER if model.starter else TOGETHER_ELSEWHERE)


def _drawn(model: Model, params: SamplingParams, network: Network | None = None) -> Tensor:
    is_slow = model.device.type == "cpu" and not torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    with _Bf16Products() if is_slow else nullcontext():
        return as_tensor(list(draw(model, params, lambda *_: wait_until_quiet(), StyleSchedule(network))))


def _of_base(model: Model, params: SamplingParams, perception: Perception, folder: Path) -> Tensor:
    """Embeddings of the untouched base's pictures, which are kept for the next rows."""
    kept = folder / f"base-{hashlib.sha256(repr(params).encode()).hexdigest()[:10]}.pt"
    if not kept.exists():
        with whole_file(kept) as building:
            torch.save(perception.embed(_drawn(model, params)), building)
    embedded: Tensor = torch.load(kept, weights_only=True)
    return embedded


def _with_limits(figures: Figures, model: Model, perception: Perception, truth: Tensor) -> Figures:
    """Also how near to the truth its decoded latents are, and one half of it to the other."""
    with torch.no_grad():
        decoded = reconstruct(model.vae, truth.to(model.device))
    distances = perception.style_distance(decoded, truth), perception.style_distance(truth[::2], truth[1::2])
    return replace(figures, truth=round(distances[0], 4), halves=round(distances[1], 4))


def _beside(images: Tensor) -> Image.Image:
    """Square pictures `(n, 3, s, s)` from −1 to 1 in one row."""
    return to_image(torch.cat([*images], dim=2))


# ---------------------------------------------------------------- the cost of a step
def cost(preset: str, setup: Setup, folder: Path) -> dict[str, float]:
    """What a step of a preset costs, in steps of `UNIT`, and its seconds, measured in turn while nothing else runs."""
    trained, _ = write_style(PHOTOGRAPH, LARGER, folder, setup.scale)
    row = Row(preset, "")
    seconds: dict[str, list[float]] = {preset: [], UNIT: []}
    with quiet():
        for each in ROUNDS * (UNIT, preset):
            seconds[each] += _steps(config_of(each, setup, row, trained, 10**4))
    medians = {each: median(times) for each, times in seconds.items()}
    return {"cost": round(medians[preset] / medians[UNIT], 3), "seconds": round(medians[preset], 4)}


def _steps(config: Config) -> list[float]:
    """Seconds of steps after a warm-up: CPU time, which others take little of, but on a card those of the clock."""
    clock = time.process_time if config.train.device == "cpu" else time.monotonic
    ends: list[float] = []
    estimate(config, lambda event: ends.append(clock()) if event["type"] == "step" else None, TIMED + WARM_UP)
    return [after - before for before, after in pairwise(ends)][WARM_UP - 1 :]


if __name__ == "__main__":
    main(*sys.argv[1:])
