"""A run with settings of an earlier version gives the bits that it gave then, for every method and every family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden.cases import FAMILIES, FORMS, tables
from tests.golden.measure import is_recorded_make, measure
from tests.golden.record import settings_of

KEPT: dict[str, Any] = json.loads(Path(__file__).with_name("numbers.json").read_text(encoding="utf-8"))
CASES: dict[str, Any] = KEPT["cases"]
pytestmark = [pytest.mark.long, pytest.mark.slow]


def test_no_numbers_without_their_case():
    assert CASES.keys() <= tables().keys()


def test_methods_give_the_bits_that_they_gave():
    check({name: case for name, case in CASES.items() if name.startswith("sd1/") and not is_form(name)})


@pytest.mark.thorough  # who changes what a setting computes runs this file, as CONTRIBUTING.md says
@pytest.mark.parametrize("family", FAMILIES)
def test_forms_and_other_families_give_the_bits_that_they_gave(family):
    check({name: case for name, case in CASES.items() if name.startswith(f"{family}/")})


def is_form(name: str) -> bool:
    return name.partition("/")[2] in FORMS


def check(wanted: dict[str, Any]) -> None:
    """In one process: to import and load everything takes as long as ten cases."""
    found = measure({name: settings_of(KEPT, name) for name in wanted})
    assert {name: found[name] for name, case in wanted.items() if not same(case, found[name])} == {}


def same(kept: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether a run gave the recorded bits, or the numbers within rounding where torch or the processor differs."""
    if is_recorded_make(kept["torch"]):
        return kept["losses"] == found["losses"] and kept["digest"] == found["digest"]
    losses = found["losses"] == pytest.approx(kept["losses"], rel=1e-5)
    norm = found["norm"] == pytest.approx(kept["norm"], rel=1e-5)
    waves = found["waves"] == pytest.approx(kept["waves"], abs=1e-4 * kept["norm"])
    return kept["tensors"] == found["tensors"] and losses and norm and waves
