"""Checkpoints: atomic folders from which a run resumes with the same bits.

`SHA256SUMS` holds the SHA-256 of every other file for `sha256sum --check`, so changed files are never used. Checkpoints
of older versions lack it; they are valid if they can be read.
"""

from __future__ import annotations

import copy
import errno
import hashlib
import io
import json
import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

from trainers.adapters.network import Network
from trainers.atomic_files import sync_folder
from trainers.errors import VelaturaError
from trainers.runs.progress import Progress
from trainers.runs.run import Run
from trainers.training.step.optim import MovingAverage

SUMS, UNFINISHED = "SHA256SUMS", ".unfinished"
LARGEST_START = 2 * 2**30
"""Maximum bytes of parameters with which a run can roll back to its start before its first checkpoint."""
GONE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.ENODATA)
"""OS errors of missing or unreadable files, as opposed to missing resources."""
NO_SUCH_DATA = (
    *(SafetensorError, UnpicklingError, RuntimeError, ValueError, KeyError, TypeError),
    *(AttributeError, EOFError, IndexError, AssertionError),
)
"""Exceptions that reading corrupt data may raise; torch lets many plain Python errors through."""


class DamagedCheckpointError(VelaturaError):
    """A checkpoint that differs from what was saved."""


def save_checkpoint(
    run: Run,
    progress: Progress,
    network: Network,
    optimizer: Optimizer,
    average: MovingAverage | None,
    keep: int,
    scaler: GradScaler | None = None,
) -> None:
    """Write a checkpoint and delete all but the newest `keep`; an OSError leaves no part of it."""
    from safetensors.torch import save

    target = run.checkpoint(progress.step)
    building = target.with_name(f".{target.name}{UNFINISHED}")
    if not run.checkpoints.is_dir():
        run.checkpoints.mkdir(parents=True)
        sync_folder(run.folder)
    for left in run.checkpoints.glob(f".*{UNFINISHED}"):  # of a killed save
        shutil.rmtree(left, ignore_errors=True)
    building.mkdir()
    try:
        _write(building / "network.safetensors", save(_contiguous(network.state_dict())))
        if average is not None:
            average.refresh()
            _write(building / "average.safetensors", save(_contiguous(average.values)))
        state = io.BytesIO()
        torch.save(optimizer.state_dict(), state)
        _write(building / "optimizer.pt", state.getvalue())
        facts = asdict(progress) | {"average_updates": average.updates if average else 0}
        facts |= {"scaler": scaler.state_dict()} if scaler is not None else {}
        _write(building / "progress.json", json.dumps(facts).encode())
        _write(building / SUMS, _sums(building).encode())
        sync_folder(building)
        if target.exists():
            _delete(target)
        building.rename(target)
        sync_folder(run.checkpoints)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    for step in run.checkpoint_steps()[:-keep]:
        _delete(run.checkpoint(step))


class Start:
    """The state before the first step, kept in memory for a rollback until a checkpoint is written."""

    @classmethod
    def of(cls, network: Network, optimizer: Optimizer, scaler: GradScaler | None) -> Start | None:
        """The state now; None if it is too large to keep twice."""
        size = sum(parameter.nbytes for parameter in network.parameters())
        return cls(network, optimizer, scaler) if size <= LARGEST_START else None

    def __init__(self, network: Network, optimizer: Optimizer, scaler: GradScaler | None) -> None:
        self._network = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        self._optimizer = copy.deepcopy(optimizer.state_dict())
        self._scaler = scaler.state_dict() if scaler is not None else {}

    def put_back(
        self, network: Network, optimizer: Optimizer, average: MovingAverage | None, scaler: GradScaler | None
    ) -> None:
        """Reset network, optimizer, average and scaler to this state."""
        network.load_state_dict(self._network)
        optimizer.load_state_dict(copy.deepcopy(self._optimizer))
        if average is not None:
            average.begin_anew()
        if scaler is not None:
            scaler.load_state_dict(self._scaler)


def discard_later(run: Run, step: int) -> None:
    """Delete the checkpoints and snapshots after a step, newest first, for a rollback to it."""
    for saved in reversed(run.checkpoint_steps()):
        if saved > step:
            _delete(run.checkpoint(saved))
    for sampled, path in run.list_snapshots().items():
        if sampled > step:
            path.unlink()


