"""The layouts that the modules of this folder define."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from trainers.adapters.layouts.layout import Layout

MODULES = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__) if module.name != "layout")
LAYOUTS: tuple[Layout, ...] = tuple(
    sorted((module.LAYOUT for module in MODULES), key=lambda layout: layout.network != "transformer")
)
"""In order of precedence: patterns of transformers begin at the root, the others' match at any depth."""
