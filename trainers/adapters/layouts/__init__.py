"""The layouts that the modules of this folder define."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from trainers.adapters.layouts.layout import Layout


def _find_layouts() -> list[Layout]:
    modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    layouts = [module.LAYOUT for module in modules if hasattr(module, "LAYOUT")]
    return sorted(layouts, key=lambda layout: layout.network != "transformer")


LAYOUTS: tuple[Layout, ...] = tuple(_find_layouts())
"""In order of precedence: patterns of transformers begin at the root, the others' match at any depth."""
