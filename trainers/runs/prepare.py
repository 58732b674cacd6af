"""What can be done of a run before anything needs a device: its folder, its images, its config.

`train` does this and loads the base under the run's hidden name, so that a start that fails leaves nothing behind. A
run that is to wait for its turn is prepared here alone and gets its name at once: somebody asked for it and looks for
it, its images must be safe from what happens to the originals, and a queue cannot hold the device while it reads
images. What only the base can refuse (a layer that it lacks, a size that does not fit) is then said by the run itself,
as an `error` event in its folder, and not by the preparation.
"""

from __future__ import annotations

from pathlib import Path

from trainers.config.config import Config
from trainers.data.ingest import IngestReport, ingest
from trainers.errors import VelaturaError
from trainers.runs.events import Listener, Recorder
from trainers.runs.run import PutAway, Run, new_run, write_config


def prepare(
    config: Config,
    out: Path,
    overwrite: bool = False,
    listener: Listener | None = None,
    put_away: PutAway | None = None,
) -> Run:
    """A new run folder under `out` that waits to be trained by `resume`; nothing is left where it fails.

    `put_away` is given the folder of a run that it replaces, which is deleted without it.
    """
    with new_run(config, out, overwrite, put_away) as run:
        fill_folder(run, config, Recorder(run.folder, listener))
    return Run(out / config.name)


def fill_folder(run: Run, config: Config, record: Recorder) -> None:
    """Take a config and its images over into an empty run folder, and say what was left out of them."""
    if not config.data.images:
        raise VelaturaError("no images were given; name their folder with --images or data.images")
    report = ingest(Path(config.data.images), run.dataset, config.data.transparency == "mask")
    write_config(run, config)
    _note_images(record, report)


def _note_images(record: Recorder, report: IngestReport) -> None:
    for name, reason in report.skipped:
        record("warning", message=f"{name} was left out: {reason}")
    for group in report.duplicates:
        how = "the same" if group.exact else "nearly the same"
        record("warning", message=f"these images are {how}: {', '.join(group.names)}")
    for sentence in report.notes:
        record("note", message=sentence)
    record("images", count=len(report.kept), skipped=len(report.skipped))
