"""One resumable training: steps, learning rate, averaged weights, checkpoints, log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from trainers.atomic_files import whole_file
from trainers.errors import VelaturaError
from trainers.randomness import generator as seeded

Loss = Callable[[int, torch.Generator], dict[str, Tensor]]
"""Maps a step and its random generator to the values that are logged; `loss` is minimised."""
Measure = Callable[[], dict[str, float]]

SAVE_EVERY = 240.0  # seconds
LOG_EVERY = 50  # steps
CLIP = 1.0


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a part is trained."""

    steps: int
    batch: int
    rate: float  # learning rate of matrices and convolutions, by Muon
    plain_rate: float  # of embeddings, norms, biases, the first and the last layer, by AdamW
    warmup: int = 50
    cooldown: float = 0.3  # share of the steps in which the rates fall to nothing
    ema_decay: float = 0.999
    seed: int = 0
    measure_every: int = 1_000

    def factor(self, step: int) -> float:
        """The factor of the learning rates at a step: a linear warmup, level, then linear to zero."""
        left = (self.steps - step) / max(1.0, self.cooldown * self.steps)
        return min(1.0, (step + 1) / self.warmup, left)


def autocast_on(device: torch.device) -> torch.autocast:
    """Autocast to bf16 on that device."""
    return torch.autocast(device.type, torch.bfloat16)


class Stage:
    """Trains `model` in `folder`, resumes from its last checkpoint, and leaves the averaged weights in the model."""

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        schedule: Schedule,
        plain: Callable[[str], bool],
        shares: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        from diffusers.training_utils import EMAModel

        self.folder, self.model, self.schedule = folder, model, schedule
        self.optimizer = make_optimizer(model, schedule, plain, shares)
        self.ema = EMAModel(model.parameters(), decay=schedule.ema_decay)
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)

    def train(self, loss: Loss, measure: Measure) -> None:
        """Train to the last step, from the last checkpoint; `measure` sees the averaged weights."""
        self._load()
        started = saved = time.monotonic()
        first = self.step
        while self.step < self.schedule.steps:
            values = self._take_step(loss)
            self.step += 1
            if self.step % LOG_EVERY == 0:
                rate = (self.step - first) * self.schedule.batch / (time.monotonic() - started)
                self._log({key: round(float(value), 5) for key, value in values.items()} | {"images_s": round(rate, 1)})
            if self.step % self.schedule.measure_every == 0:
                self._log(self.measured(measure))
            if time.monotonic() - saved > SAVE_EVERY or self.step == self.schedule.steps:
                self._save()
                saved = time.monotonic()
        self.ema.copy_to(self.model.parameters())
        self.model.zero_grad(set_to_none=True)  # else a later stage of the model would clip by them too

    def measured(self, measure: Measure) -> dict[str, float]:
        """The figures of `measure` with the averaged weights in place."""
        self.ema.store(self.model.parameters())
        self.ema.copy_to(self.model.parameters())
        self.model.eval()
        with torch.no_grad():
            values = measure()
        self.model.train()
        self.ema.restore(self.model.parameters())
        return values

    def _take_step(self, loss: Loss) -> dict[str, Tensor]:
        factor = self.schedule.factor(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["highest"] * factor
        values = loss(self.step, seeded(self.schedule.seed, self.step))
        self.optimizer.zero_grad(set_to_none=True)
        values["loss"].backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.ema.step(self.model.parameters())
        return {key: value.detach() for key, value in values.items()}

    def _log(self, values: dict[str, float]) -> None:
        line = {"step": self.step, **values}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        print(f"{self.folder.name}: " + ", ".join(f"{key} {value}" for key, value in line.items()), flush=True)

    def _save(self) -> None:
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with whole_file(self.folder / "state.pt") as building:
            torch.save(state, building)

    def _load(self) -> None:
        path, device = self.folder / "state.pt", next(self.model.parameters()).device
        if path.exists():
            state = torch.load(path, map_location=device, weights_only=True)
            self.step = state["step"]
            self.model.load_state_dict(state["model"])
            self.ema.load_state_dict(state["ema"])
            self.ema.to(device)
            self.optimizer.load_state_dict(state["optimizer"])
        self._trim_log()

    def _trim_log(self) -> None:
        """Drop lines of steps after the checkpoint, which are taken again, and a truncated last line."""
        path = self.folder / "log.jsonl"
        if not path.exists():
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= self.step]
        if kept != lines:
            with whole_file(path) as building:
                building.write_text("".join(kept), encoding="utf-8")


def make_optimizer(
    model: nn.Module, schedule: Schedule, plain: Callable[[str], bool], shares: Mapping[str, float]
) -> torch.optim.Optimizer:
    """Muon for matrices and convolutions, AdamW for vectors and for parameters that are `plain` by name.

    `shares` gives the parts whose names start so a share of both learning rates; parameters without gradients are left
    out. Raises VelaturaError if the `starter` extra is not installed.
    """
    try:
        from pytorch_optimizer import Muon
    except ModuleNotFoundError as error:
        raise VelaturaError("The starter's training needs pytorch-optimizer: pip install -e '.[starter]'.") from error

    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        share = next((share for start, share in shares.items() if name.startswith(start)), 1.0)
        groups.setdefault((parameter.ndim >= 2 and not plain(name), share), []).append(parameter)
    return Muon([_describe_group(*key, groups[key], schedule) for key in sorted(groups, reverse=True)])


def _describe_group(by_muon: bool, share: float, parameters: list[nn.Parameter], schedule: Schedule) -> dict[str, Any]:
    highest = share * (schedule.rate if by_muon else schedule.plain_rate)
    group = {"params": parameters, "lr": highest, "highest": highest, "use_muon": by_muon}
    return group if by_muon else group | {"betas": (0.9, 0.95)}
