"""The published files of a run: its style with the files beside it, its pictures, and a model card."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from app.jobs.events.summary import read_summary
from app.studio.publishing.card import TAG, CardFacts, Shown, write_card
from app.studio.runs.chosen import chosen_style, is_snapshot, starred_step
from app.studio.runs.samples import Sample, find_samples
from trainers.errors import VelaturaError
from trainers.formats.embedding import embedding_of
from trainers.formats.write.peft import PEFT_SUFFIX, peft_folder_of

CARD, GRID, PICTURES, HOW = "README.md", "before-after.png", "pictures", "how-to-load.txt"
MOST_PICTURES = 8
READ = ("style", "samples", "snapshots")
"""Folders of a run from which files are published."""


@dataclass(frozen=True)
class PublishChoices:
    """A person's choices for publishing a style."""

    repository: str
    """`user/name` on the hub."""
    licence: str = ""
    """Id of a licence; by default that in the style's file."""


def write_folder(run: Path, choice: PublishChoices, folder: Path) -> list[Path]:
    """Write all files for publishing into the empty `folder`, and return them.

    VelaturaError without a style, or if the run has links, which may lead to any file on this machine.
    """
    _check_links(run)
    style = chosen_style(run)
    if style is None:
        raise VelaturaError("{run} has no style yet; finish or stop its run first", run=run)
    folder.mkdir(parents=True, exist_ok=True)
    name = run.resolve().name if is_snapshot(run, style) else style.stem
    main = folder / f"{name}.safetensors"
    shutil.copyfile(style, main)
    word = embedding_of(style)
    if word is not None:
        shutil.copyfile(word, folder / f"{name}{word.name.removeprefix(style.stem)}")
    how = ""
    if not is_snapshot(run, style):  # a snapshot has only its word beside it
        how = _copy_beside(style, folder)
    shown = _copy_pictures(run, folder)
    grid = _write_grid(run, shown, folder)
    facts = CardFacts(name, choice.repository, choice.licence, starred_step(run), how)
    (folder / CARD).write_text(write_card(main, facts, shown, grid), encoding="utf-8")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def is_publication(folder: Path) -> bool:
    """Whether a folder holds exactly what `write_folder` writes."""
    names = {CARD, GRID, PICTURES}
    try:
        card = (folder / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return f"\n- {TAG}\n" in card and all(
        path.name in names or path.suffix == ".safetensors" or path.name.endswith(PEFT_SUFFIX)
        for path in folder.iterdir()
    )


def _check_links(run: Path) -> None:
    for path in (path for name in READ for path in (run / name, *(run / name).rglob("*"))):
        if path.is_symlink():
            raise VelaturaError(
                "{path} is a link, and what it leads to may be private; put the file itself there", path=path
            )


def _copy_beside(style: Path, folder: Path) -> str:
    """Copy the style's other forms, and return the text of `how-to-load.txt`."""
    twin = style.with_name(f"{style.stem}-diffusers.safetensors")
    if twin.is_file():
        shutil.copyfile(twin, folder / twin.name)
    packed = peft_folder_of(style)
    if packed is not None:
        shutil.copytree(packed, folder / packed.name)
    how = style.with_name(HOW)
    return how.read_text(encoding="utf-8").strip() if how.is_file() else ""


def _copy_pictures(run: Path, folder: Path) -> list[Shown]:
    """Copy the samples of the starred step, or else the newest, with their prompts."""
    columns, step = find_samples(run), starred_step(run)
    drawn = [column for column in columns if step is None or column[0].step == step]
    recorded = dict(read_summary(run).facts).get("prompts")
    prompts = [str(prompt) for prompt in recorded] if isinstance(recorded, list) else []
    shown = []
    for sample in (drawn[-1] if drawn else [])[:MOST_PICTURES]:
        name = f"{PICTURES}/{sample.row + 1:02d}.png"
        (folder / PICTURES).mkdir(exist_ok=True)
        _copy_pixels(sample.path, folder / name)
        shown.append(Shown(sample.row, prompts[sample.row] if sample.row < len(prompts) else "", name))
    return shown


def _copy_pixels(picture: Path, place: Path) -> None:
    """Copy a picture without its metadata, which may contain paths."""
    from PIL import Image

    with Image.open(picture) as opened:
        pixels = opened.convert("RGB")
        pixels.info.clear()
        pixels.save(place)


def _write_grid(run: Path, shown: list[Shown], folder: Path) -> str:
    """Write the pictures before and after as one; returns its name, empty if one of them is missing."""
    from PIL import Image

    from trainers.sampling.grid import make_grid

    before: dict[int, Sample] = {}
    for column in find_samples(run)[:1]:
        before = {sample.row: sample for sample in column if sample.step == 0 and not sample.file}
    both = [each for each in shown if each.row in before]
    if not both:
        return ""
    rows = [
        ("before", [Image.open(before[each.row].path).convert("RGB") for each in both]),
        ("after", [Image.open(folder / each.file).convert("RGB") for each in both]),
    ]
    make_grid(rows, [each.prompt for each in both]).save(folder / GRID)
    return GRID
