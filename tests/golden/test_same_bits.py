"""A run with settings of an earlier version gives the bits that it gave then, for every method and every family."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.golden import record
from tests.golden.cases import FAMILIES, tables
from tests.golden.measure import Outcome, is_recorded_make, measure, measure_here
from tests.golden.record import settings_now, settings_of
from trainers.config.migrations import VERSION

KEPT: dict[str, Any] = json.loads(record.FILE.read_text(encoding="utf-8"))
CASES: dict[str, Any] = KEPT["cases"]
HERE = ("lora", "lokr", "vera", "ia3", "bitfit", "adapter", "krona-b", "vpt")
"""Methods of every kind whose runs are quick; where others start and end is in `test_contract.py` of `adapters`."""
NEW, KNOWN = "sd1/ia3", "sd1/bitfit"
pytestmark = [pytest.mark.long, pytest.mark.slow]


def test_no_numbers_without_their_case():
    assert CASES.keys() <= tables().keys()


@pytest.fixture(scope="module")
def measured() -> dict[str, Outcome]:
    """The methods of `HERE` on sd1, and `NEW` as if it were new."""
    names = [f"sd1/{name}" for name in HERE]
    return measure_here({name: settings_of(KEPT, name) for name in names} | {f"{NEW} now": settings_now(NEW)})


def test_methods_give_the_numbers_that_they_gave(measured):
    check({name: outcome for name, outcome in measured.items() if name in CASES}, same_but_for_rounding)


@pytest.mark.thorough  # who changes what a setting computes runs this file, as CONTRIBUTING.md says
@pytest.mark.parametrize("family", FAMILIES)
def test_every_case_gives_the_bits_that_it_gave(family):
    check(measure({name: settings_of(KEPT, name) for name in CASES if name.startswith(f"{family}/")}), same)


def check(outcomes: dict[str, Outcome], agree: Callable[[Outcome, Outcome], bool]) -> None:
    assert {name: outcome for name, outcome in outcomes.items() if not agree(CASES[name], outcome)} == {}


def test_a_new_case_is_recorded_and_a_known_one_keeps_its_settings(measured, tmp_path, monkeypatch):
    kept = json.loads(record.FILE.read_text(encoding="utf-8"))
    del kept["cases"][NEW]

    def known_outcomes(cases: dict[str, Any]) -> dict[str, Outcome]:
        assert cases == {NEW: settings_now(NEW), KNOWN: settings_of(KEPT, KNOWN)}
        return {NEW: measured[f"{NEW} now"], KNOWN: measured[KNOWN]}

    monkeypatch.setattr(record, "measure", known_outcomes)
    monkeypatch.setattr(record, "FILE", tmp_path / "numbers.json")
    record.FILE.write_text(json.dumps(kept), encoding="utf-8")
    record.main(NEW, KNOWN)
    now = json.loads(record.FILE.read_text(encoding="utf-8"))
    new, known = now["cases"][NEW], now["cases"][KNOWN]
    assert new["settings"]["schema_version"] == VERSION and settings_of(now, NEW) == new["settings"]
    assert len(new["losses"]) == len(known["losses"]) and new["norm"] > 0
    assert known["settings"] == kept["cases"][KNOWN]["settings"] and same_but_for_rounding(kept["cases"][KNOWN], known)
    assert now["cases"].keys() == kept["cases"].keys() | {NEW} and now["common"] == kept["common"]


def same(kept: Outcome, found: Outcome) -> bool:
    """Whether a run gave the recorded bits, or the numbers within rounding where torch or the processor differs."""
    if is_recorded_make(kept["torch"]):
        return kept["losses"] == found["losses"] and kept["digest"] == found["digest"]
    return same_but_for_rounding(kept, found)


def same_but_for_rounding(kept: Outcome, found: Outcome) -> bool:
    losses = found["losses"] == pytest.approx(kept["losses"], rel=1e-5)
    norm = found["norm"] == pytest.approx(kept["norm"], rel=1e-5)
    waves = found["waves"] == pytest.approx(kept["waves"], abs=1e-4 * kept["norm"])
    return kept["tensors"] == found["tensors"] and losses and norm and waves
