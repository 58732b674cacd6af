"""Recording: a case that has no numbers gets them, and one that has keeps its settings and what they give."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.golden import record
from tests.golden.test_same_bits import same
from trainers.config.migrations import VERSION


@pytest.mark.slow
def test_a_new_case_is_recorded_and_a_known_one_keeps_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = json.loads(record.FILE.read_text(encoding="utf-8"))
    del kept["cases"]["sd1/ia3"]
    monkeypatch.setattr(record, "FILE", tmp_path / "numbers.json")
    record.FILE.write_text(json.dumps(kept), encoding="utf-8")
    record.main("sd1/ia3", "sd1/bitfit")
    now = json.loads(record.FILE.read_text(encoding="utf-8"))
    new, known = now["cases"]["sd1/ia3"], now["cases"]["sd1/bitfit"]
    assert new["settings"]["schema_version"] == VERSION and record.settings_of(now, "sd1/ia3") == new["settings"]
    assert len(new["losses"]) == len(known["losses"]) and new["norm"] > 0
    assert known["settings"] == kept["cases"]["sd1/bitfit"]["settings"] and same(kept["cases"]["sd1/bitfit"], known)
    assert now["cases"].keys() == kept["cases"].keys() | {"sd1/ia3"} and now["common"] == kept["common"]
