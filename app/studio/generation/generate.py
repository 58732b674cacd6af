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
from trainers.messages import Message

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainers.composition.apply import StyleNetwork
    from trainers.composition.styling import Styling
    from trainers.composition.ways import Composition
    from trainers.formats.read import Style
    from trainers.models.model import Model
    from trainers.sampling.sample import SamplingParams

MOST_CHUNKS = 3
AT_ONCE = 5
"""Pictures of a series that are drawn together by default."""
Note = Callable[[str], None]


OnRough = Callable[[int, "Image"], None]
"""Called with the place of a picture among the files, from 0, and a small picture of what it will be."""


@dataclass(frozen=True)
class GenerateResult:
    """The generated files."""

    pictures: tuple[Path, ...]
    """Pictures with the styles, or one per style."""
    notes: tuple[str, ...]
    """Notes, such as layers missing in the base or a word missing in the prompts."""


@dataclass(frozen=True)
class Sheet:
    """A file to write: one picture, or a grid of several prompts."""

    place: Path
    seed: int
    styles: Sequence[tuple[Style, float]]


def generate(
    request: GenerateRequest,
    out: Path,
    plain: Path | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = quiet,
    on_rough: OnRough | None = None,
    held: HeldBase | None = None,
) -> GenerateResult:
    """Generate and write one picture (several prompts as a grid), or a series, with their parameters as metadata.

    The request must be resolved. In a series, with one picture per style, seed or strength, the files are `out` with a
    number from 1; each is written as soon as it is drawn. `plain` is the file for the picture without styles.
    `on_progress` receives progress, and each note before generation starts; `on_rough` small pictures of what is drawn.
    A `held` base is used if it is the request's. Raises VelaturaError, before anything is loaded or written, if the
    request cannot be met.
    """
    composition = read_composition(request.compose)
    styles = read_styles(request)
    words = sum(bool(style.rows) for style, _ in styles)
    check_count(composition, len(styles) - words, words)
    sheets = _sheets(request, styles, out)
    for place in (*(sheet.place for sheet in sheets), plain):
        if place is not None:
            check_place(place, overwrite)
    bare = None if plain is None else Sheet(plain, request.seed, [])
    notes: list[str] = []

    def note(sentence: str) -> None:
        notes.append(sentence)
        on_progress("note", message=sentence)

    model, params = _load(request, styles, held)
    on_step = _count_steps(on_progress, params, len(request.prompts) * (len(sheets) + (bare is not None)))
    if request.strengths:
        applied = _at_strengths(model, request, styles, note)
    elif request.each:
        applied = _side_by_side(model, styles, bare, note)
    else:
        applied = _combined(model, styles, composition, params, note)
    drawing = _Drawing(request, model, on_step, on_rough)
    with applied as styling:  # which says first what does not fit this base
        for sentence in (*about_strengths(styles), *about_words(styles, (*request.prompts, request.negative))):
            note(sentence)
        params = replace(params, chunks=_chunks(model, request, params.chunks, note))
        rest = drawing.draw([*sheets, *([bare] if bare else [])], params, styling)
    if rest:
        drawing.draw(rest, params)
    return GenerateResult(tuple(sheet.place for sheet in sheets), tuple(notes))


class _Drawing:
    """Draws sheets and writes each when its last picture is drawn."""

    def __init__(
        self,
        request: GenerateRequest,
        model: Model,
        on_step: Callable[[int, int], None],
        on_rough: OnRough | None,
    ) -> None:
        self._request, self._model, self._on_step, self._on_rough = request, model, on_step, on_rough
        self._written = 0

    def draw(self, sheets: Sequence[Sheet], params: SamplingParams, styling: Styling | None = None) -> Sequence[Sheet]:
        """Draw as many sheets as the styling has variants, for each seed; the others are returned."""
        from trainers.sampling.sample import draw

        count = len(params.seeds) * (1 if styling is None else len(styling.variants))
        pictures: list[list[Image]] = [[] for _ in range(count)]
        before = self._written

        def on_rough(number: int, image: Image) -> None:
            if self._on_rough is not None and len(params.prompts) == 1:
                self._on_rough(before + number - 1, image)

        for number, picture in enumerate(draw(self._model, params, self._on_step, styling, on_rough)):
            own, sheet = pictures[number % count], sheets[number % count]
            own.append(picture)
            if len(own) == len(params.prompts):
                label = ", ".join(style.path.stem for style, _ in sheet.styles)
                parameters = _parameters(self._request, sheet)
                write_picture(_joined(own, params, label), sheet.place, parameters)
                self._written += 1
        return sheets[count:]


