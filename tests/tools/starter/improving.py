"""A process that trains a small decoder as `tools.starter.improve` does; the machine is busy at the looks it is told.

`python -m tests.tools.starter.improving STATE RECIPE BUSY_FROM`: from that look on the machine is busy for ever; −1
for never.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tools.packages import integrity, make_table, pack_icons
from tests.tools.starter.small import TAUGHT, make_small_autoencoder, pack_perceptual_weights, shorten
from tools.starter import decoder, idle, improve, unseen
from tools.starter.drawings import sets
from tools.starter.idle import Finding
from tools.starter.networks import stage
from tools.starter.networks.redrawn import Redrawn
from trainers.randomness import generator

SMALL = replace(shorten(12, 4), batch=4)


class ToldMachine:
    """A machine that is busy from a look on."""

    busy_from = -1

    def __init__(self) -> None:
        self.looks = count(1)

    def look(self) -> Finding:
        busy = 0 <= self.busy_from <= next(self.looks)
        return Finding("pytest runs (process 7)" if busy else "", 1)


def make_small(state: Path, recipe: Path, patch: pytest.MonkeyPatch) -> None:
    """Let `improve` train a small decoder with packages that lie in `state`, looking before every step."""
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
    patch.setattr(improve, "open_autoencoder", make_seeded_autoencoder)
    patch.setattr(improve, "open_pipeline", lambda: None)
    patch.setattr(improve, "prepare_lessons", lambda *_: None)
    patch.setattr(improve, "prepare_redrawn", lambda *_: make_redrawn())
    patch.setattr(improve, "continue_denoiser", lambda *_: {})
    patch.setattr(decoder, "SCHEDULE", SMALL)
    patch.setattr(decoder, "measure_redrawn", lambda *_: {})
    patch.setattr(decoder.Workshop, "measure", lambda _, model: {"noise": measure_noise(model)})


def make_seeded_autoencoder() -> Any:
    """What stands for the shipped one, the same each time."""
    torch.manual_seed(0)
    return make_small_autoencoder().eval()


def make_redrawn() -> Redrawn:
    """Grey pictures and noise."""
    count = decoder.HELD + 4
    latents = torch.randn(count, 4, 16, 16, generator=generator("redrawn")).half()
    return Redrawn(latents, np.full((count, 128, 128, 3), 128, np.uint8))


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
