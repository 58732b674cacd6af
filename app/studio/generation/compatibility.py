"""Matches bases and styles, and fills in their defaults; one sentence per invalid field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from app.errors import FieldErrors, as_sentence
from app.studio.base_models import Base, Bases
from app.studio.generation.axes import Axis
from app.studio.generation.cells import fill_axes
from app.studio.generation.request import (
    LEFT_TO_BASE,
    NO_PROMPT,
    GenerateRequest,
    Resolved,
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
NO_PROBLEMS: Mapping[str, str] = {}
SWEPT = ("strength", "second_strength", "")
"""The axis of a style's strength, by its place."""


@dataclass(frozen=True)
class OnBase:
    """The defaults and limits of pictures on a base."""

    defaults: Sample
    samplers: tuple[Sampler, ...]
    side: int = 0
    """Native width and height; 0 if unknown."""
    stride: int = 0
    """Width and height must be multiples of this."""

    def size(self, request: GenerateRequest) -> tuple[int, int]:
        """The size of a request's pictures; zeros if unknown."""
        return request.size or (self.side, self.side)

    def problems(self, request: GenerateRequest) -> dict[str, str]:
        """One sentence per value of a request that the base cannot use."""
        problems, size = dict[str, str](), self.size(request)
        if self.side and any(side % self.stride or not self.stride <= side <= SIDE[1] for side in size):
            problems["size"] = WRONG_SIZE.format(self.stride, self.stride, SIDE[1], pixels_in_words(size))
        if request.sampler is not None and request.sampler not in self.samplers:
            problems["sampler"] = UNSUITED_SAMPLER.format(request.sampler, ", ".join(self.samplers))
        return problems


@dataclass(frozen=True)
class Compatibility:
    """A request matched with existing styles and base models."""

    request: GenerateRequest
    styles: tuple[StyleEntry | None, ...]
    """Its styles; None for a missing one."""
    base: Base
    on_base: OnBase
    axes: tuple[Axis, ...]
    """The axes of comparison, with default values filled in."""
    problems: Mapping[str, str]
    """One sentence per invalid field."""

    def resolve(self) -> Resolved:
        """The request with files and names of its styles, and the defaults of its base.

        Raises FieldErrors, with one sentence per invalid field.
        """
        if self.problems:
            raise FieldErrors(self.problems)
        styles = tuple(
            style.model_copy(update={"path": entry.path.absolute(), "name": entry.name})
            for style, entry in zip(self.request.styles, self.styles, strict=True)
            if entry is not None
        )
        return _resolved(self.request.model_copy(update={"styles": styles}), self.base.model, self.on_base, self.axes)


def check_compatibility(
    request: GenerateRequest,
    library: Mapping[str, StyleEntry],
    bases: Bases,
    typed: Mapping[str, str] = NO_PROBLEMS,
) -> Compatibility:
    """Match a request with the styles, by id, and the base models; `typed` are the problems of the form."""
    styles = tuple(library.get(ref.style) for ref in request.styles)
    base = chosen_base(request.base, styles, bases)
    problems = dict(typed)
    if not all(request.prompts):
        problems["prompt"] = NO_PROMPT
    for place, style in enumerate(styles):
        if sentence := _about_style(request, place, style, base):
            problems[style_field(place)] = sentence
    if sentence := _about_way(request, styles):
        problems["compose"] = sentence
    if base.problem:
        problems["base"] = base.problem if not base.model else BASE_PROBLEM.format(base.title, base.problem)
    on_base = OnBase(sample_for(base.model, settings_of_base(base.model)), samplers_of(base.model))
    try:
        on_base = on_base if base.problem else _with_size(on_base, base.model)
    except VelaturaError as error:  # a folder that looks like a base but is unreadable
        problems["base"] = BASE_PROBLEM.format(base.title, as_sentence(error))
    first = styles[0] if styles else None
    named = (first.name, first.path) if first is not None else None
    axes, wrong = fill_axes(request, on_base.defaults, on_base.samplers, named)
    return Compatibility(request, styles, base, on_base, axes, {**problems, **on_base.problems(request), **wrong})


