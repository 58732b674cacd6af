"""`velatura generate`: a picture from styles, a prompt and a base."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.console import say
from app.studio.generation.image_file import check_place, write_picture
from app.studio.progress import OnProgress, quiet
from app.studio.styles.strengths import about_strengths, about_words, read_with_words
from trainers.config.limits import SAMPLERS, SIDE
from trainers.config.presets import STARTER, guidance_for
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainers.composition.apply import StyleNetwork
    from trainers.composition.styling import Styling
    from trainers.composition.ways import Composition
    from trainers.formats.read import Style
    from trainers.models.model import Model
    from trainers.sampling.sample import Order

MOST_CHUNKS = 3
AT_ONCE = 4
"""Pictures of different styles that are drawn at once."""


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    prompts: tuple[str, ...]
    styles: tuple[str, ...]
    negative: str
    seed: int
    steps: int
    size: str
    guidance: float | None
    """None: what the base draws best with."""
    sampler: str
    base: str | None
    compose: str = "sum"
    """How several styles are combined: `WAY` or `WAY:NUMBER`."""
    each: bool = False
    """Whether every style draws a picture of its own."""
    batch: int | None = None
    """Most pictures at once; None: four of `each`, else one after the other."""


def draw_to_files(
    request: Request, out: Path, overwrite: bool, plain: Path | None = None, on_progress: OnProgress = quiet
) -> list[Path]:
    """Draw and write one picture (several prompts as a grid), or one of each style, with its parameters in it.

    Of each style, the pictures are called `out` with a number from 1. `plain` is where the same picture without the
    styles goes; `tell` hears how far it is. Raises VelaturaError, before anything is loaded or written, where the
    request cannot be met.
    """
    from trainers.composition.ways import check_count, read_composition

    composition = read_composition(request.compose)
    _check_each(request)
    if request.sampler not in SAMPLERS:
        raise VelaturaError(f"there is no sampler {request.sampler!r}; there are {', '.join(SAMPLERS)}")
    styles = read_with_words(request.styles)
    words = [one for one in styles if one[0].rows]
    alone = [[one, *words] for one in styles if not one[0].rows]
    check_count(composition, len(alone), len(words))
    places = _places(request, styles, out)
    for place in (*places, plain):
        if place is not None:
            check_place(place, overwrite)
    base = _base(request, styles)
    size = _size(request.size, base)
    guidance = guidance_for(base) if request.guidance is None else request.guidance
    model, order = _load(request, styles, base, size)
    order = replace(order, guidance=guidance)
    told = _telling(on_progress, order, len(places) + (plain is not None))
    used = {name: value for name, value in asdict(request).items() if name not in ("compose", "each", "batch")}
    used |= {"base": _without_folders(base), "size": size, "guidance": guidance}
    drawn: list[tuple[list[Image], list[tuple[Style, float]]]] = []
    drawing = _side_by_side(model, styles, plain) if request.each else _combined(model, styles, composition, order)
    with drawing as styling:  # which says first what does not fit this base
        for said in (*about_strengths(styles), *about_words(styles, (*request.prompts, request.negative))):
            say((said, "yellow"))
        order = replace(order, chunks=_chunks(model, request, order.chunks))
        drawn += zip(_draw(model, order, told, styling), [*alone, []] if request.each else [styles], strict=False)
    if plain is not None and len(drawn) == len(places):
        drawn += [(_draw(model, order, told)[0], [])]
    for place, (pictures, used_styles) in zip((*places, plain), drawn, strict=False):
        assert place is not None
        combined = {"compose": request.compose} if len(used_styles) > 1 and not request.each else {}
        named = {"styles": [(style.name, strength) for style, strength in used_styles]}
        label = ", ".join(style.path.stem for style, _ in used_styles)
        write_picture(_sheet(pictures, order, label), place, used | named | combined)
    return places


def _check_each(request: Request) -> None:
    """Raise VelaturaError where a picture with every style is asked for, and that makes no sense."""
    if request.each and not request.styles:
        raise VelaturaError("--each draws a picture with every style, and no --style is given")
    if request.each and request.compose != "sum":
        raise VelaturaError("--each draws with one style at a time, so there is nothing for --compose to combine")


def _places(request: Request, styles: Sequence[tuple[Style, float]], out: Path) -> list[Path]:
    """Where the pictures with styles go; with `each` numbered as the styles are, of which embeddings draw none."""
    if not request.each:
        return [out]
    numbers = [number for number in range(1, len(request.styles) + 1) if not styles[number - 1][0].rows]
    if not numbers:
        raise VelaturaError(
            "--each draws a picture with every style other than embeddings, whose words hold for all of them, and "
            "only embeddings are given; leave --each out"
        )
    return [out.with_name(f"{out.stem}-{number}{out.suffix}") for number in numbers]


def _load(
    request: Request, styles: Sequence[tuple[Style, float]], base: str, size: tuple[int, int]
) -> tuple[Model, Order]:
    """The base, and what to draw with it."""
    from trainers.device import choose_device, choose_format
    from trainers.formats.training_metadata import Reading, reading_of
    from trainers.models.load import load_model
    from trainers.sampling.sample import Order

    device = choose_device("auto")
    # As the first style was trained: with another clip skip or prediction its pictures would not be its own.
    reading = reading_of(styles[0][0]) if styles else Reading()
    settings = reading.base.model_copy(update={"model": base, "family": "auto"})
    model = load_model(settings, choose_format("auto", device, small=base == STARTER), device)
    order = Order(
        prompts=request.prompts,
        seeds=(request.seed,),
        negative=request.negative,
        steps=request.steps,
        size=size,
        sampler=request.sampler,  # type: ignore[arg-type]
        clip_skip=settings.clip_skip,
        chunks=reading.chunks,
        batch=request.batch or (AT_ONCE if request.each else 1),
    )
    return model, order


@contextmanager
def _combined(
    model: Model, styles: Sequence[tuple[Style, float]], composition: Composition, order: Order
) -> Iterator[Styling]:
    """The base with styles on it, combined, for a while, saying what of them it does not take."""
    from trainers.composition.compose import compose

    network, styling = compose(model, styles, composition, order.steps, order.seeds[0])
    with _on(network):
        yield styling


@contextmanager
def _side_by_side(model: Model, styles: Sequence[tuple[Style, float]], plain: Path | None) -> Iterator[Styling]:
    """The base with styles on it for a while, each for pictures of its own, and for some with none."""
    from trainers.composition.batched import batch_styles
    from trainers.composition.styling import Each

    network = batch_styles(model.parts, model.family.name, styles, model.words)
    numbers = range(sum(not style.rows for style, _ in styles))
    bare = plain is not None and not network.words  # words are there for all pictures
    with _on(network):
        yield Each(network, (*numbers, *([-1] if bare else [])))


@contextmanager
def _on(network: StyleNetwork) -> Iterator[None]:
    for warning in network.warnings:
        say((warning, "yellow"))
    try:
        yield
    finally:
        network.remove()


def _draw(
    model: Model, order: Order, told: Callable[[int, int], None], styling: Styling | None = None
) -> list[list[Image]]:
    """The pictures of an order for each variant of its styling."""
    from trainers.sampling.sample import draw

    pictures = list(draw(model, order, told, styling))
    variants = 1 if styling is None else len(styling.variants)
    return [pictures[variant::variants] for variant in range(variants)]


def _sheet(pictures: list[Image], order: Order, label: str) -> Image:
    """One picture, or several prompts' in a grid."""
    if len(pictures) == 1:
        return pictures[0]
    from trainers.sampling.grid import make_grid

    return make_grid([(label or "no style", pictures)], order.prompts)


