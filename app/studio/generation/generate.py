"""Generates a request's pictures into files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import message_of
from app.studio.generation.cells import Cell, cells_of
from app.studio.generation.contact_sheet import ContactSheet
from app.studio.generation.drawing import AT_ONCE, Drawing, Note, OutputFile, Styles, check_strengths, group_sheets
from app.studio.generation.held_base import HeldBase, base_request
from app.studio.generation.image_file import check_place, write_picture
from app.studio.generation.options import parameters_of, sampled_of
from app.studio.generation.record import MARKED
from app.studio.generation.request import Resolved
from app.studio.progress import OnProgress, quiet
from trainers.composition.ways import check_count, read_composition
from trainers.config.presets import STARTER
from trainers.config.sections import SCORED
from trainers.errors import OUT_OF_MEMORY, UNEXPECTED, VelaturaError, failure_code
from trainers.messages import Message
from trainers.messages import Message as _
from trainers.models.files.hub import local_path
from trainers.runs.run import Run, run_of_style
from trainers.score.best import CHECKED_ON

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainers.formats.read import Style
    from trainers.models.model import Model
    from trainers.sampling.sample import SamplingParams

UNMARKED = _("No strength is marked: {reason}")
LITTLE_MEMORY = _("there is not enough memory")
OnRough = Callable[[int, "Image"], None]
"""Called with the index of a picture and its preview."""


@dataclass(frozen=True)
class GenerateResult:
    """The generated files."""

    pictures: tuple[Path, ...]
    """Pictures with the styles, or one per style."""
    notes: tuple[str, ...]
    """Notes, such as layers missing in the base or a word missing in the prompts."""


def generate(
    request: Resolved,
    out: Path,
    plain: Path | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = quiet,
    on_rough: OnRough | None = None,
    held: HeldBase | None = None,
    overview: Path | None = None,
    parts: Sequence[Path] = (),
) -> GenerateResult:
    """Generate and write one picture (several prompts as a grid), or several, with their parameters as metadata.

    Several pictures are numbered from 1 after `out`, row by row, and written as soon as they are drawn. `plain` is the
    file for the picture without styles, `overview` that for a contact sheet. `parts` are files of the base's parts;
    requests cannot name them, since they may be any files. `on_progress` receives progress, and notes before the
    pictures that they concern; `on_rough` receives previews. A `held` base is used if the request has it. Raises
    VelaturaError, before anything is loaded or written, if the request is invalid.
    """
    composition = read_composition(request.compose)
    styles = Styles(request)
    words = sum(bool(style.rows) for style, _ in styles.all)
    check_count(composition, len(styles.all) - words, words)
    sheets = _sheets(request, styles, out)
    bare = [] if plain is None else [OutputFile(plain, _without_styles(request), number=len(sheets))]
    several = overview if len(sheets) > 1 else None
    for place in (*(sheet.place for sheet in [*sheets, *bare]), several):
        if place is not None:
            check_place(place, overwrite)
    notes: list[str] = []

    def note(sentence: str, **facts: object) -> None:
        if sentence not in notes:
            notes.append(sentence)
            on_progress("note", message=sentence, **facts)

    base, params = _load(request, styles.all, held, parts, note)
    contact = None if several is None else ContactSheet(request)
    run = _run_to_mark(request)
    drawn: dict[int, list[Image]] = {}

    def write(sheet: OutputFile, pictures: list[Image]) -> None:
        picture = _joined(pictures, sheet)
        write_picture(picture, sheet.place, _parameters(request, sheet, styles) | base.parameters)
        if contact is not None and sheet not in bare:
            contact.add(sheet.number, picture)
        if run is not None and sheet not in bare:
            drawn[sheet.number] = pictures

    show = partial(_show, on_rough)
    on_step = _count_steps(on_progress, [*sheets, *bare])
    texts = (*dict.fromkeys(prompt for sheet in sheets for prompt in sheet.cell.request.prompts), request.negative)
    drawing = Drawing(request, base.model, params, composition, styles, on_step, show, write, note, texts)
    for group in group_sheets([*sheets, *bare], styles, composition, params.batch):
        drawing.draw(group)
    if contact is not None and several is not None:
        write_picture(contact.image(), several, _shared(request) | contact.parameters() | base.parameters)
    if run is not None:
        _mark(base.model, run, [(sheet, drawn[sheet.number]) for sheet in sheets], note)
    return GenerateResult(tuple(sheet.place for sheet in sheets), tuple(notes))


def _show(on_rough: OnRough | None, sheet: OutputFile, image: Image) -> None:
    if on_rough is not None:
        on_rough(sheet.number, image)


def _run_to_mark(request: Resolved) -> Run | None:
    """The run of a style whose strengths are compared from 0 with several prompts; one is too few to judge a style."""
    values = {axis.kind: axis.values for axis in request.axes}
    strengths, prompts = values.get("strength", ()), len(request.prompts) * len(values.get("words", ("",)))
    if len(request.styles) != 1 or not values.keys() <= {"strength", "words"} or prompts < SCORED:
        return None
    path = request.styles[0].path
    run = run_of_style(path) if path is not None and 0.0 in strengths and len(strengths) > 1 else None
    return run if run is not None and run.dataset.is_dir() else None


def _mark(
    model: Model, run: Run, drawn: Sequence[tuple[OutputFile, Sequence[Image]]], note: Callable[..., None]
) -> None:
    """Note which of the strengths to keep; files of a strength are in the order of their prompts."""
    from trainers.score.strengths import choose_strength

    by_strength: dict[float, list[Image]] = {}
    prompts: list[str] = []
    for sheet, pictures in drawn:
        by_strength.setdefault(sheet.cell.strengths[0], []).extend(pictures)
        prompts += sheet.cell.request.prompts if not sheet.cell.strengths[0] else ()
    try:
        best = choose_strength(model, run, by_strength, prompts)
    except (VelaturaError, RuntimeError, MemoryError) as error:  # the pictures are drawn
        if (code := failure_code(error)) == UNEXPECTED:
            raise
        note(UNMARKED.format(reason=LITTLE_MEMORY if code == OUT_OF_MEMORY else message_of(error)))
        return
    note(best.reason, **({MARKED: best.score.strength} if best.score is not None else {}))
    if not model.starter:
        note(CHECKED_ON)


def _sheets(request: Resolved, styles: Styles, out: Path) -> list[OutputFile]:
    """The files with styles, numbered if several, without pictures of a word alone."""
    from trainers.formats.read import read_outline

    check_strengths(request, styles)
    cells = cells_of(request)
    sheets = []
    for number, cell in enumerate(cells, 1):
        files = [style.path for style, _ in styles.chosen]
        if cell.step is not None:
            read_outline(cell.step)  # fails before drawing if the step is gone
            files[0] = cell.step
        variant = tuple(zip(files, cell.strengths, strict=True))
        if cell.alone is not None:
            if styles.chosen[cell.alone][0].rows:
                continue
            variant = variant[cell.alone : cell.alone + 1]
        place = _numbered(out, number) if request.is_series else out
        sheets.append(OutputFile(place, cell, variant, number - 1))
    if not sheets:
        raise VelaturaError(
            "each draws one picture per style, not counting embeddings, and there are only embeddings; turn it off"
        )
    return sheets


def _without_styles(request: Resolved) -> Cell[Resolved]:
    """The picture without styles."""
    return cells_of(request.model_copy(update={"styles": (), "axes": ()}))[0]


def _numbered(out: Path, number: int) -> Path:
    return out.with_name(f"{out.stem}-{number}{out.suffix}")


def _load(
    request: Resolved,
    styles: Sequence[tuple[Style, float]],
    held: HeldBase | None,
    parts: Sequence[Path],
    note: Note,
) -> tuple[HeldBase, SamplingParams]:
    """The loaded base, and its sampling parameters."""
    from trainers.sampling.sample import SamplingParams

    needed = base_request(request, [style for style, _ in styles], parts)
    base = held if held is not None and held.request == needed else needed.load()
    if base.holding.note:
        note(base.holding.note)
    params = SamplingParams(
        prompts=request.prompts,
        seeds=(request.seed,),
        clip_skip=needed.settings.clip_skip,
        chunks=needed.chunks,
        batch=request.batch or min(AT_ONCE if request.axes else 1, base.holding.most_rows or AT_ONCE),
        **sampled_of(request),
    )
    return base, params


def _parameters(request: Resolved, sheet: OutputFile, read: Styles) -> dict[str, Any]:
    """A picture's generation parameters."""
    cell = sheet.cell
    styles = read.names(sheet.variant)
    if cell.step is not None and request.styles[0].path is not None:  # with the name of the run's style
        styles[0] = (request.styles[0].path.name, styles[0][1])
    combined = {"compose": request.compose} if len(styles) > 1 and cell.alone is None else {}
    step = {kind: value for kind, value in cell.values if kind == "step"}
    return _shared(cell.request) | {"prompts": cell.request.prompts, "styles": styles} | combined | step


def _shared(request: Resolved) -> dict[str, Any]:
    """Parameters shared by all pictures."""
    return parameters_of(request) | {"base": _without_folders(request.base)}


def _joined(pictures: list[Image], sheet: OutputFile) -> Image:
    """One picture, or a grid of several prompts."""
    if len(pictures) == 1:
        return pictures[0]
    from trainers.sampling.grid import make_grid

    label = ", ".join(path.stem for path, _ in sheet.variant)
    return make_grid([(label or "no style", pictures)], sheet.cell.request.prompts)


def _count_steps(on_progress: OnProgress, sheets: Sequence[OutputFile]) -> Callable[[int, int], None]:
    """Reports progress after each step of all pictures."""
    done, total = count(1), sum(sheet.cell.request.steps * len(sheet.cell.request.prompts) for sheet in sheets)

    def on_step(picture: int, step: int) -> None:
        on_progress("working", message=Message("Drawing …"), done=next(done), of=total)

    return on_step


def _without_folders(base: str) -> str:
    """A base's name for metadata, without its path."""
    is_path = base != STARTER and local_path(base) is not None
    return Path(base).name if is_path else base
