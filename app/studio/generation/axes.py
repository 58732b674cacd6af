"""Axes of a comparison: the values that differ along a row, and from row to row."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator
from pydantic_core import PydanticCustomError

from app.studio.generation.options import NO_SAMPLER, OPTIONS, STRENGTH, Options, Series
from app.studio.generation.values import no_number, no_whole, read_line, read_list, short, typed_number
from trainers.composition.ways import SUM, read_composition
from trainers.config import limits
from trainers.config.limits import AXES, SAMPLERS, STEPS, AxisKind, Sampler
from trainers.config.sections import Sample
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.messages import listed
from trainers.section import Section

NEEDED_STYLES: Mapping[str, int] = {"strength": 1, "step": 1, "second_strength": 2, "style": 2}
"""Number of styles that a kind needs."""
RIBBON = (0.0, 0.4, 0.8, 1.2, 1.6)
"""Default strengths of a comparison."""
MOST_VALUES, MOST_CELLS = 12, 100
"""Maximum number of values of an axis, and of pictures in a comparison."""
USUAL_STEPS, USUAL_SEEDS = 8, 4
USUAL_SAMPLERS: tuple[Sampler, ...] = ("ddim", "euler", "dpm++ 2m karras", "unipc")
"""Default numbers of compared steps of a run, and of seeds."""
LONGEST_STEP = (1, 10**9)
REFUSED = "wrong_together"
"""Type of an error with its own field and sentence."""
NO_AXIS = _("There is no axis “{}”; available are {}.")
NO_VALUES = _("{axis} cannot be {given!r:.80}; write a list of values.")
MANY_VALUES = _("At most {most} values can be compared along an axis; this has {found}.")
FEW_WORDS = _("Write the words that take turns, such as “fox, cat, owl”. The prompt must contain the first.")
NO_WORDS = _("The prompt does not contain “{words}”, in whose place the others are to be drawn.")
NO_STYLE_NUMBER = _("There are {count} styles; “{written}” is none of them.")
NO_SUCH_STEPS = _("The style of step {step} was not kept. There are {steps}.")
IMPORTED = _("“{name}” was not trained here, or no steps of its run were kept; there is nothing to compare.")
FEW_SEEDS = _("There are no {number} seeds from here on; choose a smaller one.")
STEP = _("Step")
NUMBERS: Mapping[str, tuple[str, tuple[float, float]]] = {
    **{name: (option.noun, option.allowed) for name, option in OPTIONS.items() if option.kind == "number"},
    **dict.fromkeys(("strength", "second_strength"), (STRENGTH, limits.STRENGTH)),
}
"""Kinds of numbers, with noun and range; other kinds are whole numbers, words or samplers."""
WHOLE: Mapping[str, tuple[str, tuple[float, float]]] = {
    **{name: (option.noun, option.allowed) for name, option in OPTIONS.items() if option.kind == "whole"},
    **dict.fromkeys(("step", "style"), (STEP, LONGEST_STEP)),
}
SWEPT: tuple[AxisKind, ...] = ("strength", "second_strength")
"""Kinds of axes of strengths, by the place of the style."""
Value = int | float | str
_RANGE = re.compile(
    r"(?P<from>[-+−]?[\d.]+)\s*(?:-|–|\.\.)\s*(?P<to>[\d.]+)\s*(?:\(\+?(?P<by>[\d.]+)\)|\[(?P<of>\d+)\])?"
)


class Axis(Section):
    """A kind of difference between pictures, and its values; by default the usual ones."""

    kind: AxisKind
    values: tuple[Value, ...] = ()
    paths: tuple[Path, ...] = ()
    """Style files of a run's steps, once resolved."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping) or value.get("kind") not in AXES:
            kind = value.get("kind") if isinstance(value, Mapping) else value
            raise refusal(NO_AXIS.format(short(kind), ", ".join(AXES)))
        return {**value, "values": _values(value["kind"], value.get("values", ()))}

    def is_like(self, other: Axis) -> bool:
        """Whether it compares the same values of the same kind."""
        return (self.kind, self.values) == (other.kind, other.values)

    def without_paths(self) -> Axis:
        """The axis for display."""
        return self.model_copy(update={"paths": ()})


