"""Checkpoints: a folder that is there whole or not at all, and from which a run goes on with the same bits."""

from __future__ import annotations

import io
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainers.adapters.network import Network
from trainers.errors import VelaturaError
from trainers.optim import MovingAverage
from trainers.run import Run


@dataclass
class Progress:
    """How far a run is: optimizer steps done, steps skipped for NaN, seconds spent on steps."""

    step: int = 0
    skipped: int = 0
    seconds: float = 0.0


def save_checkpoint(
    run: Run, progress: Progress, network: Network, optimizer: Optimizer, average: MovingAverage | None, keep: int
) -> None:
    """Write a checkpoint for the steps done so far and drop all but the newest `keep`; OSError leaves nothing of it."""
    from safetensors.torch import save

    target = run.checkpoint(progress.step)
    building = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        _write(building / "network.safetensors", save(_contiguous(network.state_dict())))
        if average is not None:
            _write(building / "average.safetensors", save(_contiguous(average.values)))
        state = io.BytesIO()
        torch.save(optimizer.state_dict(), state)
        _write(building / "optimizer.pt", state.getvalue())
        facts = asdict(progress) | {"average_updates": average.updates if average else 0}
        _write(building / "progress.json", json.dumps(facts).encode())
        shutil.rmtree(target, ignore_errors=True)
        building.rename(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    for step in run.checkpoint_steps()[:-keep]:
        shutil.rmtree(run.checkpoint(step))


def load_checkpoint(run: Run, network: Network, optimizer: Optimizer | None, average: MovingAverage | None) -> Progress:
    """Put the newest checkpoint back into network, optimizer and average; without an optimizer its state is not read.

    Raises VelaturaError where there is none, it is damaged, or it was written with other settings.
    """
    from safetensors import SafetensorError

    steps = run.checkpoint_steps()
    if not steps:
        raise VelaturaError(
            f"{run.folder} has no checkpoint; begin its training again with: velatura resume {run.folder}"
        )
    folder = run.checkpoint(steps[-1])
    try:
        return _load(folder, network, optimizer, average)
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError, UnpicklingError) as error:
        raise VelaturaError(
            f"the checkpoint {folder} cannot be used: it is damaged, or config.toml was changed since "
            f"({type(error).__name__}); undo the change, or delete that folder to go on from the one before it"
        ) from error


def _load(folder: Path, network: Network, optimizer: Optimizer | None, average: MovingAverage | None) -> Progress:
    from safetensors.torch import load

    # All of it is read before any of it is used.
    tensors = load((folder / "network.safetensors").read_bytes())
    state = None if optimizer is None else _optimizer_state(folder)
    averaged = load((folder / "average.safetensors").read_bytes()) if average is not None else {}
    facts: dict[str, Any] = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
    updates = facts.pop("average_updates")
    network.load_state_dict(tensors)
    if optimizer is not None and state is not None:
        optimizer.load_state_dict(state)
    if average is not None:
        average.updates = updates
        for name, value in average.values.items():
            value.copy_(averaged[name])
    return Progress(**facts)


def _optimizer_state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(io.BytesIO((folder / "optimizer.pt").read_bytes()), weights_only=True)
    return state


def _write(path: Path, data: bytes) -> None:
    """Python's own writing, which says of a full disk that it is full, as the libraries' does not."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # the folder's new name must not be on the disk before what is in it


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
