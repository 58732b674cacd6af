"""Which base goes with which styles, and what a request leaves to them; a sentence for each field that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.errors import FieldErrors, as_sentence
from app.studio.base_models import Base, Bases
from app.studio.generation.request import NO_PROMPT, GenerateRequest, StyleRef, pixels_in_words, style_field
from app.studio.styles.entry import StyleEntry
from trainers.composition.ways import SUM, UNMERGED, check_count, read_composition
from trainers.config.limits import SIDE
from trainers.config.presets import STARTER, guidance_for
from trainers.config.techniques import TEXTUAL_INVERSION
from trainers.errors import VelaturaError
from trainers.models.family import FAMILIES

GONE_STYLE = "This style is no longer here. Take it out, or choose another."
TWICE = "This style is chosen twice. Take one of them out."
WORD_ALONE = "A word draws no picture of its own. Take it out, or let the styles draw one picture together."
WAY_FOR_LAYERS = (
    "This needs two styles that change the model; a word is learned apart from it. Choose “Added up” (sum)."
)
NOT_MERGED = (
    "What “{}” does depends on the picture or the step, so there is no change of weights to combine. "
    "Choose “Added up” (sum), “Taking turns” (switch) or “Blended at every step” (composite)."
)
DOES_NOT_FIT = "Made for {}; this base is {}."
NO_BASE = "No base model for this style is on this computer. Get one for {} in the second step of Train."
BASE_PROBLEM = "{} cannot be used. {}"
WHICH_BASE = "{} was not trained on the starter; say which base to draw with, as --base."
WRONG_SIZE = "Width and height are multiples of {} from {} to {:,} here; you wrote {}."
THE_STARTER, UNKNOWN_BASE = "the starter", "another kind of model"
SHORT_TITLES: Mapping[str, str] = {"sd1": "SD 1.5", "sd2": "SD 2", "sdxl": "SDXL"}


@dataclass(frozen=True)
class Compatibility:
    """A request held against the styles and the base models there are."""

    styles: tuple[StyleEntry | None, ...]
    """Its styles; None for one that is gone."""
    base: Base
    size: tuple[int, int]
    """Of the picture: what was asked for, else the base's own; zeros where that is not known."""
    stride: int
    """What width and height are multiples of."""
    guidance: float
    """With which the base draws best."""
    problems: Mapping[str, str]
    """A sentence for each field that has to be changed."""


def check_compatibility(request: GenerateRequest, library: Mapping[str, StyleEntry], bases: Bases) -> Compatibility:
    """Hold a request against the styles there are, by id, and the base models."""
    styles = tuple(library.get(one.style) for one in request.styles)
    base = chosen_base(request.base, styles, bases)
    problems: dict[str, str] = {}
    if not all(request.prompts):
        problems["prompt"] = NO_PROMPT
    for place, style in enumerate(styles):
        if sentence := _about_style(request, place, style, base):
            problems[style_field(place)] = sentence
    if sentence := _about_way(request, styles):
        problems["compose"] = sentence
    if base.problem:
        problems["base"] = base.problem if not base.model else BASE_PROBLEM.format(base.title, base.problem)
    native, stride = 0, 0
    try:
        native, stride = (0, 0) if base.problem else _native(base.model)
    except VelaturaError as error:  # a folder that looks like a base and cannot be read as one
        problems["base"] = BASE_PROBLEM.format(base.title, as_sentence(error))
    size = request.size or (native, native)
    if native and (sentence := _about_size(size, stride)):
        problems["size"] = sentence
    return Compatibility(styles, base, size, stride, guidance_for(base.model), problems)


def resolve(request: GenerateRequest, library: Mapping[str, StyleEntry], bases: Bases) -> GenerateRequest:
    """The request with files and names of its styles, base, size and guidance filled in.

    Raises FieldErrors, with a sentence for each field, where it cannot be drawn as it is.
    """
    found = check_compatibility(request, library, bases)
    if found.problems:
        raise FieldErrors(found.problems)
    styles = (
        one.model_copy(update={"path": style.path.absolute(), "name": style.name})
        for one, style in zip(request.styles, found.styles, strict=True)
        if style is not None
    )
    return _filled(request, tuple(styles), found.base.model, found.size)


