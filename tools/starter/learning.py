"""How near a style that the starter never saw comes to its truth, trained on the twelve images of a sample set."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tools.samples.sources import Drawings, find_source
from tools.starter.drawings.captions import describe
from tools.starter.drawings.sets import held_out_sets, trained_sets
from tools.starter.measure import GUIDANCE, STEPS, Truth, as_tensor, draw_all, open_base, pick_concepts, read_truth
from tools.starter.networks.autoencoder import reconstruct
from tools.starter.networks.perception import Perception
from trainers.config.build import build_config
from trainers.config.presets import STARTER, find_preset
from trainers.data.sample_sets import SampleSet, read_sets
from trainers.models.model import Model
from trainers.sampling.sample import to_image

PRESET = "balanced"
METHODS = ("lora", "loha", "lokr", "oft")
SEEDS = (0, 1, 2)
CONCEPTS = 12  # drawn, none of them in the sample set
IMAGES, ORIGINALS = "the images", "the originals"
LONGER = ((IMAGES, 6), (ORIGINALS, 1), (ORIGINALS, 6))
"""On what the base is trained further, and for how many times the preset's steps."""


Figures = dict[str, float]
Learned = dict[str, dict[str, list[Figures]]]
"""By style and method, the figures of each seed."""
Longer = dict[str, dict[str, Figures]]
"""By style, and by what it was trained on for how many steps: `the images, 1080 steps`."""


@dataclass(frozen=True)
class HeldOut:
    """A sample set of a style that was held out, and the true drawings of other concepts, with and without decoding."""

    sample_set: SampleSet
    truth: Truth
    decoded: Tensor


def measure_learning(base: Path, perception: Perception, drawings: Path, known: Learned) -> Iterator[Learned]:
    """For each held-out set and method: style and content distance to its truth before and after, and what is left.

    `known` is what was measured already; all that is known is handed out after each method.
    """
    found = {style: {**by_method} for style, by_method in known.items()}
    for held_out in read_held_out(base, drawings):
        by_method = found.setdefault(held_out.sample_set.name, {})
        images, truth = held_out.sample_set.folder, held_out.truth
        for method in METHODS:
            if method not in by_method:
                drawn = [draw_before_and_after(base, images, truth.concepts, method, seed) for seed in SEEDS]
                by_method[method] = [compare(perception, *pair, truth.images, held_out.decoded) for pair in drawn]
                yield found


def measure_longer(base: Path, perception: Perception, drawings: Path, known: Longer) -> Iterator[Longer]:
    """The same figures after more steps, and of training on the very drawings that are compared with (one seed).

    `known` is what was measured already; all that is known is handed out after each training.
    """
    usual = find_preset(PRESET).method
    steps = settings_of(usual)["train"]["steps"]
    found = {style: {**figures} for style, figures in known.items()}
    for held_out in read_held_out(base, drawings):
        truth, figures = held_out.truth, found.setdefault(held_out.sample_set.name, {})
        with tempfile.TemporaryDirectory() as folder:
            write_drawings(truth, Path(folder))
            places = {IMAGES: held_out.sample_set.folder, ORIGINALS: Path(folder)}
            for images, times in LONGER:
                name = f"{images}, {steps * times} steps"
                if name not in figures:
                    pair = draw_before_and_after(base, places[images], truth.concepts, usual, SEEDS[0], steps * times)
                    figures[name] = compare(perception, *pair, truth.images, held_out.decoded)
                    yield found


def read_held_out(base: Path, drawings: Path) -> Iterator[HeldOut]:
    """The sample sets that have a truth to compare with: those of drawings."""
    held_out = {icon_set.package: icon_set for icon_set in held_out_sets()}
    vae = open_base(base).vae
    for sample_set in read_sets().values():
        source = find_source(sample_set)
        if isinstance(source, Drawings):
            concepts = [concept for concept in pick_concepts(drawings) if concept not in sample_set.concepts][:CONCEPTS]
            truth = read_truth(drawings, held_out[source.package], concepts)
            yield HeldOut(sample_set, truth, reconstruct(vae, truth.images))


