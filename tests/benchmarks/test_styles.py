"""The quality table's rows: which are wanted, which are skipped, and what the report says of those there are."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict

import pytest
from PIL import Image

from benchmarks.styles import __main__ as command
from benchmarks.styles.report import write_report
from benchmarks.styles.rows import (
    BASE,
    RATES,
    STYLES,
    Figures,
    Results,
    Row,
    at_rate,
    best_rate,
    every_preset,
    settings,
    wanted,
)
from trainers.config_file import build_config
from trainers.techniques import list_techniques

MADE = {"commit": "abc", "machine": "A processor (2 cores), 1 thread(s), load 8.0", "date": "2026-11-25"}


def add(results: Results, row: Row, loss: float, **more: float) -> None:
    results.append(row, figures=asdict(Figures(loss=loss, style=2 * loss, **more)), **MADE)


@pytest.fixture
def results(tmp_path) -> Results:
    """Bare base, a sweep of two presets of which one does not learn, and a second seed on both styles."""
    results = Results(tmp_path / "there" / "styles.jsonl")
    for style in STYLES:
        results.append(Row(BASE, style), figures=asdict(Figures(loss=0.5, style=0.7, truth=0.2)), **MADE)
    for preset, losses in (("lora", (0.4, 0.35, 0.9)), ("vera", (0.52, 0.51, 0.53))):
        for rate, loss in zip(RATES, losses, strict=True):
            add(results, Row(preset, STYLES[0], rate), loss, learning_rate=0.003, parameters=12345, memory=7 * 10**8)
    add(results, Row("lora", STYLES[0], "third", 2), 0.37, learning_rate=0.003, parameters=12345, memory=7 * 10**8)
    add(results, Row("lora", STYLES[1], "third", 1), 0.6, learning_rate=0.003, parameters=12345, memory=7 * 10**8)
    return results


def test_every_technique_has_a_preset_that_can_be_trained_at_every_rate():
    assert every_preset() == tuple(one.name for one in list_techniques())
    for preset in every_preset():
        tables = {rate: settings(Row(preset, STYLES[0], rate)) for rate in RATES}
        rates = {n: build_config(t, {"name": "x"}).train.learning_rate for n, t in tables.items()}
        assert rates["triple"] == pytest.approx(3 * rates["preset"], rel=1e-2)
        assert rates["third"] == pytest.approx(rates["preset"] / 3, rel=1e-2)
        assert all(table["train"]["steps"] == 200 for table in tables.values())


def test_all_rates_of_a_preset_are_scaled_and_no_ratio():
    blocks = {"blocks": {"mid_block.*": {"learning_rate": 0.5}}}
    table = {"train": {"learning_rate": 0.1, "steps": 3}, "tokens": {"token_learning_rate": 0.02}, "targets": blocks}
    assert at_rate(table, 3.0) == {
        "train": {"learning_rate": 0.3, "steps": 3},
        "tokens": {"token_learning_rate": 0.06},
        "targets": blocks,
    }
    assert at_rate({"train": {"steps": 3}}, 3.0)["train"]["learning_rate"] == pytest.approx(3e-4)


def test_the_best_rate_goes_on_to_every_style_and_seed(results):
    assert best_rate(results.read(), "lora") == "third" and best_rate(results.read(), "loha") is None
    rows = list(wanted(["lora", "loha"], 2, False, results))
    assert rows[:2] == [Row(BASE, style) for style in STYLES]
    assert rows[2:8] == [Row(preset, STYLES[0], rate) for rate in RATES for preset in ("lora", "loha")]
    assert rows[8:] == [Row("lora", style, "third", seed) for seed in (1, 2) for style in STYLES]
    assert list(wanted(["lora", "loha"], 2, True, results)) == rows[:8]


def test_what_is_there_is_skipped_whatever_ended_the_file(results, monkeypatch, tmp_path):
    known = results.read()
    assert len(known) == 10 and all(results.has(row, "other") for row in known)
    whole = results.path.read_text(encoding="utf-8")
    results.path.write_text(whole[:-20], encoding="utf-8")  # killed while it wrote
    assert set(known) - set(results.read()) == {Row("lora", STYLES[1], "third", 1)}
    add(results, Row("lora", STYLES[1], "third", 1), 0.6)
    assert set(results.read()) == set(known)
    results.append(Row("loha", STYLES[0]), error="it overflowed", **MADE)
    assert results.has(Row("loha", STYLES[0]), "abc") and not results.has(Row("loha", STYLES[0]), "new")
    assert not results.has(Row("lora", STYLES[0], steps=7), "abc")
    outdated = json.loads(whole.splitlines()[2]) | {"digest": "of other settings"}
    results.path.write_text(json.dumps(outdated) + "\n", encoding="utf-8")
    assert results.read() == {}


def test_a_row_is_one_process_and_one_line(results, monkeypatch, tmp_path):
    monkeypatch.setattr(command, "SCRATCH", tmp_path / "scratch")
    monkeypatch.setattr(command, "commit", lambda: "abc")
    called = []

    def process(words, **options):
        called.append(words)
        if len(called) == 2:
            return subprocess.CompletedProcess(words, 1)
        row = Row(**json.loads(words[-2]))
        found = {"figures": asdict(Figures(loss=0.3, style=0.4))} if row.seed == 1 else {"error": "it overflowed"}
        (tmp_path / "scratch" / row.name / "result.json").write_text(json.dumps(found), encoding="utf-8")
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", process)
    rows = [Row("lora", STYLES[0]), Row("loha", STYLES[0]), Row("loha", STYLES[1]), Row("loha", STYLES[1], seed=2)]
    for row in (*rows, *rows[2:]):
        command.run_row(row, results)
    # The first is there, the third crashed and is tried again, the fourth ended with an error and is not.
    tried = [Row(**json.loads(words[-2])) for words in called]
    assert tried == [rows[1], rows[2], rows[3], rows[2]]
    assert "error" in results.read()[rows[3]] and results.read()[rows[2]]["figures"]["loss"] == 0.3


def test_the_report_of_some_rows(results, tmp_path):
    scratch, out = tmp_path / "scratch", tmp_path / "docs" / "methods.md"
    results.append(Row("loha", STYLES[0]), error="it overflowed", **MADE)
    write_report(results, 200, scratch, out)
    lines = {line.split(" | ")[0].strip("| "): line for line in out.read_text(encoding="utf-8").splitlines()}
    assert "| 0.3600 (0.3500 to 0.3700) | 0.6000 | 0.720 (0.700 to 0.740) | 1.200 | 12,345 |" in lines["`lora`"]
    assert "| 0.003 (×⅓) | **does not learn** blob | abc |" in lines["`lora`"]
    assert "| 0.5100 | – |" in lines["`vera`"] and "**does not learn** black-line |" in lines["`vera`"]
    assert "it overflowed" in lines["`loha`"] and "`lokr`" not in lines
    assert "0.5000 | 0.5000 | 0.700 | 0.700" in lines["*bare base*"] and "0.200" in lines["*truth, decoded*"]
    assert not out.with_suffix(".png").exists() and "methods.png" not in out.read_text(encoding="utf-8")

    for row, colour in ((Row(BASE, STYLES[0]), "red"), (Row("lora", STYLES[0], "third"), "blue")):
        (scratch / row.name).mkdir(parents=True)
        for name, shade in (("drawn", colour), ("truth", "black")):
            Image.new("RGB", (256, 64), shade).save(scratch / row.name / f"{name}.png")
    write_report(results, 200, scratch, out)
    assert "(methods.png)" in out.read_text(encoding="utf-8")
    with Image.open(out.with_suffix(".png")) as picture:
        colours = [picture.getpixel((150, 60 + 86 * row)) for row in range(3)]
    assert colours == [(0, 0, 0), (255, 0, 0), (0, 0, 255)]


def test_a_report_of_nothing(tmp_path):
    write_report(Results(tmp_path / "none.jsonl"), 200, tmp_path, tmp_path / "methods.md")
    assert "no rows yet" in (tmp_path / "methods.md").read_text(encoding="utf-8")