def _telling(on_progress: OnProgress, order: Order, times: int) -> Callable[[int, int], None]:
    """Tells after each step how much of an order is done, which is drawn so many times."""
    done, whole = count(1), len(order.pictures) * order.steps * times

    def told(picture: int, step: int) -> None:
        on_progress("working", message="Drawing …", done=next(done), of=whole)

    return told


def _chunks(model: Model, request: Request, trained: int) -> int:
    """Chunks of 75 tokens that the longest prompt needs, at least as many as in training and at most three."""
    from trainers.models.text import CHUNK, count_tokens

    longest = max(count_tokens(model, text) for text in (*request.prompts, request.negative))
    if longest > CHUNK * MOST_CHUNKS:
        say((f"a prompt of {longest} tokens is cut after {CHUNK * MOST_CHUNKS}", "yellow"))
    return min(max(trained, -(-longest // CHUNK)), MOST_CHUNKS)


def _base(request: Request, styles: Sequence[tuple[Style, float]]) -> str:
    """The base that was asked for, else the starter where every style was trained on it."""
    if request.base:
        return request.base
    from trainers.formats.origin import origin_of

    others = [style.path.name for style, _ in styles if not origin_of(style).starter]
    if others:
        raise VelaturaError(f"{others[0]} was not trained on the starter; say which base to draw with, as --base")
    return STARTER


def _without_folders(base: str) -> str:
    """A base as a picture may say it to whoever it is shown to: not where it lies on somebody's disk."""
    is_path = base != STARTER and Path(base).expanduser().exists()
    return Path(base).name if is_path else base


def _size(text: str, base: str) -> tuple[int, int]:
    """`WxH` as pixels (width, height), each a multiple of the base's stride; without text the base's own size."""
    from trainers.models.load import training_size

    native, stride = training_size(base)
    if not text:
        return native, native
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text.strip(), re.IGNORECASE)
    if not match:
        raise VelaturaError(f"--size {text!r} is no size; write width x height in pixels, e.g. {native}x{native}")
    width, height = int(match[1]), int(match[2])
    if width % stride or height % stride or not (stride <= min(width, height) <= max(width, height) <= SIDE[1]):
        raise VelaturaError(
            f"--size {text}: width and height must be multiples of {stride}, from {stride} to {SIDE[1]}"
        )
    return width, height
