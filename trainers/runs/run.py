"""A run folder: everything about one training, self-explanatory and movable to another machine.

config.toml    complete: training it again gives the same weights; config.v1.toml: as an earlier Velatura wrote it
events.jsonl   what happened, a line each; log.txt the same in words
dataset/       the images as they were trained on, with captions
samples/       pictures drawn along the way        cache/   latents and text embeddings
prior/         class images that the base has drawn
checkpoints/   to resume from                      style/   the files people download
threads        how many threads it computes with, from its first start on
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainers.config.migrations import VERSION, migrate, version_of
from trainers.errors import BusyError, VelaturaError
from trainers.files import plain_disk_errors, sync_folder, sync_tree, whole_file
from trainers.runs.heartbeat import Beat, beat_once, beating, read_beat

if TYPE_CHECKING:
    from trainers.config.config import Config

DATASET = "dataset"
STOP = "stop"
LOCK = ".training"
RANK_MAP = "ranks.png"
"""Where a method moved the rank, in a run's folder."""
HEARTBEAT = ".heartbeat"
SILENT = 60.0
"""Seconds without a heartbeat after which a run counts as nobody's where it cannot be locked."""
PATIENCE = 0.5
"""Seconds to wait for a run's lock, since whoever asks `is_training` holds it for a moment."""
ABANDONED = 24 * 3600
"""Seconds after which a run that is not begun, and where nothing is added, is nobody's any more."""

Stop = Literal["save", "pause", "cancel"]
"""How a run is to end before its last step: saved and exported, saved only, or as it is."""
PutAway = Callable[[Path], object]
"""What becomes of the folder of a run that another one replaces; afterwards it is not there any more."""
_STEP = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class Run:
    """Paths of a run folder."""

    folder: Path

    @property
    def dataset(self) -> Path:
        return self.folder / DATASET

    @property
    def samples(self) -> Path:
        return self.folder / "samples"

    @property
    def prior(self) -> Path:
        return self.folder / "prior"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def style(self) -> Path:
        return self.folder / "style"

    def config(self) -> Config:
        """The run's config, with the images' folder made absolute."""
        from trainers.config.build import read_config  # with all methods, which is much to load for a look at a folder

        return read_config(self.folder / "config.toml")

    def table(self) -> dict[str, Any]:
        """The run's settings in today's layout, unchecked; empty where they cannot be read."""
        try:
            return migrate(self._written())
        except (OSError, ValueError, RecursionError, VelaturaError):
            return {}

    def _written(self) -> dict[str, Any]:
        """The run's settings as they stand in its folder."""
        return tomllib.loads((self.folder / "config.toml").read_text(encoding="utf-8"))

    def keep_old_config(self) -> None:
        """Before config.toml is written anew, keep one of an earlier layout beside it, as `config.v1.toml`."""
        own = self.folder / "config.toml"
        if not own.is_file() or (version := version_of(self._written())) >= VERSION:
            return
        kept = own.with_name(f"config.v{version}.toml")
        if not kept.exists():
            with whole_file(kept) as building:
                shutil.copyfile(own, building)

    # ---------------------------------------------------------------- whose it is
    @contextmanager
    def training(self) -> Iterator[None]:
        """Hold the run for this process, with a heartbeat; a kill lets go. BusyError where another one holds it."""
        with self._locked(PATIENCE), beating(self.folder / HEARTBEAT, self.folder / "events.jsonl"):
            yield

    @contextmanager
    def _locked(self, patience: float) -> Iterator[None]:
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            raise BusyError(f"{self.folder} is being trained by another process; stop that one first") from None
        try:
            yield
        finally:
            lock.release()

    def is_training(self) -> bool:
        """Whether a process of this machine trains the run now."""
        try:
            with self._locked(0):
                return False
        except BusyError:
            return True
        except OSError:  # on a read-only disk, or in somebody else's folder, there is no lock to be had
            return self.last_beat() < SILENT

    def last_beat(self) -> float:
        """Seconds since the process that trains the run gave a sign of life; infinite where none does."""
        try:
            return time.time() - (self.folder / HEARTBEAT).stat().st_mtime
        except OSError:
            return float("inf")

    def show_start(self) -> None:
        """Give the first sign of life, before anything large is loaded for the training."""
        beat_once(self.folder / HEARTBEAT, self.folder / "events.jsonl")

    def beat(self) -> Beat | None:
        """The newest sign of life of the process that trains the run; None where none does, or never did."""
        return read_beat(self.folder / HEARTBEAT)

    # ---------------------------------------------------------------- stopping
    def ask_to_stop(self, how: Stop = "save") -> None:
        """Leave the sign that makes the trainer finish its step and end; a later one replaces it."""
        with whole_file(self.folder / STOP) as building:
            building.write_text(how, encoding="utf-8")

    def asked_to_stop(self) -> Stop | None:
        """How the run is asked to end, None where it is not; an empty file, made by hand, asks to save."""
        try:
            content = (self.folder / STOP).read_bytes()
        except FileNotFoundError:
            return None
        words = content.decode(errors="ignore").replace("\0", "").strip()  # PowerShell writes UTF-16
        return "pause" if words == "pause" else "cancel" if words == "cancel" else "save"

    def clear_stop(self) -> None:
        (self.folder / STOP).unlink(missing_ok=True)

    # ---------------------------------------------------------------- checkpoints
    def checkpoint_steps(self) -> list[int]:
        """Steps of the complete checkpoints, oldest first."""
        if not self.checkpoints.is_dir():
            return []
        found = (_STEP.fullmatch(entry.name) for entry in self.checkpoints.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:08d}"

    def damaged_checkpoint(self, step: int) -> Path:
        """Where a checkpoint is kept that was found damaged, until the run has ended well."""
        return self.checkpoints / f"step-{step:08d}.damaged"

    def tidy(self, begun: float) -> None:
        """Delete damaged checkpoints, and half files of attempts that were killed before this one, of Unix seconds."""
        for folder in self.checkpoints.glob("step-*.damaged"):
            shutil.rmtree(folder, ignore_errors=True)
        for pattern in (".unfinished-*", "*.part"):
            for left in self.folder.rglob(pattern):
                with suppress(OSError):
                    if left.stat().st_mtime < begun:
                        left.unlink()


