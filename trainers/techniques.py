"""Everything a style can be trained with: the methods, and the techniques that combine with any of them."""

from __future__ import annotations

from dataclasses import dataclass

from trainers.adapters import METHODS


@dataclass(frozen=True)
class Technique:
    """A method or technique as lists show it."""

    name: str
    """Also that of its preset."""
    paper: str
    places: tuple[str, ...]
    """Where it sits: `linear` and `convolution` layers, `norm` layers, `block` outputs, `tokens`, `base`, `data`."""
    summary: str
    """What it is good for, in one sentence."""
    setting: str
    """The setting that turns it on, as `--set` takes it."""


BESIDE_METHODS: tuple[Technique, ...] = (
    Technique(
        "dreambooth",
        "arXiv 2208.12242",
        ("data",),
        "The base's own pictures of a whole class train along, so that it does not forget them.",
        "prior.prompt=TEXT",
    ),
)
"""What is no `[method]`, but lies in the base, the data or the tokens: one line each."""


def list_techniques() -> tuple[Technique, ...]:
    """Every method, then every technique beside them."""
    methods = (Technique(n, k.paper, k.places, k.summary, f"method.name={n}") for n, k in METHODS.items())
    return (*methods, *BESIDE_METHODS)
