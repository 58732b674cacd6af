"""How near a style that the starter never saw comes to its truth, by a LoRA on the twelve images of a sample set."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch import Tensor

from tools.samples.sources import Drawings, find_source
from tools.starter.drawings.sets import read_icon_sets
from tools.starter.measure import as_tensor, open_base, pick_concepts, read_truth
from tools.starter.networks.autoencoder import reconstruct
from tools.starter.networks.perception import Perception
from trainers.config.build import build_config
from trainers.config.presets import STARTER, find_preset
from trainers.data.sample_sets import SampleSet, read_sets

PRESET = "balanced"
CONCEPTS = 12  # drawn, none of them in the sample set
GUIDANCE = 3.0


def measure_learning(base: Path, perception: Perception, drawings: Path) -> dict[str, dict[str, float]]:
    """For each held-out set: style and content distance to its truth before and after, and what is left of it."""
    held_out = {icon_set.package: icon_set for icon_set in read_icon_sets() if not icon_set.trained}
    result, vae = {}, open_base(base).vae
    for name, sample_set in read_sets().items():
        source = find_source(sample_set)
        if not isinstance(source, Drawings):
            continue  # photographs have no truth to compare with
        icon_set = held_out[source.package]
        concepts = [concept for concept in pick_concepts(drawings) if concept not in sample_set.concepts][:CONCEPTS]
        truth = read_truth(drawings, icon_set, concepts).images
        before, after = draw_before_and_after(base, sample_set, tuple(concepts))
        result[name] = compare(perception, before, after, truth, reconstruct(vae, truth))
    return result


def draw_before_and_after(base: Path, sample_set: SampleSet, concepts: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Train the preset as it is for the starter, on `base`, and draw the concepts without and with the style."""
    from PIL import Image

    from trainers.training.train import train

    options = {
        "name": "learning",
        "base": {"model": str(base)},
        "data": {"images": str(sample_set.folder)},
        "sample": {
            "prompts": concepts,
            "seeds": (1,),
            "guidance": GUIDANCE,
            "steps": 25,
            "sampler": "ddim",
            "every": 0,
        },
        "train": {"precision": "fp32"},  # as the bundled starter is trained on a CPU
        "save": {"every": 10_000},
    }
    config = build_config(find_preset(PRESET).settings_for(STARTER), options)
    with tempfile.TemporaryDirectory() as folder:
        run = train(config, Path(folder)).run
        places = [sorted((run / "samples" / step).glob("*.png")) for step in ("step-00000000", "final")]
        before, after = (as_tensor([Image.open(path) for path in paths]) for paths in places)
    return before, after


def compare(perception: Perception, before: Tensor, after: Tensor, truth: Tensor, decoded: Tensor) -> dict[str, float]:
    """Distances to the truth before and after, and what share of them is left.

    `decoded` is the truth through the autoencoder: as near as any picture of the base can come. "style left to learn"
    is the share of the distance beyond that.
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