def open_run(folder: Path) -> Run:
    """An existing run.

    Args:
        folder: Its folder, with a `config.toml` and an `events.jsonl`.

    Returns:
        The run, for `resume`.

    Raises:
        VelaturaError: The folder is no run.
    """
    if not is_run(folder):
        raise VelaturaError(f"{folder} is no run folder: a run has a config.toml and an events.jsonl")
    return Run(folder)


@contextmanager
def new_run(config: Config, out: Path, overwrite: bool, put_away: PutAway | None = None) -> Iterator[Run]:
    """A run folder under construction beside its final place, moved there when the block ends without an error.

    All of it is on the disk before its name is. A run that it replaces is given to `put_away` only then, or deleted.
    Raises VelaturaError where something is in the way; on any error nothing is left behind.
    """
    target = out / config.name
    for parent in (out, *out.parents):
        if parent.exists() and not parent.is_dir():
            raise VelaturaError(f"cannot write runs to {out}: {parent} is a file, not a folder")
    if target.exists() and not overwrite:
        raise VelaturaError(f"{target} exists already; give another --name, or --overwrite to replace it")
    if target.exists() and not _may_be_replaced(target):
        raise VelaturaError(f"{target} is no run folder, so --overwrite does not replace it; give another --name")
    made = [p for p in (out, *out.parents) if not p.exists()]
    building = out / f".{config.name}.{os.getpid()}-{threading.get_ident()}.unfinished"
    replaced = building.with_suffix(".replaced.unfinished")
    try:
        with plain_disk_errors(building):
            shutil.rmtree(building, ignore_errors=True)  # of a process that was killed and had this one's number
            building.mkdir(parents=True)
            _sweep(out)
            yield Run(building)
            sync_tree(building)
            if overwrite and target.exists():
                with Run(target).training():  # not from under another process
                    pass
                if put_away is not None and is_run(target):
                    put_away(target)
                else:
                    target.rename(replaced)  # at once: a half one would still look like a run
            _put(building, target)
            for folder in (out, *(made_one.parent for made_one in made)):
                sync_folder(folder)
    finally:
        if replaced.exists() and not target.exists():
            replaced.rename(target)
        shutil.rmtree(replaced, ignore_errors=True)
        shutil.rmtree(building, ignore_errors=True)
        for folder in made:  # folders that were made for a run that never began
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _sweep(out: Path) -> None:
    """Remove what runs that were killed before they had their name have left in a folder of runs."""
    for left in out.glob(".*.unfinished"):
        with suppress(FileNotFoundError):  # it has just got its name
            if left.stat().st_mtime < time.time() - ABANDONED:
                shutil.rmtree(left, ignore_errors=True)


def _put(building: Path, target: Path) -> None:
    """Give a finished folder its name, which somebody else may have taken while it was built."""
    try:
        building.rename(target)
    except OSError as error:
        if target.exists():
            raise VelaturaError(f"{target} was made by somebody else meanwhile; give another --name") from error
        raise


def _may_be_replaced(target: Path) -> bool:
    """Only a run or an empty folder: `--out` may be anywhere."""
    return target.is_dir() and (is_run(target) or not any(target.iterdir()))


def is_run(folder: Path) -> bool:
    """Whether a folder has the marks of a run; other programs, too, have a config.toml."""
    return (folder / "config.toml").is_file() and (folder / "events.jsonl").is_file()


def write_config(run: Run, config: Config) -> None:
    """Write the complete config, with the images where the run folder keeps them; one of an earlier layout is kept."""
    from trainers.config.build import dump_config

    run.keep_old_config()
    kept = config.model_copy(update={"data": config.data.model_copy(update={"images": DATASET})})
    with whole_file(run.folder / "config.toml") as building:
        building.write_text(dump_config(kept), encoding="utf-8")


def free_name(runs: Path, name: str) -> str:
    """A run's name that nothing in a folder of runs has: this one, or with a number after it."""
    taken = (f"{name}-{number}" if number > 1 else name for number in range(1, 10_000))
    return next(candidate for candidate in taken if not (runs / candidate).exists())
