"""The samples of a run: small copies for pages, the grid of prompts and steps, and everything as one archive."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from app.jobs.losses import Losses
from app.jobs.views import View
from app.ui.runs import text as words
from app.ui.web.html import file_address, text, wide_table
from trainers.data.decode import UnreadableError, flatten, open_image
from trainers.runs.run import whole_file

SMALL, LARGEST = 256, 2048
"""Sides of the copies that pages show: no larger one is drawn here."""
FORMATS = ("PNG", "JPEG", "WEBP")
_FOLDER = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class Sample:
    """One picture: which prompt, at which step, and where it lies."""

    row: int
    step: int
    file: bool
    """Drawn from the exported file."""
    path: Path

    @property
    def title(self) -> str:
        """The head of its column."""
        return words.FILE if self.file else words.BEFORE if self.step == 0 else str(self.step)


def find_samples(run: Path) -> list[list[Sample]]:
    """The pictures of a run by columns: before, each step, and those of the exported file last."""
    folders = [(int(match[1]), path) for path in _inside(run / "samples") if (match := _FOLDER.fullmatch(path.name))]
    columns = [_column(path, step, False) for step, path in sorted(folders)]
    last = max((step for step, _ in folders), default=0)
    return [column for column in (*columns, _column(run / "samples" / "final", last, True)) if column]


def newest(run: Path) -> Sample | None:
    """The first prompt's newest picture."""
    columns = find_samples(run)
    return columns[-1][0] if columns else None


def newest_whole(columns: list[list[Sample]]) -> list[Sample]:
    """The newest column in which every prompt is drawn."""
    most = max(map(len, columns), default=0)
    return next((column for column in reversed(columns) if len(column) == most), [])


def by_words(view: View, samples: list[Sample]) -> dict[tuple[str, int], Sample]:
    """Samples by their words, and by how often these came before: each seed draws them once."""
    prompts = prompts_of(view, max((sample.row + 1 for sample in samples), default=0))
    return {(prompts[each.row], prompts[: each.row].count(prompts[each.row])): each for each in samples}


def address(sample: Sample, public: Path, small: bool) -> str:
    """Where a browser finds a sample, as WebP; it is drawn once, and another picture has another address."""
    kind = "small" if small else "whole"
    changed = sample.path.stat().st_mtime_ns
    place = public / f"{kind}-{sample.step:06d}{'f' if sample.file else ''}-{sample.row:02d}-{changed:x}.webp"
    return web_copy(sample.path, place, small)


def web_copy(path: Path, place: Path, small: bool) -> str:
    """Where a browser finds a picture, as WebP at `place` in a public folder; it is drawn once."""
    if not place.exists():
        picture = _decoded(path)
        side = SMALL if small else LARGEST
        if max(picture.size) > side:
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        with whole_file(place) as building:
            picture.save(building, "WEBP", quality=86 if small else 92)
    return file_address(place)


def _decoded(path: Path) -> Image.Image:
    """A picture, or a plain grey one where it cannot be decoded: one damaged file must not take a page down."""
    try:
        return flatten(open_image(path, keep_pixels=LARGEST**2, formats=FORMATS))
    except UnreadableError:
        return Image.new("RGB", (SMALL, SMALL), "#808080")


def grid(view: View, public: Path) -> str:
    """A table of all samples: rows are prompts, columns steps. It grows only to the right."""
    columns = find_samples(view.job.folder)
    if not columns:
        return f'<p class="hint">{text(words.NO_SAMPLES)}</p>'
    prompts = prompts_of(view, max(len(column) for column in columns))
    heads = "".join(f'<th scope="col">{text(column[0].title)}</th>' for column in columns)
    rows = []
    for row, prompt in enumerate(prompts):
        cells = "".join(_cell(column, row, prompt, public) for column in columns)
        rows.append(f'<tr><th scope="row">{text(prompt)}</th>{cells}</tr>')
    return wide_table(words.SAMPLES, "grid", f"<tr><td></td>{heads}</tr>{''.join(rows)}")


def prompts_of(view: View, count: int) -> list[str]:
    """The words of a run's first samples, so many of them; a number where they are not known."""
    said = dict(view.said.facts).get("prompts")
    known = [str(prompt) for prompt in said] if isinstance(said, list) else []
    return [*known, *(f"Picture {number + 1}" for number in range(len(known), count))][:count]


def sample_button(sample: Sample, title: str, prompt: str, public: Path) -> str:
    """A sample as a button that shows it large; `title` is the head of its column."""
    return (
        f'<button type="button" data-whole="{text(address(sample, public, False))}" '
        f'data-title="{text(title)}" aria-label="{text(prompt)}, {text(title)}">'
        f'<img loading="lazy" src="{text(address(sample, public, True))}" alt=""></button>'
    )


def archive(view: View, public: Path) -> Path:
    """All samples of a run as a ZIP in its public folder, named by prompt and step."""
    columns = find_samples(view.job.folder)
    place = _named(public, f"{view.job.name}-samples.zip")
    with whole_file(place) as building, zipfile.ZipFile(building, "w", zipfile.ZIP_STORED) as packed:
        for column in columns:
            for sample in column:
                packed.write(sample.path, f"{view.job.name}/{sample.title}/{sample.row + 1:02d}.png")
        before_after = view.job.folder / "samples" / "before-after.png"
        if before_after.is_file():
            packed.write(before_after, f"{view.job.name}/before-after.png")
    return place


def style_copy(file: Path, public: Path) -> Path:
    """A style file where browsers may download it from: the same file under a second name where that is possible."""
    place = _named(public, file.name)
    put_copy(file, place)
    return place


def put_copy(file: Path, place: Path) -> None:
    """Put a file at a second place, as a second name for it where that is possible."""
    try:
        os.link(file, place)
    except OSError:  # another disk, or a file system without links; or it is there already
        with whole_file(place) as building:
            shutil.copyfile(file, building)


def numbers(view: View, losses: Losses, public: Path) -> Path:
    """Loss and learning rate of every step as a table that other programs read."""
    place = _named(public, f"{view.job.name}-numbers.csv")
    with whole_file(place) as building:
        building.write_text(losses.curve().as_csv(), encoding="utf-8")
    return place


def _named(public: Path, name: str) -> Path:
    """A new address for a file that people save under `name`: what was offered before may be in a browser's cache."""
    folder = public / f"{os.urandom(6).hex()}"
    for old in public.iterdir():
        if old.is_dir() and (old / name).exists():
            shutil.rmtree(old, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder / name


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _column(folder: Path, step: int, file: bool) -> list[Sample]:
    found = sorted(path for path in _inside(folder) if re.fullmatch(r"[0-9]{1,4}\.png", path.name))
    return [Sample(int(path.stem), step, file, path) for path in found]


def _cell(column: list[Sample], row: int, prompt: str, public: Path) -> str:
    sample = next((each for each in column if each.row == row), None)
    if sample is None:
        return "<td></td>"
    return f"<td>{sample_button(sample, sample.title, prompt, public)}</td>"
