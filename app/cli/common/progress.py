"""Training progress: a bar with step, loss, speed and time left, or plain lines without a terminal."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli.common.console import line, notes
from app.jobs.events.losses import RunningMean
from app.jobs.events.summary import seconds_left
from app.units import counted, readable_speed, readable_time
from trainers.runs.event_lines import Event


class TrainingView:
    """Shows a run's events on standard error, with a bar on a terminal."""

    def __init__(self, on_start: Callable[[], None] = lambda: None) -> None:
        self._on_start = on_start
        self.console = notes()
        self._bar = Progress(
            TextColumn("{task.description}", style="bold"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=None, loss="–", speed="–", left="", start=False)
        self._loss = RunningMean()
        self._saved = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            again = f"`velatura resume` continues from step {self._saved}" if self._saved else "nothing new was saved"
            self._say(f"interrupted; {again}")

    def __call__(self, event: Event) -> None:
        """Show one event."""
        show = getattr(self, f"_show_{event['type']}", None)
        if show is not None:
            show(event)

    def _say(self, *pieces: str | tuple[str, str]) -> None:
        self.console.print(line(*pieces))

    def _show_start(self, event: Event) -> None:
        images = counted(event["images"], "image")
        again = ", resumed" if event["resumed"] else ""
        self._say(
            (str(event["name"]), "bold"),
            f": {event['method']} on {event['base']} ({event['family']}), {images}, "
            f"{event['parameters']:,} parameters, {event['precision']} on {event['device']}{again}",
        )
        self._on_start()

    def _show_step(self, event: Event) -> None:
        step, steps, loss = event["step"], event["steps"], float(event["loss"])
        words: Any = {"loss": f"{self._loss.add(loss):.4f}", "speed": readable_speed(event["speed"])}
        words |= {"left": _left(event), "description": "training"}
        self._bar.start_task(self._task)
        self._bar.update(self._task, total=steps, completed=step, **words)
        if self._bar.disable and (step == 1 or step == steps or step % max(1, steps // 10) == 0):
            self._say(f"step {step}/{steps}  loss {words['loss']}  {words['speed']}  {words['left']}")

    def _show_checkpoint(self, event: Event) -> None:
        self._saved = event["step"]

    def _show_skipped(self, event: Event) -> None:
        if not event.get("overflow"):  # expected while loss scaling adapts
            self._say((f"step {event['step']} was skipped: its loss or gradients were not finite", "yellow"))

    def _show_note(self, event: Event) -> None:
        self._say((str(event["message"]), "cyan"))

    def _show_warning(self, event: Event) -> None:
        self._say((str(event["message"]), "yellow"))

    _show_early_stop = _show_note
    _show_damaged = _show_rollback = _show_problem = _show_solved = _show_warning

    def _show_drawing(self, event: Event) -> None:
        """Show a picture on the bar; in lines only class images, for which the first step waits."""
        picture, pictures = event["picture"], event["pictures"]
        self._bar.update(self._task, description=f"drawing {picture}/{pictures}", left=_left(event))
        if event.get("prior") and (picture == pictures or picture % max(1, pictures // 10) == 0):
            self._say(f"class image {picture}/{pictures}")

    def _show_denoising(self, event: Event) -> None:
        self._bar.update(self._task, left=_left(event))

    def _show_export(self, event: Event) -> None:
        self._bar.update(self._task, description="saving")

    def _show_sample(self, event: Event) -> None:
        pictures = counted(event["pictures"], "picture")
        self._say(f"drew {pictures} at step {event['step']}")


def _left(event: Event) -> str:
    """The time left, with sampling and export."""
    left = seconds_left(event)
    return "–" if left is None else f"{readable_time(left)} left"