def resolve_files(request: GenerateRequest) -> GenerateRequest:
    """The same for styles that are named by their files, on the starter where no base is named and all fit it.

    Raises FieldErrors, and VelaturaError where a file is no style.
    """
    if not all(request.prompts):
        raise FieldErrors({"prompt": NO_PROMPT})
    base = request.base or _starter_for(request.styles)
    native, stride = _native(base)
    size = request.size or (native, native)
    if sentence := _about_size(size, stride):
        raise FieldErrors({"size": sentence})
    return _filled(request, request.styles, base, size)


def chosen_base(model: str, styles: tuple[StyleEntry | None, ...], bases: Bases) -> Base:
    """The base that was asked for, else that of the first style, else the starter."""
    first = next((style for style in styles if style is not None), None)
    if model:
        theirs = any(style is not None and style.run and style.base_model == model for style in styles)
        return bases.look(model, trusted=theirs)
    return own_base(first, bases)


def own_base(style: StyleEntry | None, bases: Bases) -> Base:
    """The base that a style was trained on, where it is here, else another one that it fits; without one the starter.

    Where there is none, the base that comes back has a problem and no name.
    """
    if style is None or style.starter:
        return bases.look(STARTER)
    if style.base_model:
        base = bases.look(style.base_model, trusted=bool(style.run))
        if not base.problem:
            return base
    fitting = (base for base in bases.found() if not misfit(style, base))
    none = NO_BASE.format(_short_title(style.family) or UNKNOWN_BASE)
    return next(fitting, Base("", _short_title(style.family), style.family, problem=none))


def misfit(style: StyleEntry, base: Base) -> str:
    """Why a style cannot be used with a base; nothing where it can, or where nobody knows."""
    theirs, its = _short_title(style.family), _short_title(base.family)
    if style.starter == base.is_starter and (not theirs or not its or theirs == its):
        return ""
    made_for = THE_STARTER if style.starter else theirs or UNKNOWN_BASE
    return DOES_NOT_FIT.format(made_for, THE_STARTER if base.is_starter else its or base.title)


def _short_title(family: str) -> str:
    """What people call a family, from its name or title; empty where it is not known."""
    known = next((one for one in FAMILIES if family in (one.name, one.title)), None)
    return "" if known is None else SHORT_TITLES.get(known.name, known.title)


def _about_style(request: GenerateRequest, place: int, style: StyleEntry | None, base: Base) -> str:
    if style is None:
        return GONE_STYLE
    if any(one.style == style.id for one in request.styles[:place]):
        return TWICE
    if request.each and style.method == TEXTUAL_INVERSION:
        return WORD_ALONE
    return "" if base.problem else misfit(style, base)


def _about_way(request: GenerateRequest, styles: tuple[StyleEntry | None, ...]) -> str:
    """Why styles cannot be combined so; ways that merge take changes of layers, and words are there in any."""
    composition = read_composition(request.compose)
    if composition.way == SUM or None in styles:
        return ""
    layered = [style for style in styles if style is not None and style.method != TEXTUAL_INVERSION]
    unmerged = next((style.name for style in layered if style.only_here), "")
    if unmerged and composition.way not in UNMERGED:
        return NOT_MERGED.format(unmerged)
    if len(layered) < 2:
        return WAY_FOR_LAYERS
    try:
        check_count(composition, len(layered), len(styles) - len(layered))
    except VelaturaError as error:
        return as_sentence(error)
    return ""


def _about_size(size: tuple[int, int], stride: int) -> str:
    if any(side % stride or not stride <= side <= SIDE[1] for side in size):
        return WRONG_SIZE.format(stride, stride, SIDE[1], pixels_in_words(size))
    return ""


def _filled(
    request: GenerateRequest, styles: tuple[StyleRef, ...], base: str, size: tuple[int, int]
) -> GenerateRequest:
    guidance = guidance_for(base) if request.guidance is None else request.guidance
    return request.model_copy(update={"styles": styles, "base": base, "size": size, "guidance": guidance})


def _starter_for(styles: tuple[StyleRef, ...]) -> str:
    """The starter, where every style was trained on it; FieldErrors where one was not."""
    from trainers.formats.origin import origin_of
    from trainers.formats.read import read_outline

    for one in styles:
        assert one.path is not None
        if not origin_of(read_outline(one.path)).starter:
            raise FieldErrors({"base": WHICH_BASE.format(one.path.name)})
    return STARTER


def _native(base: str) -> tuple[int, int]:
    """Side of a base's own pictures, and what sides are multiples of."""
    from trainers.models.load import training_size

    return training_size(base)
