"""Matching bases and styles, and the defaults they give a request; one sentence per invalid field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.errors import FieldErrors, as_sentence
from app.studio.base_models import Base, Bases
from app.studio.generation.axes import Axis
from app.studio.generation.cells import fill_axes
from app.studio.generation.request import (
    LEFT_TO_BASE,
    NO_PROMPT,
    GenerateRequest,
    StyleRef,
    style_field,
)
from app.studio.generation.values import UNSUITED_SAMPLER, pixels_in_words
from app.studio.styles.entry import StyleEntry
from trainers.composition.ways import SUM, UNMERGED, check_count, read_composition
from trainers.config.limits import SIDE, Sampler
from trainers.config.presets import STARTER, sample_for
from trainers.config.sections import Sample
from trainers.config.techniques import TEXTUAL_INVERSION
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.models.bases.recognise import samplers_of, settings_of_base
from trainers.models.families import find_family
from trainers.models.files.hub import local_path
from trainers.models.files.other_bases import list_other_bases

GONE_STYLE = _("This style no longer exists. Remove it, or choose another.")
TWICE = _("This style is selected twice. Remove one of them.")
WORD_ALONE = _("A word alone cannot draw a picture. Remove it, or draw one picture with all styles together.")
WORD_SWEPT = _("A word has no strengths to compare. Remove it, or choose a single strength.")
WAY_FOR_LAYERS = _("This needs two styles that change the model; a word does not. Choose “Added up” (sum).")
NOT_MERGED = _(
    "“{}” depends on the picture or the step, so its weights cannot be combined. Choose “Added up” (sum), “Taking "
    "turns” (switch) or “Blended at every step” (composite)."
)
DOES_NOT_FIT = _("Made for {}; this base is {}.")
NO_BASE = _("There is no base model for this style on this computer. Download one for {} in the second step of Train.")
BASE_PROBLEM = _("{} cannot be used. {}")
WHICH_BASE = _("{} was not trained on the starter; choose a base with --base.")
WRONG_SIZE = _("Width and height must be multiples of {} from {} to {:,} here; you wrote {}.")
LOST_STYLE = _("the style “{name}” has been deleted since; choose another one")
LOST_STEP = _("step {step} of “{name}” has been deleted since; choose another one")
LOST_BASE = _("the base model {name} is no longer on this computer; choose another one, or put it back")
THE_STARTER, UNKNOWN_BASE = _("the starter"), _("another kind of model")
SWEPT = ("strength", "second_strength", "")
"""The axis of a style's strength, by its place."""


@dataclass(frozen=True)
class Compatibility:
    """A request matched with existing styles and base models."""

    styles: tuple[StyleEntry | None, ...]
    """Its styles; None for a missing one."""
    base: Base
    size: tuple[int, int]
    """Picture size: requested, otherwise the base's; zeros if unknown."""
    stride: int
    """Width and height must be multiples of this."""
    defaults: Sample
    """Steps, sampler and guidance where the request leaves them to the base."""
    samplers: tuple[Sampler, ...]
    """Those that suit the base."""
    axes: tuple[Axis, ...]
    """What is compared, with the values that the request leaves out."""
    problems: Mapping[str, str]
    """One sentence per invalid field."""


def check_compatibility(request: GenerateRequest, library: Mapping[str, StyleEntry], bases: Bases) -> Compatibility:
    """Match a request with the styles, by id, and the base models."""
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
    own, first = sample_for(base.model, settings_of_base(base.model)), styles[0] if styles else None
    axes, wrong = fill_axes(request, base.model, own, (first.name, first.path) if first is not None else None)
    wrong = {**_about_sampler(request, base.model), **wrong}
    return Compatibility(styles, base, size, stride, own, samplers_of(base.model), axes, {**problems, **wrong})


def resolve(request: GenerateRequest, library: Mapping[str, StyleEntry], bases: Bases) -> GenerateRequest:
    """The request with files and names of its styles and all that it leaves to the base filled in.

    Raises FieldErrors, with one sentence per invalid field.
    """
    found = check_compatibility(request, library, bases)
    if found.problems:
        raise FieldErrors(found.problems)
    styles = (
        one.model_copy(update={"path": style.path.absolute(), "name": style.name})
        for one, style in zip(request.styles, found.styles, strict=True)
        if style is not None
    )
    return _filled(request, tuple(styles), found.base.model, found.size, found.axes)


def resolve_files(request: GenerateRequest) -> GenerateRequest:
    """The same for style files; without a base, on the starter if all fit it.

    Raises FieldErrors, and VelaturaError if a file is not a style.
    """
    if not all(request.prompts):
        raise FieldErrors({"prompt": NO_PROMPT})
    base = request.base or _starter_for(request.styles)
    native, stride = _native(base)
    size = request.size or (native, native)
    if sentence := _about_size(size, stride):
        raise FieldErrors({"size": sentence})
    first = request.styles[0].path if request.styles else None
    own = sample_for(base, settings_of_base(base))
    axes, problems = fill_axes(request, base, own, (first.name, first) if first is not None else None)
    if problems := {**_about_sampler(request, base), **problems}:
        raise FieldErrors(problems)
    return _filled(request, request.styles, base, size, axes)


