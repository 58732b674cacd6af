"""Generates a request's pictures into files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.studio.generation.held_base import HeldBase, base_request
from app.studio.generation.image_file import check_place, write_picture
from app.studio.generation.request import GenerateRequest
from app.studio.progress import OnProgress, quiet
from app.studio.styles.strengths import about_strengths, about_words, add_words
from trainers.composition.ways import check_count, read_composition
from trainers.config.presets import STARTER
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainers.composition.apply import StyleNetwork
    from trainers.composition.styling import Styling
    from trainers.composition.ways import Composition
    from trainers.formats.read import Style
    from trainers.models.model import Model
    from trainers.sampling.sample import SamplingParams

MOST_CHUNKS = 3
AT_ONCE = 4
"""Default batch size for pictures of different styles."""
Note = Callable[[str], None]


@dataclass(frozen=True)
class GenerateResult:
    """The generated files."""

    pictures: tuple[Path, ...]
    """Pictures with the styles, or one per style."""
    notes: tuple[str, ...]
    """Notes, such as layers missing in the base or a word missing in the prompts."""


def generate(
    request: GenerateRequest,
    out: Path,
    plain: Path | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = quiet,
    held: HeldBase | None = None,
) -> GenerateResult:
    """Generate and write one picture (several prompts as a grid), or one per style, with its parameters as metadata.

    The request must be resolved. With one picture per style, the files are `out` with a number from 1. `plain` is the
    file for the picture without styles. `on_progress` receives progress, and each note before generation starts. A
    `held` base is used if it is the request's. Raises VelaturaError, before anything is loaded or written, if the
    request cannot be met.
    """
    composition = read_composition(request.compose)
    styles = read_styles(request)
    words = [one for one in styles if one[0].rows]
    alone = [[one, *words] for one in styles if not one[0].rows]
    check_count(composition, len(alone), len(words))
    places = _places(request, styles, out)
    for place in (*places, plain):
        if place is not None:
            check_place(place, overwrite)
    notes: list[str] = []

    def note(sentence: str) -> None:
        notes.append(sentence)
        on_progress("note", message=sentence)

    model, params = _load(request, styles, held)
    on_step = _count_steps(on_progress, params, len(places) + (plain is not None))
    drawn: list[tuple[list[Image], list[tuple[Style, float]]]] = []
    if request.each:
        applied = _side_by_side(model, styles, plain, note)
    else:
        applied = _combined(model, styles, composition, params, note)
    with applied as styling:  # which says first what does not fit this base
        for sentence in (*about_strengths(styles), *about_words(styles, (*request.prompts, request.negative))):
            note(sentence)
        params = replace(params, chunks=_chunks(model, request, params.chunks, note))
        drawn += zip(_draw(model, params, on_step, styling), [*alone, []] if request.each else [styles], strict=False)
    if plain is not None and len(drawn) == len(places):
        drawn += [(_draw(model, params, on_step)[0], [])]
    for place, (pictures, used) in zip((*places, plain), drawn, strict=False):
        assert place is not None
        label = ", ".join(style.path.stem for style, _ in used)
        write_picture(_sheet(pictures, params, label), place, _parameters(request, used))
    return GenerateResult(tuple(places), tuple(notes))


def read_styles(request: GenerateRequest) -> list[tuple[Style, float]]:
    """The styles, and the words trained with them at full strength."""
    from trainers.formats.read import read_style

    chosen = []
    for one in request.styles:
        assert one.path is not None, "the request has not been resolved"
        chosen.append((read_style(one.path), one.strength))
    return add_words(chosen)


def _parameters(request: GenerateRequest, styles: Sequence[tuple[Style, float]]) -> dict[str, Any]:
    """A picture's generation parameters."""
    combined = {"compose": request.compose} if len(styles) > 1 and not request.each else {}
    return {
        "prompts": request.prompts,
        "styles": [(style.name, strength) for style, strength in styles],
        "negative": request.negative,
        "seed": request.seed,
        "steps": request.steps,
        "size": request.size,
        "guidance": request.guidance,
        "sampler": request.sampler,
        "base": _without_folders(request.base),
    } | combined


