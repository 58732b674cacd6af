"""python -m benchmarks.flow.memory: what trainings on large bases need in memory, as a table for docs/bases.md.

Everything is computed from bundled configs on the meta device; nothing is loaded and no card is needed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from shutil import copytree
from typing import Annotated

import torch
import typer

from trainers.config.build import build_config
from trainers.models.files.configs import config_tree
from trainers.planning.needs import RESERVE, Choice, Needs, needs_of
from trainers.planning.plan import CARDS, GB, choose, in_words

BASES = {
    "Stable Diffusion 3.5 medium": "sd3.5-medium",
    "Stable Diffusion 3.5 large": "sd3.5-large",
    "Flux.1 dev": "flux-dev",
    "Chroma": "chroma",
    "Z-Image": "z-image",
}
METHOD = {"name": "lora", "rank": 16}


def computed(tree: str, batch: int) -> tuple[Needs, list[Choice | None]]:
    """What a LoRA of rank 16 on one of the bases needs, and what makes it fit each size of card."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / tree
        copytree(config_tree(tree), place)
        if (place / "text_encoder_3").is_dir():
            (place / "text_encoder_3" / "model.safetensors").touch()  # only its presence counts
        table = {"name": "x", "base": {"model": str(place)}, "method": METHOD, "train": {"batch_size": batch}}
        config = build_config(table, {"targets": {"unet": "attn-mlp"}})
        needs = needs_of(config, torch.bfloat16)
        return needs, [choose(needs, config, size * GB - RESERVE) for size in CARDS]


def row(name: str, needs: Needs, found: list[Choice | None]) -> str:
    weights = " / ".join(f"{needs.denoiser[storage] / GB:.1f}" for storage in ("full", "int8", "nf4"))
    activations = f"{needs.activations.kept / GB:.1f} / {needs.activations.recomputed / GB:.1f}"
    encoders = f"{(sum(needs.encoders['full']) + needs.vae) / GB:.1f}"
    cells = ["–" if choice is None else f"{in_words(choice)} ({needs.bytes_of(choice) / GB:.1f})" for choice in found]
    return " | ".join(["", name, weights, encoders, activations, *cells, ""]).strip()


def main(batch: Annotated[int, typer.Option(help="Images in a batch.")] = 1) -> None:
    """Print the table."""
    heads = ["base", "weights in 16 bits / int8 / NF4", "encoders, VAE", "activations / recomputed"]
    print(" | ".join(["", *heads, *(f"{size} GB" for size in CARDS), ""]).strip())
    print("|" + "---|" * (len(heads) + len(CARDS)))
    for name, tree in BASES.items():
        print(row(name, *computed(tree, batch)))


if __name__ == "__main__":
    typer.run(main)
