"""Writes the numbers that runs are held to: `python -m tests.golden.record [CASE …]`.

Recorded numbers are a promise: settings that were once recorded go on to give what they gave. Only new cases are
recorded, and cases whose style file was meant to get another form: their losses stay as they were. A change that alters
results is a new setting, and the recorded settings keep the old value.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.golden.cases import QUICK, tables
from tests.golden.measure import measure
from trainers.config.build import as_table, build_config
from trainers.config.tables import overlay

FILE = Path(__file__).with_name("numbers.json")


def main(*wanted: str) -> None:
    """Record the cases that are asked for, or those that have no numbers yet."""
    kept: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"cases": {}}
    cases = {
        name: as_table(build_config(QUICK, {"base": {"model": "base"}, "data": {"images": "images"}}, table))
        for name, table in tables().items()
        if name in wanted or (not wanted and name not in kept["cases"])
    }
    outcomes = measure(cases) if cases else {}
    kept["common"] = kept.get("common") or next(iter(cases.values()))
    for name, outcome in outcomes.items():
        kept["cases"][name] = {"settings": _apart(kept["common"], cases[name]), "torch": version("torch"), **outcome}
    rows = [f"{json.dumps(name)}: {json.dumps(case)}" for name, case in sorted(kept["cases"].items())]
    text = f'{{"common": {json.dumps(kept["common"])},\n"cases": {{\n' + ",\n".join(rows) + "\n}}\n"
    FILE.write_text(text, encoding="utf-8")


def _apart(common: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """The least table that gives `table` when laid over `common`."""
    found = {}
    for key, value in table.items():
        old = common.get(key)
        if key == "method" or not isinstance(value, dict) or not isinstance(old, dict):
            if value != old:
                found[key] = value
        elif inner := _apart(old, value):
            found[key] = inner
    whole = {key: value for key, value in found.items() if key == "method"}
    assert overlay(common, found) | whole == table
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
