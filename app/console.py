"""What the command line shows: progress, tables, errors; data on standard output, all else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from trainers.events import Event

SMOOTHING = 0.95


def notes() -> Console:
    """Where words for people go."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(data: Any) -> None:
    """One JSON value on one line of standard output."""
    sys.stdout.write(json.dumps(data, ensure_ascii=False, default=str) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table on standard output."""
    table = Table(*columns, title=title or None, header_style="bold", title_justify="left")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console(highlight=False).print(table)


def readable_size(count: int) -> str:
    """Bytes as people read them, in units of 1000 as file managers show."""
    value = float(count)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


class TrainingView:
    """A progress bar with step, loss, speed and time left, fed by a run's events; plain lines where nobody watches."""

    def __init__(self) -> None:
        self.console = notes()
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=None, loss="–", speed="–", start=False)
        self._loss: float | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        show = getattr(self, f"_show_{event['type']}", None)
        if show is not None:
            show(event)

    def _show_start(self, event: Event) -> None:
        again = ", resumed" if event["resumed"] else ""
        self.console.print(
            f"[bold]{event['name']}[/]: {event['method']} on {event['base']} ({event['family']}), "
            f"{event['images']} images, "
            f"{event['parameters']:,} trained numbers, {event['precision']} on {event['device']}{again}"
        )

    def _show_step(self, event: Event) -> None:
        step, steps, loss = event["step"], event["steps"], float(event["loss"])
        self._loss = loss if self._loss is None else SMOOTHING * self._loss + (1 - SMOOTHING) * loss
        words: Any = {"loss": f"{self._loss:.4f}", "speed": _speed(event["speed"])}
        self._bar.start_task(self._task)
        self._bar.update(self._task, total=steps, completed=step, **words)
        if self._bar.disable and (step == 1 or step == steps or step % max(1, steps // 10) == 0):
            left = (steps - step) / event["speed"] if event["speed"] else 0
            self.console.print(f"step {step}/{steps}  loss {words['loss']}  {words['speed']}  {left:.0f} s left")

    def _show_skipped(self, event: Event) -> None:
        self.console.print(f"[yellow]step {event['step']} was skipped: its loss or gradients were not numbers[/]")

    def _show_note(self, event: Event) -> None:
        self.console.print(f"[cyan]{event['message']}[/]")

    def _show_warning(self, event: Event) -> None:
        self.console.print(f"[yellow]{event['message']}[/]")

    def _show_sample(self, event: Event) -> None:
        self.console.print(f"drew {event['pictures']} pictures at step {event['step']}")


def _speed(steps_per_second: float) -> str:
    if steps_per_second >= 1:
        return f"{steps_per_second:.1f} steps/s"
    return f"{1 / steps_per_second:.1f} s/step" if steps_per_second else "–"
