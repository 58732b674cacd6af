"""Checkpoints: a folder that is there whole or not at all, and from which a run goes on with the same bits."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
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
    """Write a checkpoint for the steps done so far and drop all but the newest `keep`."""
    from safetensors.torch import save_file

    target = run.checkpoint(progress.step)
    building = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        save_file(_contiguous(network.state_dict()), building / "network.safetensors")
        if average is not None:
            save_file(_contiguous(average.values), building / "average.safetensors")
        torch.save(optimizer.state_dict(), building / "optimizer.pt")
        facts = asdict(progress) | {"average_updates": average.updates if average else 0}
        (building / "progress.json").write_text(json.dumps(facts))
        shutil.rmtree(target, ignore_errors=True)
        building.rename(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    for step in run.checkpoint_steps()[:-keep]:
        shutil.rmtree(run.checkpoint(step))


def load_checkpoint(run: Run, network: Network, optimizer: Optimizer, average: MovingAverage | None) -> Progress:
    """Put the newest checkpoint back into network, optimizer and average; VelaturaError if there is none."""
    from safetensors.torch import load_file

    steps = run.checkpoint_steps()
    if not steps:
        raise VelaturaError(f"{run.folder} has no checkpoint to resume from; train its config.toml anew")
    folder = run.checkpoint(steps[-1])
    network.load_state_dict(load_file(folder / "network.safetensors"))
    optimizer.load_state_dict(torch.load(folder / "optimizer.pt", weights_only=True))
    facts: dict[str, Any] = json.loads((folder / "progress.json").read_text())
    updates = facts.pop("average_updates")
    if average is not None:
        average.updates = updates
        for name, value in load_file(folder / "average.safetensors").items():
            average.values[name].copy_(value)
    return Progress(**facts)


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
