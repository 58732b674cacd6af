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
    kept: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    names = wanted or tuple(name for name in tables() if name not in kept["cases"])
    cases = {name: settings_of(kept, name) if name in kept["cases"] else settings_now(name) for name in names}
    outcomes = measure(cases) if cases else {}
    for name, outcome in outcomes.items():
        before = kept["cases"].get(name, {"settings": settings_now(name)})
        kept["cases"][name] = {"settings": before["settings"], "torch": version("torch"), **outcome}
    rows = [f"{json.dumps(name)}: {json.dumps(case)}" for name, case in sorted(kept["cases"].items())]
    text = f'{{"common": {json.dumps(kept["common"])},\n"cases": {{\n' + ",\n".join(rows) + "\n}}\n"
    FILE.write_text(text, encoding="utf-8")


def settings_of(kept: dict[str, Any], name: str) -> dict[str, Any]:
    """The complete settings of a recorded case, in the version in which it was recorded.

    Those of the first version are laid over the common ones; those of later versions are complete.
    """
    common, settings = kept["common"], kept["cases"][name]["settings"]
    if "schema_version" in settings:
        return dict(settings)
    return overlay(common, settings) | {"method": settings.get("method", common["method"])}


def settings_now(name: str) -> dict[str, Any]:
    """The complete settings of a case in the present version."""
    return as_table(build_config(QUICK, {"base": {"model": "base"}, "data": {"images": "images"}}, tables()[name]))


if __name__ == "__main__":
    main(*sys.argv[1:])