def resolve_files(request: GenerateRequest) -> Resolved:
    """The resolved request of style files, without a base on the starter if all styles fit it.

    Raises FieldErrors, and VelaturaError if a file is not a style.
    """
    if not all(request.prompts):
        raise FieldErrors({"prompt": NO_PROMPT})
    base = request.base or _starter_for(request.styles)
    on_base = _with_size(OnBase(sample_for(base, settings_of_base(base)), samplers_of(base)), base)
    first = request.styles[0].path if request.styles else None
    named = (first.name, first) if first is not None else None
    axes, wrong = fill_axes(request, on_base.defaults, on_base.samplers, named)
    if problems := {**on_base.problems(request), **wrong}:
        raise FieldErrors(problems)
    return _resolved(request, base, on_base, axes)


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
    """The requested base, or else the first style's, or the starter."""
    first = next((style for style in styles if style is not None), None)
    if model:
        theirs = any(style is not None and style.run and style.base_model == model for style in styles)
        return bases.look(model, trusted=theirs)
    return own_base(first, bases)


def own_base(style: StyleEntry | None, bases: Bases) -> Base:
    """The base of a style if it is on this computer, or else another that the style fits; the starter without a style.

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
    fitting = (base for base in bases.found() if not incompatibility(style, base))
    none = NO_BASE.format(_short_title(style.family) or UNKNOWN_BASE)
    return next(fitting, Base("", _short_title(style.family), style.family, problem=none))


def incompatibility(style: StyleEntry, base: Base) -> str:
    """Why a style cannot be used with a base; empty if it can, or if unknown."""
    theirs, its = _short_title(style.family), _short_title(base.family)
    either_of = {theirs, *map(_short_title, style.twins)}
    if style.starter == base.is_starter and (not theirs or not its or its in either_of):
        return ""
    made_for = THE_STARTER if style.starter else theirs or UNKNOWN_BASE
    return DOES_NOT_FIT.format(made_for, THE_STARTER if base.is_starter else its or base.title)


def _short_title(family: str) -> str:
    """Display name of a family, or of a kind of base that is not trained."""
    known = find_family(family)
    return family if known is None else known.short_title


def _about_style(request: GenerateRequest, place: int, style: StyleEntry | None, base: Base) -> str:
    if style is None:
        return GONE_STYLE
    if any(ref.style == style.id for ref in request.styles[:place]):
        return TWICE
    kinds = [axis.kind for axis in request.axes]
    if "style" in kinds and style.method == TEXTUAL_INVERSION:
        return WORD_ALONE
    if SWEPT[min(place, 2)] in kinds and style.method == TEXTUAL_INVERSION:
        return WORD_SWEPT
    return "" if base.problem else incompatibility(style, base)


def _about_way(request: GenerateRequest, styles: tuple[StyleEntry | None, ...]) -> str:
    """Why styles cannot be combined in this way: merging needs changes of layers, words need nothing."""
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


def _resolved(request: GenerateRequest, base: str, on_base: OnBase, axes: tuple[Axis, ...]) -> Resolved:
    filled = {name: getattr(on_base.defaults, name) for name in LEFT_TO_BASE if getattr(request, name) is None}
    return Resolved.of(request, **filled | {"base": base, "size": on_base.size(request), "axes": axes})


def _starter_for(styles: tuple[StyleRef, ...]) -> str:
    """The starter, if every style was trained on it; FieldErrors or VelaturaError otherwise."""
    from trainers.formats.origin import origin_of
    from trainers.formats.read import read_outline

    for ref in styles:
        assert ref.path is not None
        origin = origin_of(read_outline(ref.path))
        origin.check(ref.path.name)
        if not origin.starter:
            raise FieldErrors({"base": WHICH_BASE.format(ref.path.name)})
    return STARTER


def _with_size(on_base: OnBase, base: str) -> OnBase:
    """Add the native side of a base, and the stride of sides."""
    from trainers.models.load import training_size

    side, stride = training_size(base)
    return replace(on_base, side=side, stride=stride)
