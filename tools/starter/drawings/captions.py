"""Captions in the words people use: things or other words for them, where they lie, a style, a background."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tools.starter.drawings.scenes import Scene
from tools.starter.drawings.sets import Concepts

SYNONYM = 0.25
ARTICLE = 0.25
BOTH_ARTICLES = 0.5  # of two things
STYLE = 0.85
FIRST = 0.3  # of the styles that are named, before the things
NOTHING = 0.1  # no caption at all, for classifier-free guidance
OPENINGS = ("{a}", "{a}", "one ", "a picture of {a}")
PAIRS = {
    "beside": ("{0} and {1}", "{0} beside {1}", "{0} next to {1}", "{0} left of {1}", "{1} right of {0}"),
    "above": ("{0} above {1}", "{0} over {1}", "{1} below {0}", "{1} under {0}"),
}
"""Wordings of how the first of two things lies relative to the second."""


def one_of(choices: Sequence[str], generator: torch.Generator) -> str:
    """One of them, each as likely as the others."""
    return choices[int(torch.randint(len(choices), (), generator=generator))]


def happens(probability: float, generator: torch.Generator) -> bool:
    """True with that probability."""
    return float(torch.rand((), generator=generator)) < probability


def article(name: str) -> str:
    """The article before a name and a space after it; nothing before plurals."""
    if name.endswith("s") and not name.endswith(("ss", "us")):
        return ""
    return "an " if name.startswith(("a", "e", "i", "o", "um")) else "a "


def open_with(opening: str, name: str) -> str:
    """The name after one of OPENINGS."""
    return opening.format(a=article(name)) + name


def describe(concept: str, style: str = "", background: str = "") -> str:
    """The plain caption: concept, style, background, in this order."""
    parts = [concept, style, f"{background} background" if background else ""]
    return ", ".join(part for part in parts if part)


def write_caption(
    concepts: Concepts, scene: Scene, style: str, generator: torch.Generator, names_style: bool = False
) -> str:
    """A caption of a picture in one of many wordings; `names_style` always names the style."""
    if happens(NOTHING, generator):
        return ""
    words = _say_things(concepts, scene, generator)
    if not (names_style or happens(STYLE, generator)):
        return describe(words, "", scene.background)
    if happens(FIRST, generator):
        return describe(one_of((f"{style}, {words}", f"{style} {words}"), generator), "", scene.background)
    naming = one_of((", {style}", ", {style}", ", {style} style", " in {style} style"), generator)
    return describe(words + naming.format(style=style), "", scene.background)


def _say_things(concepts: Concepts, scene: Scene, generator: torch.Generator) -> str:
    names = [_name(concepts, thing, generator) for thing in scene.things]
    if len(names) == 2:
        if happens(BOTH_ARTICLES, generator):
            names = [open_with(OPENINGS[0], name) for name in names]
        return one_of(PAIRS[scene.where], generator).format(*names)
    words = f"small {names[0]}" if scene.small and (not scene.where or happens(0.5, generator)) else names[0]
    if happens(ARTICLE, generator):
        words = open_with(one_of(OPENINGS, generator), words)
    return f"{words} {scene.where}" if scene.where else words


def _name(concepts: Concepts, thing: str, generator: torch.Generator) -> str:
    if thing in concepts.synonyms and happens(SYNONYM, generator):
        return one_of(concepts.synonyms[thing], generator)
    return thing
