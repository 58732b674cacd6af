"""The bundled config trees: complete bases in diffusers layout, without weights."""

from __future__ import annotations

from pathlib import Path

CONFIGS = Path(__file__).parents[1] / "configs"


def config_tree(name: str) -> Path:
    """The folder of the config tree with this name, such as `sdxl`."""
    return CONFIGS / name