def check_inputs(request: GenerateRequest) -> None:
    """Raise VelaturaError if a style or the base of a resolved request has been deleted since it was queued."""
    for style in request.styles:
        if style.path is not None and not style.path.is_file():
            raise VelaturaError(LOST_STYLE.format(name=style.name))
    for axis in request.axes:
        for step, path in zip(axis.values, axis.paths, strict=False):
            if not path.is_file():
                raise VelaturaError(LOST_STEP.format(step=step, name=request.styles[0].name))
    place = Path(request.base)
    if (place.is_absolute() or request.base.startswith("~")) and local_path(request.base) is None:
        raise VelaturaError(LOST_BASE.format(name=place.name))


def chosen_base(model: str, styles: tuple[StyleEntry | None, ...], bases: Bases) -> Base:
    """The requested base, otherwise the first style's, otherwise the starter."""
    first = next((style for style in styles if style is not None), None)
    if model:
        theirs = any(style is not None and style.run and style.base_model == model for style in styles)
        return bases.look(model, trusted=theirs)
    return own_base(first, bases)


def own_base(style: StyleEntry | None, bases: Bases) -> Base:
    """The base that a style was trained on, if it is on this computer, otherwise another that it fits; without a style,
    the starter.

    If there is none, the returned base has a problem and no name.
    """
    if style is None or style.starter:
        return bases.look(STARTER)
    if other := next((other for other in list_other_bases() if other.name == style.family), None):
        return Base("", other.name, other.name, problem=as_sentence(other.refuse_style(style.path.name)))
    if style.base_model:
        base = bases.look(style.base_model, trusted=bool(style.run))
        if not base.problem:
            return base
    fitting = (base for base in bases.found() if not misfit(style, base))
    none = NO_BASE.format(_short_title(style.family) or UNKNOWN_BASE)
    return next(fitting, Base("", _short_title(style.family), style.family, problem=none))


def misfit(style: StyleEntry, base: Base) -> str:
    """Why a style cannot be used with a base; empty if it can, or if this is unknown."""
    theirs, its = _short_title(style.family), _short_title(base.family)
    either_of = {theirs, *map(_short_title, style.twins)}
    if style.starter == base.is_starter and (not theirs or not its or its in either_of):
        return ""
    made_for = THE_STARTER if style.starter else theirs or UNKNOWN_BASE
    return DOES_NOT_FIT.format(made_for, THE_STARTER if base.is_starter else its or base.title)


def _short_title(family: str) -> str:
    """A family's display name, from its name or title, or that of a kind of base that is not trained."""
    known = find_family(family)
    return family if known is None else known.short_title


def _about_style(request: GenerateRequest, place: int, style: StyleEntry | None, base: Base) -> str:
    if style is None:
        return GONE_STYLE
    if any(one.style == style.id for one in request.styles[:place]):
        return TWICE
    kinds = [axis.kind for axis in request.all_axes]
    if "style" in kinds and style.method == TEXTUAL_INVERSION:
        return WORD_ALONE
    if SWEPT[min(place, 2)] in kinds and style.method == TEXTUAL_INVERSION:
        return WORD_SWEPT
    return "" if base.problem else misfit(style, base)


def _about_way(request: GenerateRequest, styles: tuple[StyleEntry | None, ...]) -> str:
    """Why styles cannot be combined in this way; merging ways need layer changes, words work in all."""
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


def _about_sampler(request: GenerateRequest, base: str) -> Mapping[str, str]:
    samplers = samplers_of(base)
    if request.sampler is None or request.sampler in samplers:
        return {}
    return {"sampler": UNSUITED_SAMPLER.format(request.sampler, ", ".join(samplers))}


def _about_size(size: tuple[int, int], stride: int) -> str:
    if any(side % stride or not stride <= side <= SIDE[1] for side in size):
        return WRONG_SIZE.format(stride, stride, SIDE[1], pixels_in_words(size))
    return ""


def _filled(
    request: GenerateRequest, styles: tuple[StyleRef, ...], base: str, size: tuple[int, int], axes: tuple[Axis, ...]
) -> GenerateRequest:
    own = sample_for(base, settings_of_base(base))
    filled = {name: getattr(own, name) for name in LEFT_TO_BASE if getattr(request, name) is None}
    return request.model_copy(update={"styles": styles, "base": base, "axes": axes, **filled, "size": size})


def _starter_for(styles: tuple[StyleRef, ...]) -> str:
    """The starter, if every style was trained on it; otherwise FieldErrors, or VelaturaError if no base can be used."""
    from trainers.formats.origin import origin_of
    from trainers.formats.read import read_outline

    for one in styles:
        assert one.path is not None
        origin = origin_of(read_outline(one.path))
        origin.check(one.path.name)
        if not origin.starter:
            raise FieldErrors({"base": WHICH_BASE.format(one.path.name)})
    return STARTER


def _native(base: str) -> tuple[int, int]:
    """A base's native side, and the stride of sides."""
    from trainers.models.load import training_size

    return training_size(base)