def _places(request: GenerateRequest, styles: Sequence[tuple[Style, float]], out: Path) -> list[Path]:
    """The files for pictures with styles; with `each` numbered by style, without embeddings."""
    if not request.each:
        return [out]
    numbers = [number for number in range(1, len(request.styles) + 1) if not styles[number - 1][0].rows]
    if not numbers:
        raise VelaturaError(
            "each draws one picture per style, not counting embeddings, and there are only embeddings; turn it off"
        )
    return [out.with_name(f"{out.stem}-{number}{out.suffix}") for number in numbers]


def _load(
    request: GenerateRequest, styles: Sequence[tuple[Style, float]], held: HeldBase | None
) -> tuple[Model, SamplingParams]:
    """The base, and what to draw with."""
    from trainers.sampling.sample import SamplingParams

    assert request.size and request.guidance and request.steps and request.sampler, "the request has not been resolved"
    needed = base_request(request, [style for style, _ in styles])
    model = (held and held.model_for(needed)) or needed.load()
    params = SamplingParams(
        prompts=request.prompts,
        seeds=(request.seed,),
        negative=request.negative,
        steps=request.steps,
        guidance=request.guidance,
        size=request.size,
        sampler=request.sampler,
        clip_skip=needed.settings.clip_skip,
        chunks=needed.chunks,
        batch=request.batch or (AT_ONCE if request.each else 1),
    )
    return model, params


@contextmanager
def _combined(
    model: Model, styles: Sequence[tuple[Style, float]], composition: Composition, params: SamplingParams, note: Note
) -> Iterator[Styling]:
    """Apply combined styles to the base temporarily, with notes on parts that it lacks."""
    from trainers.composition.compose import compose

    network, styling = compose(model, styles, composition, params.steps, params.seeds[0])
    with _on(network, note):
        yield styling


@contextmanager
def _side_by_side(
    model: Model, styles: Sequence[tuple[Style, float]], plain: Path | None, note: Note
) -> Iterator[Styling]:
    """Apply styles to the base temporarily, each for its own pictures, some pictures with none."""
    from trainers.composition.batched import batch_styles
    from trainers.composition.styling import Each

    network = batch_styles(model.parts, model.family.name, styles, model.words)
    numbers = range(sum(not style.rows for style, _ in styles))
    bare = plain is not None and not network.words  # words are there for all pictures
    with _on(network, note):
        yield Each(network, (*numbers, *([-1] if bare else [])))


@contextmanager
def _on(network: StyleNetwork, note: Note) -> Iterator[None]:
    for warning in network.warnings:
        note(warning)
    try:
        yield
    finally:
        network.remove()


def _draw(
    model: Model, params: SamplingParams, on_step: Callable[[int, int], None], styling: Styling | None = None
) -> list[list[Image]]:
    """The pictures, for each variant of the styles."""
    from trainers.sampling.sample import draw

    pictures = list(draw(model, params, on_step, styling))
    variants = 1 if styling is None else len(styling.variants)
    return [pictures[variant::variants] for variant in range(variants)]


def _sheet(pictures: list[Image], params: SamplingParams, label: str) -> Image:
    """One picture, or a grid of several prompts."""
    if len(pictures) == 1:
        return pictures[0]
    from trainers.sampling.grid import make_grid

    return make_grid([(label or "no style", pictures)], params.prompts)


def _count_steps(on_progress: OnProgress, params: SamplingParams, times: int) -> Callable[[int, int], None]:
    """Reports progress after each step, for pictures drawn several times."""
    done, whole = count(1), len(params.pictures) * params.steps * times

    def on_step(picture: int, step: int) -> None:
        on_progress("working", message="Drawing …", done=next(done), of=whole)

    return on_step


def _chunks(model: Model, request: GenerateRequest, trained: int, note: Note) -> int:
    """Number of 75-token chunks for the longest prompt, at least as in training and at most three."""
    from trainers.models.text import CHUNK, count_tokens

    longest = max(count_tokens(model, text) for text in (*request.prompts, request.negative))
    if longest > CHUNK * MOST_CHUNKS:
        note(f"the prompt has {longest} tokens; only the first {CHUNK * MOST_CHUNKS} are used")
    return min(max(trained, -(-longest // CHUNK)), MOST_CHUNKS)


def _without_folders(base: str) -> str:
    """A base's name for metadata, without its path on this disk."""
    is_path = base != STARTER and Path(base).expanduser().exists()
    return Path(base).name if is_path else base