def write_drawings(truth: Truth, folder: Path) -> None:
    """Write true drawings as images to train on, each with its concept as the caption."""
    for concept, image in zip(truth.concepts, truth.images, strict=True):
        path = folder / f"{concept}.png"
        to_image(image).save(path)
        path.with_suffix(".txt").write_text(concept, encoding="utf-8")


def measure_taught(model: Model, perception: Perception, drawings: Path) -> dict[str, dict[str, float]]:
    """The style distance to each taught set of what is drawn in its style, and of its own drawings, decoded.

    What thousands of steps have not brought nearer, a style that is learned later hardly brings nearer.
    """
    concepts = pick_concepts(drawings)[:CONCEPTS]
    result = {}
    for icon_set in trained_sets():
        truth = read_truth(drawings, icon_set, concepts).images
        drawn = draw_all(model, [describe(concept, icon_set.style) for concept in concepts])
        images = {"drawn": drawn, "decoded": reconstruct(model.vae, truth)}
        result[icon_set.style] = {
            name: round(perception.style_distance(found, truth), 4) for name, found in images.items()
        }
    return result


def settings_of(method: str) -> dict[str, Any]:
    """The preset as it is for the starter, with another method in it: its own settings, and its rate in proportion.

    The preset's rate is to the method's as it is with the preset's own method: it falls, in another number of steps.
    """
    usual = find_preset(PRESET).method
    table, own, plain = (find_preset(name).settings_for(STARTER) for name in (PRESET, method, usual))
    if method == usual:
        return table
    factor = table["train"]["learning_rate"] / plain["train"]["learning_rate"]
    rate = {"learning_rate": own["train"]["learning_rate"] * factor}
    return {**table, "method": own["method"], "train": {**table["train"], **rate}}


def draw_before_and_after(
    base: Path, images: Path, concepts: tuple[str, ...], method: str, seed: int, steps: int = 0
) -> tuple[Tensor, Tensor]:
    """Train a method by the preset on `base` with these images, and draw the concepts without and with the style.

    `steps` are the preset's, or as many as this says.
    """
    from PIL import Image

    from trainers.training.train import train

    options = {
        "name": "learning",
        "seed": seed,
        "base": {"model": str(base)},
        "data": {"images": str(images)},
        "sample": {
            "prompts": concepts,
            "seeds": (1,),
            "guidance": GUIDANCE,
            "steps": STEPS,
            "sampler": "ddim",
            "every": 0,
        },
        "train": {"precision": "fp32"} | ({"steps": steps} if steps else {}),  # as the bundled starter on a CPU
        "save": {"every": 10_000},
    }
    with tempfile.TemporaryDirectory() as folder:
        run = train(build_config(settings_of(method), options), Path(folder)).run
        places = [sorted((run / "samples" / step).glob("*.png")) for step in ("step-00000000", "final")]
        before, after = (as_tensor([Image.open(path) for path in paths]) for paths in places)
    return before, after


def compare(perception: Perception, before: Tensor, after: Tensor, truth: Tensor, decoded: Tensor) -> Figures:
    """Distances to the truth before and after, and what share of them is left.

    `decoded` is the truth through the autoencoder: about as near as a picture of the base can come. "style left to
    learn" is the share of the distance beyond that.
    """
    style = [perception.style_distance(images, truth) for images in (before, after, decoded)]
    content = [float(perception.content_distance(images, truth).mean()) for images in (before, after)]
    figures = {
        "style before": style[0],
        "style after": style[1],
        "style of the truth, decoded": style[2],
        "style left": style[1] / style[0],
        "style left to learn": (style[1] - style[2]) / (style[0] - style[2]),
        "content before": content[0],
        "content after": content[1],
        "content left": content[1] / content[0],
    }
    return {name: round(value, 4) for name, value in figures.items()}
