"""python -m benchmarks.card: runs the checks and writes docs/card.md; the exit status is 1 if one failed."""

from __future__ import annotations

import gc
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.card.checks import Check, Outcome, checks
from benchmarks.card.page import FAILED, NEEDS_CARD, NOT_REACHED, PASSED, PASSED_TINY, SKIPPED, Row, page
from benchmarks.card.runs import Bench, SkippedError
from benchmarks.quiet import quiet
from trainers.device import choose_device

Log = Callable[[str], None]


def run_checks(
    wanted: Sequence[Check], bench: Bench, budget: float, log: Log, now: Callable[[], float] = time.monotonic
) -> list[Row]:
    """Run one check after the other; those for which no time is left, or no working card, are not reached."""
    rows, began, longest, lost = list[Row](), now(), 0.0, ""
    for check in wanted:
        started = now()
        if not lost and started - began + longest > budget:
            lost = "out of time"
        if lost:
            rows.append(Row(check, NOT_REACHED, Outcome(notes=[lost])))
        else:
            rows.append(run_check(check, bench, log))
            longest = max(longest, now() - started)
            if rows[-1].result == FAILED and not still_works(bench.device):
                lost = f"the card stopped working in {check.name}; try --only"
        print(*filter(None, rows[-1].cells()), sep="  ", flush=True)
    return rows


def run_check(check: Check, bench: Bench, log: Log) -> Row:
    """The result of one check, whatever it raises."""
    on_cpu = bench.device.type != "cuda"
    if on_cpu and check.on_cpu == "never":
        return Row(check, NEEDS_CARD, Outcome())
    try:
        outcome = check.run(bench)
    except SkippedError as error:
        return Row(check, SKIPPED, Outcome(notes=[str(error)]))
    except Exception as error:  # noqa: BLE001  (one failure stops nothing else)
        log(f"{check.name}\n{traceback.format_exc()}")
        lines = str(error).strip().splitlines()
        outcome = Outcome(problems=[": ".join((type(error).__name__, *lines[:1]))])
    for problem in outcome.problems:
        log(f"{check.name}: {problem}\n")
    free_card(bench.device)
    passed = PASSED_TINY if bench.tiny else PASSED
    if on_cpu and check.on_cpu == "tried":
        passed = NEEDS_CARD
    return Row(check, FAILED if outcome.problems else passed, outcome)


def free_card(device: torch.device) -> None:
    """Give back what a check has left."""
    gc.collect()
    if device.type == "cuda" and still_works(device):
        torch.cuda.empty_cache()


def still_works(device: torch.device) -> bool:
    """Whether a card can still compute: after some errors it cannot until the process ends."""
    try:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


def select(names: str) -> list[Check]:
    """The checks with these names, or all."""
    every, wanted = checks(), [name.strip() for name in names.split(",") if name.strip()]
    known = [check.name for check in every]
    if unknown := set(wanted) - set(known):
        raise typer.BadParameter(f"no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [check for check in every if not wanted or check.name in wanted]


def main(
    only: Annotated[str, typer.Option(help="Only these checks, separated by commas.")] = "",
    device: Annotated[str, typer.Option(help="cuda, or cpu for tiny networks.")] = "cuda",
    tiny: Annotated[bool, typer.Option("--tiny", help="Tiny networks on a card, too.")] = False,
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("docs/card.md"),
    budget: Annotated[float, typer.Option(help="Seconds for all checks.")] = 600.0,
    log: Annotated[Path, typer.Option(help="File for the tracebacks of what failed.")] = Path("outputs/card.log"),
) -> None:
    """Check what needs a graphics card, and write a table of it to a page."""
    wanted, chosen = select(only), choose_device(device)
    tiny = tiny or chosen.type == "cpu"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        quiet() if chosen.type == "cuda" else nullcontext(),
        tempfile.TemporaryDirectory(prefix="velatura-card-") as folder,
        log.open("w", encoding="utf-8") as file,
    ):

        def tell(text: str) -> None:
            print(text, file=sys.stderr, flush=True)
            print(text, file=file, flush=True)

        rows = run_checks(wanted, Bench(chosen, tiny, Path(folder)), budget, tell)
    command = " ".join(["python -m benchmarks.card", *sys.argv[1:]])
    out.write_text(page(rows, chosen, tiny, command), encoding="utf-8")
    if failed := [row.check.name for row in rows if row.result == FAILED]:
        print(f"failed: {', '.join(failed)}; see {log}")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
