"""A run in memory, shared by opening, training, previews and export."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from trainers.adapters.network import Network
from trainers.adapters.roles import is_denoiser
from trainers.config.config import Config
from trainers.config.optimizers import SCHEDULE_FREE
from trainers.distributed.devices import Devices
from trainers.models.model import Model
from trainers.planning.forecast import Forecast
from trainers.process.signals import asking_to_stop
from trainers.runs.events import Recorder
from trainers.runs.progress import Progress
from trainers.runs.run import Run
from trainers.training.checkpoint import load_checkpoint
from trainers.training.step.optim import MovingAverage, OptimizerAverage, learning_rate_factor

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.optim import Optimizer

Phase = Literal["load", "images", "encode", "class-images", "before", "train", "previews", "export", "after"]
"""The phases of a run in order; `previews` and `train` alternate."""


@dataclass
class Session:
    """A run in memory: its folder, settings, base, trained network and event recorder."""

    run: Run
    config: Config
    model: Model
    network: Network
    record: Recorder
    accelerator: Accelerator
    stopped_by: str = ""
    average: MovingAverage | None = field(default=None)
    forecast: Forecast | None = None
    """The run's measured times and the time left; None in measurements."""
    phase: str = ""
    loading: float = 0.0
    """Seconds to load the base."""
    devices: Devices = field(default_factory=Devices)
    """The processes of the run."""
    base_changed: bool = False
    """Whether the base's weights have changed since an earlier attempt."""

    def begin(self, phase: Phase) -> None:
        """Record the phase of the run if it has changed."""
        if phase != self.phase:
            self.phase = phase
            self.record("phase", phase=phase)

    def show_life(self, _picture: int, _step: int) -> None:
        """Show progress after a denoising step."""
        self.record.show_life()

    def seconds_left(self, step: int) -> float | None:
        """Seconds from this step until the run is done; None if unknown."""
        left = self.forecast.seconds_left(step) if self.forecast is not None else None
        return None if left is None else round(left, 1)

    def ask_to_stop(self, reason: str) -> bool:
        """Ask the loop to end after its step; False if it was asked before."""
        first = not self.stopped_by
        self.stopped_by = self.stopped_by or reason
        return first

    def heeding_signals(self) -> AbstractContextManager[None]:
        """Ask the run to stop on Ctrl-C, SIGTERM and SIGHUP while the block runs; does nothing in other processes."""
        return asking_to_stop(self.ask_to_stop) if self.devices.is_first else nullcontext()

    def must_stop(self) -> bool:
        """Whether the run was asked to stop, by a signal or its stop file.

        Raises VelaturaError if another process of the run has died.
        """
        self.devices.check_alive(self.run)
        request = self.run.asked_to_stop()
        if request is not None:
            self.ask_to_stop("request" if request == "save" else request)
        return bool(self.stopped_by)

    def all_must_stop(self) -> bool:
        """Whether all processes of the run end here, as the first one decides."""
        if self.devices.is_first:
            self.must_stop()
        self.stopped_by = self.devices.broadcast(self.stopped_by)
        return bool(self.stopped_by)

    @property
    def text_trains(self) -> bool:
        """Whether an encoder or a word trains, so that captions are encoded in each step."""
        return bool(self.network.words) or any(not is_denoiser(site.part) for site in self.network.hook_points)

    @cached_property
    def rates(self) -> tuple[float, ...]:
        """Every step's share of the peak learning rate."""
        settings = self.config.train
        return tuple(learning_rate_factor(step, settings) for step in range(settings.steps))

    def start_average(self, optimizer: Optimizer | None = None) -> None:
        """Start the average of the parameters that is the style, if the settings ask for one."""
        train = self.config.train
        if train.optimizer in SCHEDULE_FREE:
            self.average = OptimizerAverage(self.network, optimizer)
        else:
            self.average = MovingAverage(self.network, train.ema) if train.ema else None

    def restore(self, optimizer: Optimizer | None = None) -> Progress:
        """Load the newest checkpoint; errors are those of `load_checkpoint`."""
        return load_checkpoint(self.run, self.network, optimizer, self.average, self.accelerator.scaler)

    def as_exported(self) -> AbstractContextManager[None]:
        """Use the network as exported while the block runs: with the moving average, if any."""
        return self.average.in_place() if self.average else nullcontext()

    def release(self) -> None:
        """Free the base and the network."""
        self.network.remove()
        del self.model, self.network, self.average
        self.accelerator.free_memory()
