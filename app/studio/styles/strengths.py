"""Style files on the command line, with strengths and trained words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.errors import VelaturaError
from trainers.messages import Message, either

if TYPE_CHECKING:
    from trainers.formats.read import Style
    from trainers.models.model import Model

_STRENGTH = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
NOISE = Message(
    "{name} at strength {strength:g} will probably draw noise; it was trained for 1, and few styles work above 2"
)
MISSING = Message("no prompt contains {words}, without which {style} has no effect")
MISSING_OF = Message(
    "no prompt contains {words}, which {owner} was trained with and without which {style} has no effect"
)
OTHER_STARTER = Message(
    "{name} was trained on another version of the starter, so its pictures differ here; docs/starter.md says how to "
    "use an earlier version"
)
VERSIONS = Message(
    "{name} and {other} were trained on different versions of the starter; the merged style fits neither exactly"
)
FAR = 10.0
"""Strength above which styles usually draw noise."""


def split_strength(text: str) -> tuple[Path, float]:
    """`FILE:0.8` as file and strength: split at the last colon, and only before a number (`C:\\x` is a path).

    VelaturaError if the text after an existing file is not a number.
    """
    head, colon, tail = text.rpartition(":")
    if not (colon and head):
        return Path(text), 1.0
    if _STRENGTH.fullmatch(tail) and float(tail) < float("inf"):
        return Path(head), float(tail)
    if not _is_file(text) and _is_file(head):
        problem = Message("found {tail!r}", tail=tail[:40]) if tail else Message("nothing was given")
        raise VelaturaError(
            "after {head}: write the style's strength, a number such as 0.8; {found}", head=head, found=problem
        )
    return Path(text), 1.0


def read_chosen(texts: Sequence[str]) -> list[tuple[Style, float]]:
    """The styles by `FILE[:STRENGTH]`."""
    from trainers.formats.read import read_style

    return [(read_style(path), strength) for path, strength in map(split_strength, texts)]


def add_words(chosen: Sequence[tuple[Style, float]]) -> list[tuple[Style, float]]:
    """The styles, and the words trained with them at full strength."""
    from trainers.formats.embedding import embedding_of
    from trainers.formats.read import read_style

    named = {style.path for style, _ in chosen}
    beside = dict.fromkeys(embedding_of(style.path) for style, _ in chosen)
    return [*chosen, *((read_style(path), 1.0) for path in beside if path is not None and path not in named)]


def about_strengths(styles: Sequence[tuple[Style, float]]) -> list[str]:
    """One sentence per style whose strength will probably give noise."""
    return [NOISE.format(name=style.name, strength=strength) for style, strength in styles if abs(strength) > FAR]


def about_starter(styles: Sequence[tuple[Style, float]], model: Model) -> list[str]:
    """One sentence per style that was trained on other weights of the starter, if `model` is the starter."""
    from trainers.formats.origin import is_of_other_starter

    return [OTHER_STARTER.format(name=style.name) for style, _ in styles if is_of_other_starter(style, model)]


def about_merging(styles: Sequence[tuple[Style, float]]) -> list[str]:
    """One sentence if the styles were trained on different weights of the starter."""
    from trainers.formats.origin import origin_of

    origins = [(style.name, origin_of(style)) for style, _ in styles]
    known = [(name, origin.sha256) for name, origin in origins if origin.starter and origin.sha256]
    others = [name for name, base in known if base != known[0][1]]
    return [VERSIONS.format(name=known[0][0], other=others[0])] if others else []


def about_words(styles: Sequence[tuple[Style, float]], texts: Sequence[str]) -> list[str]:
    """One sentence per trained word that no prompt contains."""
    from trainers.formats.embedding import embedding_of
    from trainers.models.words import contains_word

    notes, taken = list[str](), set[str]()
    whose = {embedding_of(style.path): style.name for style, _ in styles}
    for style, _ in styles:
        # `apply_styles` names a repeated word after its file.
        words = [style.path.stem if word in taken else word for word in style.words]
        taken |= set(words)
        if words and not any(contains_word(text, word) for text in texts for word in words):
            owner, named = whose.get(style.path), {"words": either(words), "style": style.name}
            notes.append(MISSING_OF.format(owner=owner, **named) if owner else MISSING.format(**named))
    return notes


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long, or with a zero byte
        return False
