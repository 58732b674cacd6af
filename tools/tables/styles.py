"""The ways to combine styles, from `trainers.composition.ways`."""

from __future__ import annotations

from tools.markdown import table
from trainers.composition.ways import WAYS


def ways() -> list[str]:
    """Each way as `--compose` takes it, with its default number, and what it does."""
    rows = [
        (f"`{name}:{way.default:g}`" if way.number else f"`{name}`", f"{way.number}", way.summary)
        for name, way in WAYS.items()
    ]
    return table(("`--compose`", "its number", "what it does with the styles"), rows)
