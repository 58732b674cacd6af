"""The samples of a run: files, prompts, and all as one archive."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.jobs.view import View
from app.studio.public_files import name_for_download, put_web_copy
from trainers.atomic_files import whole_file
from trainers.messages import Message as _
from trainers.regular_files import is_inside

BEFORE, FILE = "before", "file"
"""Columns of samples before the first step and of the exported file."""
_FOLDER = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class Sample:
    """A sample: its prompt, step and file."""

    row: int
    step: int
    file: bool
    """Whether it was drawn from the exported file."""
    path: Path

    @property
    def title(self) -> str:
        """Heading of its column."""
        return FILE if self.file else BEFORE if self.step == 0 else str(self.step)


@dataclass(frozen=True)
class SampledStep:
    """A sampled step with its samples by prompt; some may not be drawn yet."""

    step: int
    samples: Mapping[int, Sample]


def find_samples(run: Path) -> list[list[Sample]]:
    """A run's samples by column: before, each step, and the exported file last."""
    folders = [(int(match[1]), path) for path in _inside(run / "samples") if (match := _FOLDER.fullmatch(path.name))]
    columns = [_column(run, path, step, False) for step, path in sorted(folders)]
    last = max((step for step, _ in folders), default=0)
    return [column for column in (*columns, _column(run, run / "samples" / "final", last, True)) if column]


def find_steps(view: View) -> list[SampledStep]:
    """The sampled steps of a run, earliest first; samples of the file belong to its step."""
    steps: dict[int, dict[int, Sample]] = {}
    for column in find_samples(view.job.folder):
        step = (view.summary.final or column[0].step) if column[0].file else column[0].step
        # Samples of the file replace those of the training, since people use the file.
        steps.setdefault(step, {}).update({sample.row: sample for sample in column})
    return [SampledStep(step, steps[step]) for step in sorted(steps)]


def newest_of_each(view: View) -> list[Sample]:
    """The newest sample of each prompt; some steps draw only some prompts."""
    newest = {row: sample for step in find_steps(view) for row, sample in step.samples.items()}
    return [newest[row] for row in sorted(newest)]


def by_words(view: View, samples: list[Sample]) -> dict[tuple[str, int], Sample]:
    """Samples by prompt and occurrence, one per seed."""
    prompts = prompts_of(view, max((sample.row + 1 for sample in samples), default=0))
    return {(prompts[each.row], prompts[: each.row].count(prompts[each.row])): each for each in samples}


def prompts_of(view: View, count: int) -> list[str]:
    """The prompts of a run's first samples; a number if unknown."""
    recorded = dict(view.summary.facts).get("prompts")
    known = [str(prompt) for prompt in recorded] if isinstance(recorded, list) else []
    return [*known, *(_("Picture {number}", number=number + 1) for number in range(len(known), count))][:count]


def put_sample(sample: Sample, public: Path, small: bool) -> Path:
    """Write a sample as WebP into a public folder, once; its name changes with the picture."""
    kind = "small" if small else "whole"
    changed = sample.path.stat().st_mtime_ns
    place = public / f"{kind}-{sample.step:06d}{'f' if sample.file else ''}-{sample.row:02d}-{changed:x}.webp"
    return put_web_copy(sample.path, place, small)


def archive(view: View, public: Path) -> Path:
    """All samples of a run as a ZIP in its public folder, named by prompt and step."""
    columns = find_samples(view.job.folder)
    place = name_for_download(public, f"{view.job.name}-samples.zip")
    with whole_file(place) as building, zipfile.ZipFile(building, "w", zipfile.ZIP_STORED) as packed:
        for column in columns:
            for sample in column:
                packed.write(sample.path, f"{view.job.name}/{sample.title}/{sample.row + 1:02d}.png")
        before_after = view.job.folder / "samples" / "before-after.png"
        if is_inside(view.job.folder, before_after):
            packed.write(before_after, f"{view.job.name}/before-after.png")
    return place


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _column(run: Path, folder: Path, step: int, file: bool) -> list[Sample]:
    named = (path for path in _inside(folder) if re.fullmatch(r"[0-9]{1,4}\.png", path.name))
    files = sorted(path for path in named if is_inside(run, path))
    return [Sample(int(path.stem), step, file, path) for path in files]
