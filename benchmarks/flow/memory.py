"""python -m benchmarks.flow.memory: writes what large bases need in memory, in training and drawing, into the docs.

Everything is computed from bundled configs on the meta device; nothing is loaded and no card is needed.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree

import torch
import typer

from trainers.config.build import build_config
from trainers.config.sections import Base
from trainers.models.families import FAMILIES
from trainers.models.files.configs import config_tree
from trainers.planning.drawing import Drawn, drawing_choices, drawing_needs
from trainers.planning.needs import RESERVE, STORAGES, MemoryChoice, Needs, needs_of
from trainers.planning.plan import CARDS, GB, choose, in_words

BASES = {
    variant.title or family.title: variant.configs
    for family in FAMILIES
    if family.denoiser == "transformer"
    for variant in reversed(family.variants)
}
"""Configs by title; of variants without a title of their own, the usual one."""
METHOD = {"name": "lora", "rank": 16}
PAGE = Path(__file__).parents[2] / "docs" / "bases.md"


@contextmanager
def base_of(tree: str) -> Iterator[str]:
    """A folder with the configs of a base, which loads nothing."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / tree
        copytree(config_tree(tree), place)
        if (place / "text_encoder_3").is_dir():
            (place / "text_encoder_3" / "model.safetensors").touch()  # only its presence counts
        yield str(place)


def computed(tree: str) -> tuple[Needs, list[MemoryChoice | None]]:
    """What a LoRA of rank 16 on one of the bases needs, and what makes it fit each size of card."""
    with base_of(tree) as place:
        table = {"name": "x", "base": {"model": place}, "method": METHOD, "train": {"batch_size": 1}}
        config = build_config(table, {"targets": {"unet": "attn-mlp"}})
        needs = needs_of(config, torch.bfloat16)
        return needs, [choose(needs, config, size * GB - RESERVE) for size in CARDS]


def computed_for_drawing(tree: str) -> tuple[Needs, list[MemoryChoice | None]]:
    """What drawing 1024 pixels with guidance needs, and how the base is held on each size of card."""
    with base_of(tree) as place:
        needs = drawing_needs(Base(model=place), Drawn((1024, 1024), 4.0, 1), torch.bfloat16)
        choices = list(drawing_choices(needs, STORAGES, on_card=True))
        rooms = [size * GB - RESERVE for size in CARDS]
        return needs, [next((one for one in choices if needs.bytes_of(one) <= room), None) for room in rooms]


def row(name: str, needs: Needs, found: list[MemoryChoice | None], drawing: bool) -> str:
    weights = " / ".join(f"{needs.denoiser[storage] / GB:.1f}" for storage in STORAGES)
    kept, recomputed = (f"{size / GB:.1f}" for size in (needs.activations.kept, needs.activations.recomputed))
    encoders = f"{(sum(needs.encoders['full']) + needs.vae) / GB:.1f}"
    cells = ["–" if choice is None else f"{in_words(choice)} ({needs.bytes_of(choice) / GB:.1f})" for choice in found]
    start = [name, kept] if drawing else [name, weights, encoders, f"{kept} / {recomputed}"]
    return " | ".join(["", *start, *cells, ""]).strip()


def main() -> None:
    """Write the tables into docs/bases.md."""
    text = PAGE.read_text(encoding="utf-8")
    training = ["base", "weights in 16 bits / int8 / NF4", "encoders, VAE", "activations / recomputed"]
    for heads, compute in ((training, computed), (["base", "activations"], computed_for_drawing)):
        head = " | ".join(["", *heads, *(f"{size} GB" for size in CARDS), ""]).strip()
        lines = [head, "|" + "---|" * (len(heads) + len(CARDS))]
        lines += [row(name, *compute(tree), compute is computed_for_drawing) for name, tree in BASES.items()]
        text, tables = re.subn(rf"{re.escape(head)}\n(\|.*\n)+", "\n".join((*lines, "")), text)
        assert tables == 1, f"{PAGE} has {tables} tables with the head {head}"
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