def read_styles(request: GenerateRequest) -> list[tuple[Style, float]]:
    """The styles, and the words trained with them at full strength."""
    from trainers.formats.read import read_style

    chosen = []
    for one in request.styles:
        assert one.path is not None, "the request has not been resolved"
        chosen.append((read_style(one.path), one.strength))
    return add_words(chosen)


def _parameters(request: GenerateRequest, sheet: Sheet) -> dict[str, Any]:
    """A picture's generation parameters."""
    combined = {"compose": request.compose} if len(sheet.styles) > 1 and not request.each else {}
    return {
        "prompts": request.prompts,
        "styles": [(style.name, strength) for style, strength in sheet.styles],
        "negative": request.negative,
        "seed": sheet.seed,
        "steps": request.steps,
        "size": request.size,
        "guidance": request.guidance,
        "sampler": request.sampler,
        "base": _without_folders(request.base),
    } | combined


def _sheets(request: GenerateRequest, styles: Sequence[tuple[Style, float]], out: Path) -> list[Sheet]:
    """The files with styles; in a series numbered, with `each` by style, without embeddings."""
    chosen, seed = len(request.styles), request.seed
    if request.strengths:
        if any(style.rows for style, _ in styles[: min(2, chosen)]):
            raise VelaturaError("a word has no strengths to compare; choose a style that changes the base")
        named = [style for style, _ in styles]
        rest = [strength for _, strength in styles[chosen:]]
        drawn = [(seed, list(zip(named, (*own, *rest), strict=True))) for own in request.sweep]
        return [Sheet(_numbered(out, number), *own) for number, own in enumerate(drawn, 1)]
    if not request.each:
        if request.count == 1:
            return [Sheet(out, seed, styles)]
        return [Sheet(_numbered(out, number), seed, styles) for number, seed in enumerate(request.seeds, 1)]
    words = [one for one in styles if one[0].rows]
    alone = [(number, one) for number, one in enumerate(styles[:chosen], 1) if not one[0].rows]
    if not alone:
        raise VelaturaError(
            "each draws one picture per style, not counting embeddings, and there are only embeddings; turn it off"
        )
    return [Sheet(_numbered(out, number), seed, [one, *words]) for number, one in alone]


def _numbered(out: Path, number: int) -> Path:
    return out.with_name(f"{out.stem}-{number}{out.suffix}")


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
        seeds=request.seeds,
        negative=request.negative,
        steps=request.steps,
        guidance=request.guidance,
        size=request.size,
        sampler=request.sampler,
        clip_skip=needed.settings.clip_skip,
        chunks=needed.chunks,
        batch=request.batch or (AT_ONCE if request.each or request.strengths or request.count > 1 else 1),
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
def _at_strengths(
    model: Model, request: GenerateRequest, styles: Sequence[tuple[Style, float]], note: Note
) -> Iterator[Styling]:
    """Apply styles to the base temporarily, at other strengths in each picture."""
    from trainers.composition.styling import Each
    from trainers.composition.sweep import sweep_styles

    rest = [strength for _, strength in styles[len(request.styles) :]]
    variants = [(*own, *rest) for own in request.sweep]
    network = sweep_styles(model.parts, model.family.name, [style for style, _ in styles], variants, model.words)
    with _on(network, note):
        yield Each(network, tuple(range(len(variants))))


@contextmanager
def _side_by_side(
    model: Model, styles: Sequence[tuple[Style, float]], plain: Sheet | None, note: Note
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


def _joined(pictures: list[Image], params: SamplingParams, label: str) -> Image:
    """One picture, or a grid of several prompts."""
    if len(pictures) == 1:
        return pictures[0]
    from trainers.sampling.grid import make_grid

    return make_grid([(label or "no style", pictures)], params.prompts)


def _count_steps(on_progress: OnProgress, params: SamplingParams, pictures: int) -> Callable[[int, int], None]:
    """Reports progress after each step of all pictures."""
    done, whole = count(1), pictures * params.steps

    def on_step(picture: int, step: int) -> None:
        on_progress("working", message=Message("Drawing …"), done=next(done), of=whole)

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
