"""Captions in the words people use: a concept or another word for it, a style, a background; now and then less."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tools.starter.drawings.sets import Concepts

BACKGROUNDS = {
    "black": (16, 16, 20),
    "dark blue": (24, 36, 92),
    "blue": (72, 148, 232),
    "green": (88, 176, 96),
    "yellow": (250, 220, 96),
    "orange": (245, 160, 72),
    "red": (220, 72, 68),
    "pink": (248, 184, 208),
    "purple": (140, 98, 190),
    "brown": (140, 104, 78),
    "grey": (160, 164, 170),
}
"""Backgrounds by name, sRGB bytes; white is not named."""

SYNONYM = 0.25
ARTICLE = 0.25
STYLE = 0.85
NOTHING = 0.1  # no caption at all, for classifier-free guidance
OPENINGS = ("a ", "a ", "one ", "a picture of a ")


def one_of(choices: Sequence[str], generator: torch.Generator) -> str:
    """One of them, each as likely as the others."""
    return choices[int(torch.randint(len(choices), (), generator=generator))]


def happens(probability: float, generator: torch.Generator) -> bool:
    """True with that probability."""
    return float(torch.rand((), generator=generator)) < probability


def describe(concept: str, style: str = "", background: str = "") -> str:
    """The plain caption: concept, style, background, in this order."""
    parts = [concept, style, f"{background} background" if background else ""]
    return ", ".join(part for part in parts if part)


def write_caption(concepts: Concepts, concept: str, style: str, background: str, generator: torch.Generator) -> str:
    """One way to say what an image shows."""
    if happens(NOTHING, generator):
        return ""
    words = concept
    if concept in concepts.synonyms and happens(SYNONYM, generator):
        words = one_of(concepts.synonyms[concept], generator)
    if happens(ARTICLE, generator):
        words = one_of(OPENINGS, generator) + words
    said = one_of((style, style, f"{style} style"), generator) if happens(STYLE, generator) else ""
    return describe(words, said, background)
