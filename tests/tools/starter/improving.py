"""A process that trains two small tries as `tools.starter.improve` does; the machine is busy at the looks it is told.

`python -m tests.tools.starter.improving STATE RECIPE BUSY_FROM`: from that look on the machine is busy for ever; −1
for never.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch

from tests.tools.packages import integrity, make_table, pack_icons
from tests.tools.starter.small import TAUGHT, pack_perceptual_weights, shorten
from tools.starter import idle, improve, tries, unseen
from tools.starter.drawings import sets
from tools.starter.idle import Finding
from tools.starter.networks import stage
from tools.starter.networks.autoencoder import Design
from tools.starter.tries import Try
from trainers.randomness import generator

SMALL = (
    Try("deep", Design(widths=(8, 8), layers=2), shorten(8, 4), shorten(4, 4), crop=32),
    Try("wide", Design(widths=(8, 16)), shorten(4, 4), shorten(4, 4), crop=32),
)


class ToldMachine:
    """A machine that is busy from a look on."""

    busy_from = -1

    def __init__(self) -> None:
        self.looks = count(1)

    def look(self) -> Finding:
        busy = 0 <= self.busy_from <= next(self.looks)
        return Finding("pytest runs (process 7)" if busy else "", 1)


def make_small(state: Path, recipe: Path, patch: pytest.MonkeyPatch) -> None:
    """Let `improve` train the small tries from packages that lie in `state`, looking before every step."""
    packages = state / "drawings" / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    icons = packages / f"iconify-json-openmoji-{unseen.OPENMOJI.version}.tgz"
    table = make_table(TAUGHT[:3], "hsl(20,80%,50%)")
    if not icons.exists():
        pack_icons(icons, table)
    patch.setattr(unseen, "OPENMOJI", replace(unseen.OPENMOJI, integrity=integrity(icons.read_bytes())))
    pack_perceptual_weights(state / "packages", patch)
    patch.setattr(sets, "FOLDER", recipe)
    patch.setattr(idle, "LOOK_EVERY", 0.0)
    patch.setattr(stage, "LOG_EVERY", 1)
    patch.setattr(stage, "SAVE_EVERY", 1e9)  # nothing is saved but what the gate saves
    patch.setattr(improve, "lower_priority", lambda: None)  # it cannot be taken back, and a test has no time to wait
    patch.setattr(improve, "Machine", ToldMachine)
    patch.setattr(improve, "TRIES", SMALL)
    patch.setattr(improve, "CONTINUATIONS", ())
    patch.setattr(tries.Workshop, "measure", lambda _, model: {"noise": measure_noise(model)})


def measure_noise(model: torch.nn.Module) -> float:
    """A figure that every bit of the weights has a part in."""
    images = torch.rand(1, 3, 16, 16, generator=generator("noise"))
    with torch.no_grad():
        return float(model.decode(model.encode(images).latent_dist.mode()).sample.double().square().sum())


if __name__ == "__main__":
    ToldMachine.busy_from = int(sys.argv[3])
    with pytest.MonkeyPatch.context() as patch:
        make_small(Path(sys.argv[1]), Path(sys.argv[2]), patch)
        sys.exit(improve.main(["--state", sys.argv[1]]))
