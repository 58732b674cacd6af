"""What somebody wants drawn: as it was typed, and as it is once every field of it can be met."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.studio.generation.generate import SAMPLERS
from app.ui.playground import text as words
from trainers.composition.ways import SUM, WAYS, check_count, read_composition
from trainers.data.captions import one_line
from trainers.errors import VelaturaError

MOST_LETTERS = 1000
MOST_STYLES = 4
STRENGTH, STEPS, GUIDANCE, SEED, SIDE = (-1.0, 2.0), (1, 150), (1.0, 30.0), (0, 2**32 - 1), (8, 2048)
SWITCHES = ("each", "compare")
OPTIONS = ("negative", "seed", "steps", "guidance", "size", "sampler", "base", "compose", *SWITCHES)
"""What a program may say besides the prompt and the styles."""
_SIZE = re.compile(r"(\d{1,6})(?:\s*[x×X*]\s*(\d{1,6}))?")


@dataclass(frozen=True)
class Wish:
    """A picture to draw; without a size or guidance with the base's own, without a base on that of the first style."""

    prompt: str
    styles: tuple[tuple[str, float], ...] = ()
    """By id, each at its strength."""
    negative: str = ""
    seed: int = 1
    steps: int = 25
    guidance: float | None = None
    size: tuple[int, int] | None = None
    """Width and height in pixels."""
    sampler: str = "ddim"
    base: str = ""
    compose: str = SUM
    """How several styles are combined."""
    each: bool = False
    """Whether every one of several styles draws a picture of its own instead."""
    compare: bool = True
    """Whether the same is drawn once more without the styles."""


class Typed(BaseModel):
    """What stands in the fields, whatever that is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str = ""
    styles: tuple[tuple[str, str], ...] = ()
    negative: str = ""
    seed: str = str(Wish.seed)
    steps: str = str(Wish.steps)
    guidance: str = ""
    size: str = ""
    sampler: str = Wish.sampler
    base: str = ""
    compose: str = Wish.compose
    each: bool = Wish.each
    compare: bool = True
    notice: str = ""
    """What has to be said about the file that kept them, until something is typed."""

    def with_(self, **changes: Any) -> Typed:
        """The same with other values in some fields."""
        return self.model_copy(update=changes)


class WishError(VelaturaError):
    """What cannot be drawn as it is asked for: a sentence for each field that has to be changed."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(next(iter(problems.values())))
        self.problems = dict(problems)


def read_typed(typed: Typed) -> tuple[Wish, dict[str, str]]:
    """The wish in what was typed, and a sentence for each field that is none; such a field keeps its default."""
    problems: dict[str, str] = {}

    def read(field: str, reader: Callable[..., Any], *given: Any) -> Any:
        try:
            return reader(*given)
        except VelaturaError as error:
            problems[field] = str(error)
            return getattr(Wish, field, "")

    strengths = (
        (style, read(style_field(place), _number, words.STRENGTH, typed_strength, STRENGTH))
        for place, (style, typed_strength) in enumerate(typed.styles)
    )
    wish = Wish(
        prompt=read("prompt", _prompt, typed.prompt),
        styles=tuple((style, strength or 0.0) for style, strength in strengths),
        negative=read("negative", _text, words.NEGATIVE_NAME, typed.negative),
        seed=read("seed", _whole, words.SEED, typed.seed, SEED),
        steps=read("steps", _whole, words.STEPS, typed.steps, STEPS),
        guidance=read("guidance", _guidance, typed.guidance),
        size=read("size", _size, typed.size),
        sampler=read("sampler", _sampler, typed.sampler),
        base=typed.base,
        compose=SUM if typed.each or len(typed.styles) < 2 else read("compose", _compose, typed),
        each=typed.each and len(typed.styles) > 1,
        compare=typed.compare,
    )
    return wish, problems


