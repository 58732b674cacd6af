"""The figures of one run's pictures: scores that see no truth, and the truth.

The base's own activations are looked at in several blocks and at several times; the product uses one of them
(`trainers/score/activations.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.scoring.plan import SEEDS, Plan
from benchmarks.scoring.results import BEFORE, Figures
from benchmarks.scoring.states import SIDE
from benchmarks.styles.measure import PERCEPTION
from benchmarks.styles.sets import unseen_of
from tools.icons import icon_name
from tools.starter.measure import as_tensor
from tools.starter.networks.perception import Perception, compare, load_perception
from trainers.config.presets import STARTER
from trainers.config.sections import Base
from trainers.models.images import encode_images
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.models.text import Conditioning
from trainers.randomness import generator
from trainers.score.activations import Activations, change, changes, describe, style_distance, variety
from trainers.score.pictures import gain_error

NEW = 4
"""New subjects of a run, the first prompts of each state."""
TIMES = (0.1, 0.5)
"""Shares of the timesteps at which the base looks at pictures."""
LATENTS, MIDDLE = "latents", "middle"
Seen = Mapping[str, Activations]
"""The activations of pictures by the place where the base looks: `latents`, or a block and a time."""


@dataclass(frozen=True)
class Judges:
    """The base, which scores, and EfficientNet-Lite0, which knows the truth."""

    base: Model
    perception: Perception

    @torch.no_grad()
    def look(self, images: Tensor) -> Seen:
        """The base's own activations of images `(n, 3, h, w)` in [−1, 1], wherever it looks."""
        latents = encode_images(self.base, images)[0]
        seen, text = {LATENTS: describe(latents.flatten(2))}, Conditioning.cat([self.base.encode([""])] * len(images))
        noise = torch.randn((1, *latents.shape[1:]), generator=generator(0, "what a base sees")).expand_as(latents)
        for time in TIMES:
            t = torch.full((len(images),), int(time * self.base.schedule.steps))
            with _outputs(self.base.denoiser) as outputs:
                self.base.predict(self.base.schedule.add_noise(latents, noise, t), t, text)
            seen |= {f"{block} {time:g}": describe(output.flatten(2)) for block, output in outputs.items()}
        return seen


class _Reached(Exception):  # noqa: N818
    """Ends a forward pass in the middle."""


@contextmanager
def _outputs(unet: Any) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of a U-Net's blocks by name, up to the middle, where the forward pass ends."""
    outputs: dict[str, Tensor] = {}
    blocks: dict[str, nn.Module] = {"first": unet.down_blocks[0], MIDDLE: unet.mid_block}

    def keep(name: str) -> Callable[..., None]:
        def hook(_block: nn.Module, _inputs: object, output: Any) -> None:
            outputs[name] = output[0] if isinstance(output, tuple) else output
            if name == MIDDLE:
                raise _Reached

        return hook

    handles = [block.register_forward_hook(keep(name)) for name, block in blocks.items()]
    try:
        yield outputs
    except _Reached:
        pass
    finally:
        for handle in handles:
            handle.remove()


@cache
def judges() -> Judges:
    """Both networks, loaded once."""
    base = load_model(Base(model=STARTER), torch.float32, "cpu")
    return Judges(base, load_perception(PERCEPTION, torch.device("cpu")))


def measure_run(plan: Plan, folder: Path) -> Figures:
    """The figures of the pictures in a run's folder, by state."""
    ruler = _Ruler(plan, folder)
    names = [BEFORE, *(f"{step}@{strength:g}" for step, strength in plan.states)]
    return {name: ruler.measure(name) for name in names}


class _Ruler:
    """Measures states of one run against its training pictures and its truth."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.folder, self.concepts = folder, unseen_of(plan.style)
        self.judges = judges()
        perception = self.judges.perception
        self.trained = _pictures(sorted(path for path in (folder / "trained").iterdir() if path.suffix != ".txt"))
        truth = _pictures([next((folder / "unseen").glob(f"{icon_name(c)}.[pj]*")) for c in self.concepts])
        self.truth, self.truth_embedded = perception.style_and_embeddings(truth)
        self.trained_style, self.trained_embedded = perception.style_and_embeddings(self.trained)
        self.own_trained = self.judges.look(self.trained)
        self.before: dict[int, tuple[Seen, Tensor]] = {}

    def measure(self, state: str) -> dict[str, list[float]]:
        """The figures of a state, each for every drawing seed; the base's come first."""
        rows = [self._measure_seed(state, seed) for seed in SEEDS]
        return {kind: [round(row[kind], 4) for row in rows] for kind in rows[0]}

    def _measure_seed(self, state: str, seed: int) -> dict[str, float]:
        perception = self.judges.perception
        count = NEW + len(self.concepts)
        drawn = _pictures([self.folder / state / f"{number:02d}-{seed}.png" for number in range(count)])
        new, held = drawn[:NEW], drawn[NEW:]
        own, (style, embedded) = self.judges.look(new), perception.style_and_embeddings(new)
        held_style, held_embedded = perception.style_and_embeddings(held)
        if state == BEFORE:
            self.before[seed] = own, embedded
        own_before, embedded_before = self.before[seed]
        return {
            "truth_style": compare(held_style, self.truth),
            "truth_content": float((1 - (held_embedded * self.truth_embedded).sum(1)).mean()),
            "gram": compare(style, self.trained_style),
            "net_change": float((1 - (embedded * embedded_before).sum(1)).mean()),
            "nearest": float((embedded @ self.trained_embedded.T).max()),
            "colours": _colour_distance(new, self.trained),
            **{
                f"{kind} {place}": figure
                for place, seen in own.items()
                for kind, figure in self._own(seen, own_before[place], self.own_trained[place]).items()
            },
        }

    @staticmethod
    def _own(drawn: Activations, before: Activations, trained: Activations) -> dict[str, float]:
        """The figures of one place where the base looks."""
        return {
            "plain": float((drawn.style.mean(0) - trained.style.mean(0)).norm()),
            "whitened": style_distance(drawn.style, trained.style),
            "error": gain_error(before.style, drawn.style, trained.style),
            "change": float(change(drawn, before).mean()),
            "nearest": float(changes(drawn, trained).min()),
            "variety": variety(drawn, [str(number) for number in range(NEW)]) or 0.0,
        }


def _colour_distance(a: Tensor, b: Tensor) -> float:
    """Half the absolute difference of the colour histograms of two sets, eight bins a channel."""

    def histogram(images: Tensor) -> Tensor:
        bins = ((images + 1) * 3.999).long()  # 0 to 7
        index = bins[:, 0] * 64 + bins[:, 1] * 8 + bins[:, 2]
        return torch.bincount(index.flatten(), minlength=512) / index.numel()

    return float((histogram(a) - histogram(b)).abs().sum() / 2)


def _pictures(paths: list[Path]) -> Tensor:
    size = (SIDE, SIDE)
    return as_tensor([Image.open(path).convert("RGB").resize(size, Image.Resampling.LANCZOS) for path in paths])
