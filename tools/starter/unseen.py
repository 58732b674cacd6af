"""Pictures that nothing was trained on, and how faithfully and sharply an autoencoder gives them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tools.icons import IconTable, compose_svg, draw_svg, fetch_package, find_icon, icon_name, read_table
from tools.starter.drawings.render import SIZE
from tools.starter.drawings.sets import IconSet, held_out_sets, read_concepts, trained_sets
from tools.starter.measure import read_photographs
from tools.starter.networks.autoencoder import on_white, psnr, reconstruct, turn

OPENMOJI = IconSet(
    "openmoji",
    "@iconify-json/openmoji",
    "1.2.29",
    "sha512-vXdhkqcXVSO6suy+m9LbcUM3OdVyuNOtpV8/als/WqfkQIRxevL5Geb/g+6GH/Qwnq1OqksEmaDGTCmZ5nFKJQ==",
    "CC-BY-SA-4.0",
    trained=False,
    style="",
)
"""A set that is used for nothing but this figure: nothing is trained on it, tuned by it or made of it."""
COUNT = 48  # pictures of each set
LEFT_OUT = "left-out concepts"
PHOTOGRAPHS = "photographs"
TURNED = "noto-v1"  # the set that is also decoded from turned latents
HALF_TURN = 6  # a way to lay a square: see `turn`


def read_unseen(drawings: Path) -> dict[str, Tensor]:
    """Sets held out, concepts left out of every trained set, a set used for nothing else, photographs.

    Each is `(n, 3, SIZE, SIZE)` from −1 to 1. The packages are downloaded into `drawings` if they are not there.
    """
    concepts = read_concepts()
    found = {one.name: draw_even(fetch_table(drawings, one), concepts.taught) for one in held_out_sets()}
    found[OPENMOJI.name] = draw_even(fetch_table(drawings, OPENMOJI), concepts.taught)
    trained = [fetch_table(drawings, icon_set) for icon_set in trained_sets()]
    found[LEFT_OUT] = draw_by_turns(trained, concepts.held_out)
    return {name: on_white(np.stack(drawn)) for name, drawn in found.items()} | {PHOTOGRAPHS: read_photographs()}


def fetch_table(drawings: Path, icon_set: IconSet) -> IconTable:
    """The set's icons, from its package in `drawings`, which is downloaded if it is not there."""
    return read_table(fetch_package(icon_set.package, icon_set.version, icon_set.integrity, drawings / "packages"))


def draw_even(table: IconTable, concepts: Sequence[str], count: int = COUNT) -> list[np.ndarray]:
    """Evenly chosen ones of the concepts that the set has, at most `count`, each `(SIZE, SIZE, 4)` uint8."""
    held = [concept for concept in concepts if find_icon(table, icon_name(concept))]
    places = sorted({int(place) for place in np.linspace(0, len(held) - 1, count)}) if held else []
    return [draw_icon(table, held[place]) for place in places]


def draw_by_turns(tables: Sequence[IconTable], concepts: Sequence[str]) -> list[np.ndarray]:
    """Each concept once, of the sets by turns, or of the next one that has it, each `(SIZE, SIZE, 4)` uint8."""
    drawn = []
    for index, concept in enumerate(concepts):
        order = [tables[(index + step) % len(tables)] for step in range(len(tables))]
        table = next((table for table in order if find_icon(table, icon_name(concept))), None)
        if table is not None:
            drawn.append(draw_icon(table, concept))
    return drawn


def draw_icon(table: IconTable, concept: str) -> np.ndarray:
    """The set's drawing of a concept, `(SIZE, SIZE, 4)` uint8."""
    return np.asarray(draw_svg(compose_svg(table, icon_name(concept)), SIZE))


def gradient_energy(images: Tensor) -> Tensor:
    """The sum of squared differences of neighbouring pixels of each image, `(B,)`."""
    down, across = (images.diff(dim=axis).square().sum((1, 2, 3)) for axis in (2, 3))
    return down + across


def sharpness(found: Tensor, true: Tensor) -> float:
    """The gradient energy of all found images against that of the true ones: 1 is as sharp, less is smeared."""
    return float(gradient_energy(found.float().clamp(-1, 1)).sum() / gradient_energy(true.float()).sum())


@torch.no_grad()
def measure_unseen(model: Any, unseen: Mapping[str, Tensor]) -> dict[str, float]:
    """Mean PSNR in dB and sharpness of each set, and the PSNR of turned pictures decoded from turned latents."""
    figures = {}
    for name, true in unseen.items():
        found = reconstruct(model, true)
        figures[f"psnr {name}"] = round(float(psnr(found, true).mean()), 2)
        figures[f"sharpness {name}"] = round(sharpness(found, true), 3)
    true = unseen[TURNED]
    turned = torch.cat([model.decode(turn(_encode(model, part), HALF_TURN)).sample for part in true.split(16)])
    figures[f"psnr turned {TURNED}"] = round(float(psnr(turned, turn(true, HALF_TURN)).mean()), 2)
    return figures


def _encode(model: Any, images: Tensor) -> Tensor:
    return model.encode(images).latent_dist.mode()
