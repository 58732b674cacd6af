"""Which base goes with which styles, and what of a wish cannot be met with what is on this computer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.errors import as_sentence
from app.studio.base_models import Base, Bases
from app.studio.generation.request import MOST_STYLES, SIDE, Wish, style_field
from app.studio.styles.entry import StyleEntry
from app.ui.playground import text as words
from trainers.composition.ways import SUM, UNMERGED, read_composition
from trainers.config.presets import STARTER, guidance_for
from trainers.config.techniques import TEXTUAL_INVERSION
from trainers.errors import VelaturaError
from trainers.models.family import FAMILIES


@dataclass(frozen=True)
class Fit:
    """A wish held against the styles and the bases."""

    items: tuple[StyleEntry | None, ...]
    """Its styles; None for one that is gone."""
    base: Base
    size: tuple[int, int]
    """Of the picture."""
    stride: int
    """What width and height are multiples of."""
    guidance: float
    """With which the base draws best."""
    problems: Mapping[str, str]
    """A sentence for each field that has to be changed."""


def find_fit(wish: Wish, library: Mapping[str, StyleEntry], bases: Bases) -> Fit:
    """Hold a wish against the styles there are, by id, and the bases."""
    items = tuple(library.get(style) for style, _ in wish.styles)
    base = chosen_base(wish.base, items, bases)
    problems: dict[str, str] = {}
    for place, item in enumerate(items):
        said = _about_style(wish, place, item, base)
        if said:
            problems[style_field(place)] = said
    if said := _about_way(wish, items):
        problems["compose"] = said
    if base.problem:
        problems["base"] = base.problem if not base.model else words.BASE_PROBLEM.format(base.title, base.problem)
    native, stride = 0, 0
    try:
        native, stride = (0, 0) if base.problem else _native(base)
    except VelaturaError as error:  # a folder that looks like a base and cannot be read as one
        problems["base"] = words.BASE_PROBLEM.format(base.title, as_sentence(error))
    size = wish.size or (native, native)
    if native and any(side % stride or not stride <= side <= SIDE[1] for side in size):
        problems["size"] = words.WRONG_SIZE.format(stride, stride, SIDE[1], words.size(size))
    return Fit(items, base, size, stride, guidance_for(base.model), problems)


def chosen_base(model: str, items: tuple[StyleEntry | None, ...], bases: Bases) -> Base:
    """The base that was asked for, else that of the first style, else the starter."""
    first = next((item for item in items if item is not None), None)
    if model:
        theirs = any(item is not None and item.run and item.base_model == model for item in items)
        return bases.look(model, trusted=theirs)
    return own_base(first, bases)


def own_base(item: StyleEntry | None, bases: Bases) -> Base:
    """The base that a style was trained on, where it is here, else another one that it fits; without one the starter.

    Where there is none, the base that comes back has a problem and no name.
    """
    if item is None or item.starter:
        return bases.look(STARTER)
    if item.base_model:
        base = bases.look(item.base_model, trusted=bool(item.run))
        if not base.problem:
            return base
    fitting = (base for base in bases.found() if not misfit(item, base))
    none = words.NO_BASE.format(family(item.family) or words.UNKNOWN_BASE)
    return next(fitting, Base("", family(item.family), item.family, problem=none))


def misfit(item: StyleEntry, base: Base) -> str:
    """Why a style cannot be used with a base; nothing where it can, or where nobody knows."""
    theirs, its = family(item.family), family(base.family)
    if item.starter == base.is_starter and (not theirs or not its or theirs == its):
        return ""
    made_for = words.STARTER if item.starter else theirs or words.UNKNOWN_BASE
    return words.DOES_NOT_FIT.format(made_for, words.STARTER if base.is_starter else its or base.title)


def family(said: str) -> str:
    """What people call a family, from its name or title; empty where it is not known."""
    known = next((one for one in FAMILIES if said in (one.name, one.title)), None)
    return "" if known is None else words.FAMILIES.get(known.name, known.title)


def _about_style(wish: Wish, place: int, item: StyleEntry | None, base: Base) -> str:
    if item is None:
        return words.GONE_STYLE
    if place >= MOST_STYLES:
        return words.TOO_MANY.format(MOST_STYLES)
    if any(style == item.id for style, _ in wish.styles[:place]):
        return words.TWICE
    if wish.each and item.method == TEXTUAL_INVERSION:
        return words.WORD_ALONE
    return "" if base.problem else misfit(item, base)


def _about_way(wish: Wish, items: tuple[StyleEntry | None, ...]) -> str:
    """Why styles cannot be combined so; ways that merge take changes of layers, and words are there in any."""
    if wish.compose == SUM or None in items:
        return ""
    layered = [item for item in items if item is not None and item.method != TEXTUAL_INVERSION]
    way = read_composition(wish.compose).way
    unmerged = next((item.name for item in layered if item.only_here), "")
    if unmerged and way not in UNMERGED:
        return words.NOT_MERGED.format(unmerged)
    return "" if len(layered) > 1 else words.WAY_FOR_LAYERS


def _native(base: Base) -> tuple[int, int]:
    """Side of a base's own pictures, and what sides are multiples of."""
    from trainers.models.load import training_size

    return training_size(base.model)
