"""The checks for a graphics card: on a CPU as far as that goes, and on a card that is faked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.card import __main__ as command
from benchmarks.card import checks as all_checks
from benchmarks.card import runs
from benchmarks.card.__main__ import run_checks
from benchmarks.card.checks import Check, Outcome, checks, compare, learned
from benchmarks.card.page import FAILED, NEEDS_CARD, NOT_REACHED, PASSED_TINY, SKIPPED, page
from benchmarks.card.runs import GIB, Bench, Figures, SkippedError
from trainers.planning.needs import MemoryChoice

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
GOOD = Figures((1.0, 0.9), (0.5, 0.4), seconds=0.25, peak=99, promised=100, choice=MemoryChoice())
PAGE = Path(__file__).parents[2] / "docs" / "card.md"


def check(name: str, run: Callable[[Bench], Outcome], on_cpu: str = "judged") -> Check:
    return Check(name, f"sentence of {name}", run, on_cpu)


def fail(_bench: Bench) -> Outcome:
    raise RuntimeError("first line\nsecond line")


def skip(_bench: Bench) -> Outcome:
    raise SkippedError("no bitsandbytes")


def passing(_bench: Bench) -> Outcome:
    return Outcome(GOOD)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(CPU, True, tmp_path)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A card of 12 GB as far as `torch.cuda` tells, and what was asked of it."""
    asked = SimpleNamespace(fractions=[], resets=0, peak=3 * GIB, free=12 * GIB, works=True)

    def reset() -> None:
        asked.resets += 1

    def wait(_device: object = None) -> None:
        if not asked.works:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    fakes: dict[str, object] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "get_device_properties": lambda _device: SimpleNamespace(name="Faked 3060", total_memory=12 * GIB),
        "mem_get_info": lambda _device=None: (asked.free, 12 * GIB),
        "reset_peak_memory_stats": reset,
        "max_memory_allocated": lambda: asked.peak,
        "empty_cache": lambda: None,
        "synchronize": wait,
        "set_per_process_memory_fraction": asked.fractions.append,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    return asked


