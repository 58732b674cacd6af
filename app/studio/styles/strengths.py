"""The styles that a command names: files, each at its strength, and the words that call some of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from trainers.formats.read import Style

_STRENGTH = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
FAR = 10.0
"""A strength beyond which a style draws noise more often than pictures."""


def split_strength(text: str) -> tuple[Path, float]:
    """`FILE:0.8` as file and strength: split at the last colon, and only before a number (`C:\\x` is a path).

    VelaturaError where what stands behind a file that is there is no number.
    """
    head, colon, tail = text.rpartition(":")
    if not (colon and head):
        return Path(text), 1.0
    if _STRENGTH.fullmatch(tail) and float(tail) < float("inf"):
        return Path(head), float(tail)
    if not _is_file(text) and _is_file(head):
        found = f"{tail[:40]!r} is none" if tail else "nothing stands there"
        raise VelaturaError(f"after {head}: goes the style's strength, a number such as 0.8, and {found}")
    return Path(text), 1.0


def read_chosen(texts: Sequence[str]) -> list[tuple[Style, float]]:
    """The styles by `FILE[:STRENGTH]`."""
    from trainers.formats.read import read_style

    return [(read_style(path), strength) for path, strength in map(split_strength, texts)]


def add_words(chosen: Sequence[tuple[Style, float]]) -> list[tuple[Style, float]]:
    """The styles and, whole, the words that were trained together with them and lie beside them."""
    from trainers.formats.embedding import embedding_beside
    from trainers.formats.read import read_style

    named = {style.path for style, _ in chosen}
    beside = dict.fromkeys(embedding_beside(style.path) for style, _ in chosen)
    return [*chosen, *((read_style(path), 1.0) for path in beside if path is not None and path not in named)]


def about_strengths(styles: Sequence[tuple[Style, float]]) -> list[str]:
    """A sentence for each style that is so strong that hardly anything of a picture is left."""
    return [
        f"{style.name} at strength {strength:g} is likely to draw noise; 1 is what it was trained for, "
        f"and few styles bear more than 2"
        for style, strength in styles
        if abs(strength) > FAR
    ]


def about_words(styles: Sequence[tuple[Style, float]], texts: Sequence[str]) -> list[str]:
    """A sentence for each word that nothing in a command's texts calls up."""
    from trainers.formats.embedding import embedding_beside
    from trainers.models.words import contains_word

    said, taken = [], set[str]()
    whose = {embedding_beside(style.path): style.name for style, _ in styles}
    for style, _ in styles:
        # A word that another one has already is called by its file's name, as `apply_styles` has it.
        words = [style.path.stem if word in taken else word for word in style.words]
        taken |= set(words)
        if words and not any(contains_word(text, word) for text in texts for word in words):
            owner = f", which {whose[style.path]} was trained with and" if style.path in whose else ","
            said.append(f"no prompt says {' or '.join(words)}{owner} without which {style.name} has no effect")
    return said


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long for a name, or with a zero byte in it
        return False