def as_typed(wish: Wish) -> Typed:
    """A wish as it is typed."""
    return Typed(
        prompt=wish.prompt,
        styles=tuple((style, f"{strength:g}") for style, strength in wish.styles),
        negative=wish.negative,
        seed=str(wish.seed),
        steps=str(wish.steps),
        guidance="" if wish.guidance is None else f"{wish.guidance:g}",
        size=words.size(wish.size) if wish.size else "",
        sampler=wish.sampler,
        base=wish.base,
        compose=wish.compose,
        each=wish.each,
        compare=wish.compare,
    )


def wish_from(prompt: str, styles: Mapping[str, Any], options: Mapping[str, Any]) -> Wish:
    """The wish of a program: strengths by a style's id, and `OPTIONS`; WishError where a value is none."""
    unknown = sorted(str(name) for name in set(options) - set(OPTIONS))
    if unknown:
        raise VelaturaError(f"there is no option {unknown[0]!r:.80}; there are {', '.join(OPTIONS)}")
    given = {name: value if name in SWITCHES else _plain(name, value) for name, value in options.items()}
    for name in SWITCHES:
        if not isinstance(given.get(name, True), bool):
            raise VelaturaError(f"{name} is true or false, not {given[name]!r:.80}")
    strengths = tuple((str(style), _plain("a strength", value)) for style, value in styles.items())
    composition = read_composition(given.get("compose", SUM))
    if given.get("each"):
        if not styles:
            raise VelaturaError("each draws a picture with every style, and no style is given")
        if composition.way != SUM:
            raise VelaturaError("each draws with one style at a time, so there is nothing for compose to combine")
    check_count(composition, len(styles))
    wish, problems = read_typed(Typed(prompt=prompt, styles=strengths, **given))
    if problems:
        raise WishError(problems)
    return wish


def style_field(place: int) -> str:
    """What the field of one of the styles is called, the first being 0."""
    return f"style-{place}"


def _plain(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise VelaturaError(f"{name} is a text or a number, not {value!r:.80}")
    return str(value)


def _text(name: str, typed: str) -> str:
    kept = one_line(typed)
    if len(kept) > MOST_LETTERS:
        raise VelaturaError(words.TOO_LONG.format(name, MOST_LETTERS, len(kept)))
    return kept


def _prompt(typed: str) -> str:
    kept = _text(words.PROMPT, typed)
    if not kept:
        raise VelaturaError(words.NO_PROMPT)
    return kept


def _number(name: str, typed: str, allowed: tuple[float, float]) -> float:
    try:
        number = float(typed.strip().replace(",", ".").replace("−", "-"))
    except ValueError:
        number = float("nan")
    if not allowed[0] <= number <= allowed[1]:
        raise VelaturaError(words.NO_NUMBER.format(name, *_range(allowed), typed.strip()[:40]))
    return round(number, 2)


def _whole(name: str, typed: str, allowed: tuple[int, int]) -> int:
    plain = re.fullmatch(r"(-?\d{1,12})(?:\.0)?", typed.strip())
    if plain is None or not allowed[0] <= int(plain[1]) <= allowed[1]:
        raise VelaturaError(words.NO_WHOLE.format(name, *_range(allowed), typed.strip()[:40]))
    return int(plain[1])


def _guidance(typed: str) -> float | None:
    return _number(words.GUIDANCE_NAME, typed, GUIDANCE) if typed.strip() else None


def _range(allowed: Iterable[float]) -> tuple[str, ...]:
    return tuple(f"{edge:,}" if edge == int(edge) and abs(edge) > 9999 else f"{edge:g}" for edge in allowed)


def _size(typed: str) -> tuple[int, int] | None:
    if not typed.strip():
        return None
    match = _SIZE.fullmatch(typed.strip())
    if match is None:
        raise VelaturaError(words.NO_SIZE.format(typed.strip()[:40]))
    return int(match[1]), int(match[2] or match[1])


def _compose(typed: Typed) -> str:
    composition = read_composition(typed.compose)
    most = WAYS[composition.way].most
    if most and len(typed.styles) != most:
        raise VelaturaError(words.WAY_FOR_TWO)
    return typed.compose.strip()


def _sampler(typed: str) -> str:
    if typed not in SAMPLERS:
        raise VelaturaError(words.NO_SAMPLER.format(typed[:40], ", ".join(SAMPLERS)))
    return typed