@pytest.fixture
def on_card(card: SimpleNamespace, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench on that card, whose trainings show good figures and are promised 4 GB."""
    for title in ("SD 1.5", "SDXL"):
        bench.config(title, {})  # writes its files
    monkeypatch.setattr(runs, "take", lambda _config: replace(GOOD, promised=4 * GIB))
    monkeypatch.setattr(runs, "promise_of", lambda _config: 4 * GIB)
    bench.device = CUDA
    return bench


def test_one_failure_stops_nothing_and_is_told(bench: Bench) -> None:
    told = list[str]()
    ways = ((fail, "judged"), (skip, "judged"), (passing, "judged"), (passing, "tried"), (fail, "never"))
    wanted = [check(name, *way) for name, way in zip("abcde", ways, strict=True)]
    rows = run_checks(wanted, bench, 100, told.append)
    assert [row.result for row in rows] == [FAILED, SKIPPED, PASSED_TINY, NEEDS_CARD, NEEDS_CARD]
    assert rows[0].cells()[-1] == "RuntimeError: first line" and rows[1].cells()[-1] == "no bitsandbytes"
    assert len(told[0].splitlines()) > 5 and "second line" in told[0]
    assert rows[2].cells()[3:7] == ["0.250", "0", "0", "0.99"]


def test_what_no_time_is_left_for_is_listed(bench: Bench) -> None:
    clock = count(0, 10.0)  # each look is ten seconds later: a check takes ten, and one more begins after ten
    rows = run_checks([check(name, passing) for name in "abcd"], bench, 45, lambda _text: None, lambda: next(clock))
    assert [row.result for row in rows] == [PASSED_TINY, PASSED_TINY, NOT_REACHED, NOT_REACHED]
    assert rows[-1].cells()[-1] == "out of time"


def test_a_card_that_stopped_working_is_not_asked_again(card: SimpleNamespace, bench: Bench) -> None:
    def breaks(_bench: Bench) -> Outcome:
        card.works = False
        raise RuntimeError("CUDA error")

    bench.device = CUDA
    rows = run_checks([check("a", passing), check("b", breaks), check("c", passing)], bench, 100, lambda _text: None)
    assert [row.result for row in rows] == [PASSED_TINY, FAILED, NOT_REACHED]
    assert "stopped working in b" in rows[-1].cells()[-1]


def test_the_peak_is_held_against_the_planner(on_card: Bench, card: SimpleNamespace) -> None:
    figures = on_card.train("SD 1.5")
    assert figures.ratio == 0.75 and figures.peak == 3 * GIB and card.resets == 1
    assert learned(on_card, figures).problems == []
    assert on_card.train("SD 1.5") is figures, "trained once"
    card.peak = 5 * GIB
    (problem,) = learned(on_card, on_card.train("SD 1.5", train={"ema": 0.9})).problems
    assert problem == "the peak is 1.25 × what the planner promised"


def test_too_small_a_card_is_skipped(on_card: Bench, card: SimpleNamespace) -> None:
    card.free = 4 * GIB
    with pytest.raises(SkippedError, match=r"needs 4\.6 GB, and 4\.0 are free"):
        on_card.train("SD 1.5")


def test_the_planner_gets_a_part_of_the_card(on_card: Bench, card: SimpleNamespace) -> None:
    outcome = all_checks.planned(on_card, "SDXL", 8)
    assert card.fractions == [pytest.approx(7.6 / 12), 1.0] and outcome.problems == []
    assert outcome.notes == ["within 8 GB in 16 bits"]
    card.free = 7 * GIB
    with pytest.raises(SkippedError):
        all_checks.planned(on_card, "SDXL", 8)


def test_a_training_that_learns_nothing_fails(bench: Bench) -> None:
    assert learned(bench, GOOD).problems == []
    for wrong, part in (
        (replace(GOOD, losses=(1.0, 1.0)), "the loss of a repeated batch"),
        (replace(GOOD, losses=()), "the loss of a repeated batch"),
        (replace(GOOD, norms=(0.5, math.inf)), "not finite"),
        (replace(GOOD, skipped=1), "1 steps were skipped"),
    ):
        assert part in learned(bench, wrong).problems[0]


def test_a_result_is_held_against_its_reference() -> None:
    near, far = Outcome(GOOD), Outcome(replace(GOOD, losses=(1.0, 0.99)))
    compare(near, GOOD, 0.01, None)
    compare(far, GOOD, 0.05, None)
    assert (near.notes, near.problems) == (["equal bit for bit"], [])
    assert far.notes == ["differs by 1.0e-01"] and len(far.problems) == 1
    steep = Outcome(replace(GOOD, norms=(0.6, 0.4)))
    compare(steep, GOOD, 0.05)
    assert len(steep.problems) == 1, "the first gradient counts"


def test_without_bitsandbytes_its_checks_are_skipped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_checks, "is_installed", lambda _package: False)
    wanted = [check for check in checks() if check.name in ("packed", "adamw8bit")]
    assert [row.result for row in run_checks(wanted, bench, 100, lambda _text: None)] == [SKIPPED, SKIPPED]


def test_swapped_blocks_train_as_others_do(bench: Bench) -> None:
    """On a CPU, through the same code: files, base, cache, loop, blocks in main memory."""
    (swap,) = (check for check in checks() if check.name == "swap")
    outcome = swap.run(bench)
    assert outcome.problems == [] and outcome.notes == ["equal bit for bit"]
    figures = outcome.figures
    assert figures is not None and figures.choice == MemoryChoice("full", 3, True, False)
    assert len(figures.losses) == runs.STEPS and figures.seconds > 0 and figures.peak > 2**20 < figures.promised
    later = [after < before for before, after in zip(figures.losses, figures.losses[1:], strict=False)]
    assert all(later), "each step takes the same batch"


def test_the_command_fails_if_a_check_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "checks", lambda: [check("a", fail), check("b", passing)])
    app = command.typer.Typer()
    app.command()(command.main)
    files = ["--device", "cpu", "--out", str(tmp_path / "card.md"), "--log", str(tmp_path / "log")]
    result = CliRunner().invoke(app, files)
    assert result.exit_code == 1 and "failed: a" in result.output
    text = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert "| `a` | sentence of a | failed |" in text and "| `b` | sentence of b | passed, tiny |" in text
    assert "Traceback" in (tmp_path / "log").read_text(encoding="utf-8")
    assert CliRunner().invoke(app, [*files, "--only", "b"]).exit_code == 0
    assert CliRunner().invoke(app, [*files, "--only", "c"]).exit_code == 2


def test_the_page_names_the_card(on_card: Bench) -> None:
    on_card.tiny = False
    rows = run_checks([check("a", passing)], on_card, 100, lambda _text: None)
    text = page(rows, CUDA, False, "python -m benchmarks.card")
    assert "Faked 3060, 12.0 GB" in text and "never run" not in text and "1 passed" in text


def test_the_page_lists_every_check() -> None:
    text = PAGE.read_text(encoding="utf-8")
    lines = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert lines == [check.name for check in checks()]
    assert "CUDA" in text or "**This was never run on a graphics card.**" in text
