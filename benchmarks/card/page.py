"""The page of what the checks found."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmarks.card.checks import Check, Outcome
from benchmarks.full_unet import machine
from tools.markdown import table

FAILED, SKIPPED, NOT_REACHED, NEEDS_CARD = "failed", "skipped", "not reached", "needs a card"
PASSED, PASSED_TINY = "passed", "passed, tiny"
HEADINGS = ("check", "what must hold", "result", "s / step", "peak, MiB", "planned, MiB", "peak / planned", "")
MIB = 2**20


@dataclass(frozen=True)
class Row:
    """The result of a check."""

    check: Check
    result: str
    outcome: Outcome

    def cells(self) -> list[str]:
        """A table's line."""
        figures, notes = self.outcome.figures, "; ".join((*self.outcome.problems, *self.outcome.notes))
        sizes = ["", "", "", ""]
        if figures is not None:
            peak, planned = figures.peak / MIB, figures.promised / MIB
            sizes = [f"{figures.seconds:.3f}", f"{peak:.0f}", f"{planned:.0f}", f"{figures.ratio:.2f}"]
        return [f"`{self.check.name}`", self.check.sentence, self.result, *sizes, notes]


def card_name(device: torch.device) -> str:
    """The card's name, memory and versions, or the processor's."""
    versions = f"torch {torch.__version__}"
    if device.type != "cuda":
        return f"{machine()}; {versions}"
    card = torch.cuda.get_device_properties(device)
    return f"{card.name}, {card.total_memory / 2**30:.1f} GB; {versions}, CUDA {torch.version.cuda}"


def page(rows: Sequence[Row], device: torch.device, tiny: bool, command: str) -> str:
    """The whole page."""
    on_card = device.type == "cuda"
    counts = {result: sum(row.result == result for row in rows) for result in dict.fromkeys(row.result for row in rows)}
    summary = ", ".join(f"{count} {result}" for result, count in counts.items())
    warning = (
        "**This was never run on a graphics card.** The table is that of a CPU, as an example of its form: the same "
        "code on tiny networks, whose peaks are those of torch's profiler and are not judged. Whoever "
        "has an NVIDIA card, best with 24 GB, writes this page anew with `make bench-card`, in less than ten minutes."
    )
    lines = [
        "# On a graphics card",
        "",
        "Trainings of ten steps by Velatura's own loop on one repeated batch, and a sample, on networks with random "
        f"weights{' (tiny ones)' if tiny else ' of full size'}: finite, with a falling loss, near the reference, and "
        "within 1.1 × the memory that the planner computes. Time is the median of the steps after three.",
        *([] if on_card else ["", warning]),
        "",
        f"Written by `{command}` on {datetime.datetime.now(tz=datetime.UTC):%d %B %Y}: {card_name(device)}. {summary}.",
        "",
        *table(HEADINGS, [row.cells() for row in rows]),
    ]
    return "\n".join(lines) + "\n"
