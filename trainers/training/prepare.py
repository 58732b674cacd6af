"""Preparation of a run without a device: its folder, images and config.

`train` also loads the base under the run's hidden name, so a failed start leaves nothing behind. A queued run is only
prepared and named at once, so that it can be found, is independent of its original images, and needs no device while
they are read. Errors that need the base (a missing layer, a size that does not fit) then become an `error` event.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from trainers.atomic_files import link_tree
from trainers.config.config import Config
from trainers.data.ingest import IngestReport, ingest, trigger_of_folder
from trainers.data.repeats import read_folders
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.messages import some
from trainers.models.bases.suits import check_family
from trainers.runs.events import Listener, Recorder
from trainers.runs.run import PutAway, Run, new_run, write_config

NO_IMAGES = _("no images were given; set their folder with --images or data.images")


def prepare(
    config: Config,
    out: Path,
    overwrite: bool = False,
    listener: Listener | None = None,
    put_away: PutAway | None = None,
) -> Run:
    """Create a run folder under `out` for a later `resume`; an error leaves nothing behind.

    `put_away` receives the folder of a replaced run; without it, that folder is deleted.
    """
    with new_run(config, out, overwrite, put_away) as run:
        fill_folder(run, config, Recorder(run.folder, listener))
    return Run(out / config.name)


def prepare_alike(configs: Iterable[Config], out: Path) -> list[Run]:
    """Create run folders under `out`, which share equal images as hard links; an error leaves none behind."""
    made: list[Run] = []
    known: dict[tuple[str, str], tuple[Run, IngestReport]] = {}
    try:
        for config in configs:
            images = (config.data.images, config.data.transparency)
            with new_run(config, out, overwrite=False) as run:
                report = fill_folder(run, config, Recorder(run.folder), known.get(images))
            made.append(Run(out / config.name))
            known.setdefault(images, (made[-1], report))
    except BaseException:
        for run in made:
            shutil.rmtree(run.folder, ignore_errors=True)
        raise
    return made


def fill_folder(
    run: Run, config: Config, record: Recorder, alike: tuple[Run, IngestReport] | None = None
) -> IngestReport:
    """Copy a config and its images into an empty run folder, with notes on rejected images.

    With `alike`, the images are links to those of that run, and its report is used.
    """
    if not config.data.images:
        raise VelaturaError(NO_IMAGES)
    check_family(config)
    record("phase", phase="images")
    if config.train.start_from:
        _keep_start(run, Path(config.train.start_from))
    if config.prior.folder:
        ingest_classes(run, Path(config.prior.folder), record)
    images = Path(config.data.images)
    if alike is None:
        report = ingest(images, run.dataset, config.data.transparency == "mask", subfolders=config.data.sets)
    else:
        link_tree(alike[0].dataset, run.dataset)
        report = alike[1]
    write_config(run, config)
    _note_images(record, report)
    unused = sorted(config.data.sets.keys() - read_folders(run.dataset).values())
    if unused:
        record("warning", message=_("settings of folders without images have no effect: {names}", names=some(unused)))
    if config.data.trigger and config.data.trigger == trigger_of_folder(images):
        record("note", message=_("The trigger word is from the folder's name: {trigger}.", trigger=config.data.trigger))
    return report


def _keep_start(run: Run, style: Path) -> None:
    """Copy the style to start from into the run's folder; VelaturaError if it is not a style."""
    from trainers.formats.limits import read_style_header

    read_style_header(style)
    shutil.copyfile(style, run.start)


def ingest_classes(run: Run, folder: Path, record: Callable[..., None]) -> None:
    """Copy the class images of a folder into the run without captions, with a warning about each rejected one."""
    _note_skipped(record, ingest(folder, run.classes, keep_transparency=False, captions=False))


def _note_skipped(record: Callable[..., None], report: IngestReport) -> None:
    for name, reason in report.skipped:
        record("warning", message=_("{name} was left out: {reason}", name=name, reason=reason))


def _note_images(record: Recorder, report: IngestReport) -> None:
    _note_skipped(record, report)
    for group in report.duplicates:
        alike = (
            _("these images are the same: {names}") if group.exact else _("these images are nearly the same: {names}")
        )
        record("warning", message=alike.format(names=", ".join(group.names)))
    for sentence in report.notes:
        record("note", message=sentence)
    record("images", count=len(report.kept), skipped=len(report.skipped))