def _delete(folder: Path) -> None:
    """Delete a checkpoint, or only the link to one that was moved to another disk."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def load_checkpoint(
    run: Run,
    network: Network,
    optimizer: Optimizer | None,
    average: MovingAverage | None,
    scaler: GradScaler | None = None,
) -> Progress:
    """Load the newest checkpoint into network, optimizer, average and scaler.

    Without an optimizer its state is not read. Checkpoints of older versions have no state of the scaler. Raises
    VelaturaError if there is none, it is damaged, or it was written with other settings.
    """
    steps = run.checkpoint_steps()
    if not steps:
        raise VelaturaError(
            "{folder} has no checkpoint; restart the training with: velatura resume {quoted}",
            folder=run.folder,
            quoted=shlex.quote(str(run.folder)),
        )
    folder = run.checkpoint(steps[-1])
    try:
        saved = _read(folder, optimizer is not None)
    except DamagedCheckpointError as error:
        before = f"use the one from step {steps[-2]}" if len(steps) > 1 else "train the run again"
        raise VelaturaError("{error}; move that folder away and {before}", error=error, before=before) from error
    try:
        network.load_state_dict(saved.network)
        if optimizer is not None:
            optimizer.load_state_dict(saved.optimizer)
        if average is not None:
            average.updates = saved.average_updates
            for name, value in average.values.items():
                value.copy_(saved.average[name])
        if scaler is not None and saved.scaler:
            scaler.load_state_dict(saved.scaler)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise VelaturaError(
            "the checkpoint {folder} cannot be used: config.toml has changed since ({name}); undo the "
            "change, or train the run again",
            folder=folder,
            name=type(error).__name__,
        ) from error
    return saved.progress


def set_damaged_aside(run: Run) -> list[int]:
    """Rename damaged checkpoints, from the newest down to an intact one; returns their steps.

    VelaturaError if none is intact.
    """
    damaged: list[int] = []
    for step in reversed(run.checkpoint_steps()):
        folder, aside = run.checkpoint(step), run.damaged_checkpoint(step)
        try:
            _read(folder, optimizer=True)
            return damaged
        except DamagedCheckpointError:
            if aside.exists():
                _delete(aside)
            folder.rename(aside)
            damaged.append(step)
    if damaged:
        raise VelaturaError(
            "every checkpoint of {folder} is damaged; they are kept under names that end in {suffix}: "
            "restart the run from zero",
            folder=run.folder,
            suffix=run.damaged_checkpoint(0).suffix,
        )
    return damaged


@dataclass(frozen=True)
class _Saved:
    """The contents of a checkpoint."""

    network: dict[str, Tensor]
    optimizer: dict[str, Any]
    average: dict[str, Tensor]
    average_updates: int
    scaler: dict[str, Any]
    progress: Progress


def _read(folder: Path, optimizer: bool) -> _Saved:
    """Read and verify a checkpoint; DamagedCheckpointError if it differs from what was saved."""
    sums = _read_sums(folder)
    names = ["network.safetensors", "progress.json", *(["optimizer.pt"] if optimizer else [])]
    if "average.safetensors" in sums or (folder / "average.safetensors").exists():
        names.append("average.safetensors")
    data = {name: _checked(folder / name, sums) for name in names}
    try:
        return _parsed(data)
    except NO_SUCH_DATA as error:
        if sums:  # the file is intact: something else is wrong, such as too little memory
            raise
        raise _damaged(folder, type(error).__name__) from error


def _parsed(data: Mapping[str, bytes]) -> _Saved:
    from safetensors.torch import load

    optimizer = "optimizer.pt" in data
    facts: dict[str, Any] = json.loads(data["progress.json"])
    updates, scaler = facts.pop("average_updates"), facts.pop("scaler", {})
    return _Saved(
        load(data["network.safetensors"]),
        torch.load(io.BytesIO(data["optimizer.pt"]), weights_only=True) if optimizer else {},
        load(data["average.safetensors"]) if "average.safetensors" in data else {},
        updates,
        scaler,
        Progress(**facts),
    )


def _checked(path: Path, sums: Mapping[str, str]) -> bytes:
    data = _bytes(path)
    if sums and sums.get(path.name) != hashlib.sha256(data).hexdigest():
        raise _damaged(path.parent, f"{path.name} differs from what was saved")
    return data


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        if error.errno not in GONE:
            raise
        raise _damaged(path.parent, f"{path.name}: {error.strerror}") from error


def _damaged(folder: Path, reason: str) -> DamagedCheckpointError:
    return DamagedCheckpointError("the checkpoint {folder} is damaged ({reason})", folder=folder, reason=reason)


def _sums(folder: Path) -> str:
    """One line per file, in the format of `sha256sum`."""
    files = sorted(folder.iterdir())
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


def _read_sums(folder: Path) -> dict[str, str]:
    """Checksums by file name; empty for checkpoints of older versions."""
    if not (folder / SUMS).exists():
        return {}
    lines = _bytes(folder / SUMS).decode("utf-8", "replace").splitlines()
    sums = {name: sum for sum, _, name in (line.partition("  ") for line in lines) if name}
    if not sums:
        raise _damaged(folder, f"{SUMS} is empty")
    return sums


def _write(path: Path, data: bytes) -> None:
    """Write with Python's I/O, which reports a full disk, unlike the libraries."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # content must reach the disk before the folder's new name


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
