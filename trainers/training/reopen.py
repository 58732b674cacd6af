"""Reopens a trained run to export its file again or at another rank, or to measure it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainers.adapters.context import ForwardContext
from trainers.adapters.method import NestedRanks
from trainers.adapters.methods import METHODS
from trainers.atomic_files import check_free
from trainers.config.config import Config
from trainers.data.dataset import Dataset
from trainers.errors import BusyError, VelaturaError
from trainers.runs.events import Recorder, latest_events
from trainers.runs.progress import Progress
from trainers.runs.run import Run
from trainers.training.export import export_style
from trainers.training.opening import open_dataset, open_session
from trainers.training.session import Session

STYLE = ".safetensors"
TWINS = ("-diffusers", "-embedding", "-style", "-content")
"""Suffixes of files that may accompany a style file."""


@dataclass(frozen=True)
class Reopened:
    """A run's session at its newest checkpoint, and its training images."""

    session: Session
    dataset: Dataset
    progress: Progress


@contextmanager
def reopened(run: Run, config: Config | None = None) -> Iterator[Reopened]:
    """Open a run at its newest checkpoint, read-only.

    `config` may differ from the run's in settings that do not affect training. Raises VelaturaError if the run is
    training, or has no usable checkpoint.
    """
    check_idle(run)
    with tempfile.TemporaryDirectory(prefix="velatura-") as elsewhere:
        session = open_session(run, config or run.config(), Recorder(Path(elsewhere)), steps=False)
        try:
            session.start_average()
            session.network.holder.context = ForwardContext()
            progress = session.restore()  # without an optimizer, which may need a graphics card or a missing package
            dataset, _ = open_dataset(session)
            with session.as_exported():
                yield Reopened(session, dataset, progress)
        finally:
            session.accelerator.end_training()


def check_idle(run: Run) -> None:
    """Raise BusyError if a run is training."""
    if run.is_training():
        raise BusyError("{folder} is training; wait until it ends, or stop it first", folder=run.folder)


def ranks_of(run: Run) -> tuple[int, ...]:
    """Ranks at which the run can be exported; VelaturaError if its method trains only one."""
    config = run.config()
    overrides = [block.rank for block in config.targets.blocks.values() if block.rank]
    placed = [config.method, *(config.method.with_rank(rank) for rank in overrides)]
    ranks = set.intersection(*(set(m.nested_ranks if isinstance(m, NestedRanks) else ()) for m in placed))
    if not ranks:
        able = [name for name, kind in METHODS.items() if isinstance(kind(), NestedRanks)]
        raise VelaturaError(
            "{folder} was trained with {name}; only a run of {able} can be exported at another rank",
            folder=run.folder,
            name=config.method.name,
            able=" or ".join(able),
        )
    return tuple(sorted(ranks))


def export_again(run: Run, out: Path | None, rank: int | None, overwrite: bool) -> Path:
    """Export the style of a run's newest checkpoint, at `rank` if given, with its twin for diffusers, if any.

    Without `out` it goes into the run's folder, under the run's name and the rank, if given. Raises VelaturaError for a
    rank that was not trained, or if a file is in the way.
    """
    config = run.config()
    if rank is not None:
        known = ranks_of(run)
        if rank not in known:
            raise VelaturaError(
                "rank {rank} was not trained in {folder}; available are {str}",
                rank=rank,
                folder=run.folder,
                str=", ".join(map(str, known)),
            )
        config = config.model_copy(update={"method": config.method.with_export_rank(rank)})
    usual = run.style / f"{config.name}{STYLE}"
    place = out or (None if rank is None else usual.with_name(f"{usual.stem}-rank{rank}{STYLE}"))
    core = place or usual
    if core.suffix != STYLE:
        raise VelaturaError("the name of a style file must end in {style}; found {name}", style=STYLE, name=core.name)
    for beside in ("", *TWINS):
        check_free(core.with_name(f"{core.stem}{beside}{STYLE}"), overwrite)
    with reopened(run, config) as opened:
        return export_style(opened.session, opened.dataset, opened.progress, _began(run), place)


def _began(run: Run) -> float:
    """Start of training in Unix seconds; now if unknown."""
    starts = (event for event in latest_events(run.folder) if event["type"] == "start")
    return next((float(event["time"]) for event in starts if "time" in event), time.time())