def read_axes(value: Any) -> Any:
    """Axes from a mapping of kinds to values, the first along a row; other values unchanged."""
    if isinstance(value, Mapping):
        return tuple({"kind": kind, "values": values} for kind, values in value.items())
    return value


def refusal(sentence: str, field: str = "") -> PydanticCustomError:
    """The error of a validator, with a sentence, and the field if it is another one."""
    return PydanticCustomError(REFUSED, "{sentence}", {"field": field, "sentence": sentence})


def series_as_axes(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a request with axes in place of `count`, `strengths` and `each`.

    Raises `refusal` for wrong values and wrong combinations.
    """
    rest = {name: value for name, value in values.items() if name not in Series.model_fields}
    try:
        series = Series.model_validate({name: values[name] for name in Series.model_fields if name in values})
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0])
        raise refusal(OPTIONS[name].refusal(wrong["input"], wrong["type"]), name) from None
    listed = values.get("styles", ())
    styles = len(listed) if isinstance(listed, list | tuple) else 0
    _check(series, styles, _adds_up(values.get("compose", SUM)), bool(values.get("axes")))
    if series.count > 1:
        return rest | {"axes": (seed_axis(_first_seed(values.get("seed", 1), series.count), series.count),)}
    if series.strengths:
        return rest | {"axes": tuple(Axis(kind=kind, values=series.strengths) for kind in SWEPT[:styles])}
    if series.each:
        return rest | {"axes": (style_axis(styles),)}
    return rest | {"compare": False} if values.get("axes") else rest


def seed_axis(seed: int, count: int) -> Axis:
    """The axis of a seed and those that follow it."""
    return Axis.model_construct(kind="seed", values=tuple(range(seed, seed + count)))


def style_axis(count: int) -> Axis:
    """The axis of all styles, each alone."""
    return Axis.model_construct(kind="style", values=tuple(range(1, count + 1)))


def _check(series: Series, styles: int, adds_up: bool, has_axes: bool) -> None:
    if series.strengths and not styles:
        raise refusal(_("Several strengths need a style; select one."), "strengths")
    if series.strengths and (series.each or not adds_up):
        raise refusal(_("Several strengths are drawn with styles that are added up."), "strengths")
    if series.count > 1 and (series.strengths or series.each):
        raise refusal(_("Several pictures differ in one thing: seed, strength or style. Choose one."), "count")
    if has_axes and (series.count > 1 or series.strengths or series.each):
        raise refusal(_("Axes say what the pictures differ in; leave count, strengths and each out."), "axes")
    if series.each and not styles:
        raise refusal(_("Each draws one picture per style; select at least one style."), "each")
    if series.each and not adds_up:
        raise refusal(_("Each draws one style at a time; compose has no effect."), "compose")


def _adds_up(compose: Any) -> bool:
    """Whether styles are added up; an unknown way raises with its field."""
    try:
        return read_composition(str(compose)).way == SUM
    except VelaturaError:
        return True


def _first_seed(seed: Any, count: int) -> int:
    """The first seed; a wrong one raises with its field."""
    try:
        first = Options.model_validate({"seed": seed}).seed
    except ValidationError:
        return 1
    if first + count - 1 > limits.SEED[1]:
        raise refusal(FEW_SEEDS.format(number=count), "seed")
    return first


def usual_values(
    kind: AxisKind, seed: int, styles: int, own: Sample, kept: Sequence[int], samplers: Sequence[Sampler]
) -> tuple[Value, ...]:
    """The default values of a comparison, from the base's `own` settings and `samplers`, and the `kept` steps."""
    match kind:
        case "strength" | "second_strength":
            return RIBBON
        case "style":
            return tuple(range(1, styles + 1))
        case "step":
            return _spread(kept, USUAL_STEPS)
        case "seed":
            return tuple(seed + number for number in range(USUAL_SEEDS))
        case "guidance":
            shares = (own.guidance * factor for factor in (0.5, 1, 1.5, 2))
            return tuple(dict.fromkeys(max(1.0, round(2 * share) / 2) for share in shares))
        case "steps":
            counts = (own.steps * factor for factor in (0.5, 1, 2, 4))
            return tuple(dict.fromkeys(int(min(max(STEPS[0], count), STEPS[1])) for count in counts))
        case "sampler":
            return tuple(dict.fromkeys((own.sampler, *(name for name in USUAL_SAMPLERS if name in samplers))))
        case "words":
            return ()


def _spread(steps: Sequence[int], most: int) -> tuple[int, ...]:
    """At most `most` steps, evenly from the first to the last."""
    last = len(steps) - 1
    count = min(most, len(steps))
    return tuple(steps[round(place * last / max(1, count - 1))] for place in range(count))


def _values(kind: str, written: Any) -> tuple[Value, ...]:
    """The distinct values of an axis, from text or a list."""
    most = MOST_VALUES
    if isinstance(written, str):
        written = _split(kind, written)
    elif kind == "seed":  # as many as `count` has
        most = limits.COUNT[1]
    if not isinstance(written, list | tuple):
        raise refusal(NO_VALUES.format(axis=kind, given=written))
    values = tuple(dict.fromkeys(_value(kind, value) for value in written))
    _check_number(len(values), most)
    return values


def _split(kind: str, text: str) -> list[Value]:
    """Values between commas, or semicolons where commas are decimal; `1-5`, `1-9 (+2)` and `0-2 [5]` are several."""
    values: list[Value] = []
    for part in (part.strip() for part in read_list(text)):
        match = None if kind in ("words", "sampler") else _RANGE.fullmatch(part.replace(",", "."))
        values += [part] if match is None else _range(kind, match)
    return values


def _range(kind: str, match: re.Match[str]) -> list[Value]:
    try:
        first, last = float(match["from"].replace("−", "-")), float(match["to"])
        by, count = float(match["by"] or 1), int(match["of"] or 0)
        count = count or math.floor((last - first) / by + 1e-9) + 1
    except (ValueError, OverflowError, ZeroDivisionError):
        return [match[0]]
    if count < 1:
        return [match[0]]
    _check_number(count)
    if match["of"]:
        by = (last - first) / max(1, count - 1)
    numbers = [round(first + place * by, 6) for place in range(count)]
    return [round(number) for number in numbers] if kind in WHOLE else list(numbers)


def _check_number(count: int, most: int = MOST_VALUES) -> None:
    if count > most:
        raise refusal(MANY_VALUES.format(most=most, found=count))


def _value(kind: str, written: Any) -> Value:
    """A value of an axis; invalid ones raise with their sentence."""
    if kind == "words":
        words = read_line(written) if isinstance(written, str) else ""
        if not words:
            raise refusal(FEW_WORDS)
        return str(words)
    if kind == "sampler":
        if written not in SAMPLERS:
            raise refusal(NO_SAMPLER.format(short(written), ", ".join(SAMPLERS)))
        return str(written)
    read = _read(written)
    if kind in NUMBERS:
        noun, (least, most) = NUMBERS[kind]
        if not least <= read <= most:
            raise refusal(no_number(noun, (least, most), written))
        return float(read)
    noun, (least, most) = WHOLE[kind]
    if not least <= read <= most or int(read) != read:
        raise refusal(no_whole(noun, (least, most), written))
    return int(read)


def _read(written: Any) -> float:
    """A number, an integer if written as one; NaN for other values."""
    try:
        typed = typed_number(written)
        return int(typed) if isinstance(typed, int) or typed.isdecimal() else float(typed)
    except (AttributeError, ValueError, TypeError, OverflowError):
        return float(written) if isinstance(written, float) else math.nan


def steps_in_words(steps: Sequence[int]) -> str:
    """Steps of a run for a sentence."""
    return listed([str(step) for step in steps])
