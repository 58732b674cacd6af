"""The quality table's rows: which are wanted, which are skipped, and what the report says of those there are."""

from __future__ import annotations

import json
import statistics
import subprocess
from dataclasses import asdict
from math import inf, sqrt

import pytest
from PIL import Image

from benchmarks.styles import __main__ as command
from benchmarks.styles import rows
from benchmarks.styles.plot import Frame, Point, draw_plot
from benchmarks.styles.report import gather, left_of, write_report
from benchmarks.styles.rows import (
    BASE,
    RESULTS,
    STOPS,
    STYLES,
    Figures,
    Results,
    Row,
    at_rate,
    base_hash,
    digest,
    own_rate,
    settings,
)
from benchmarks.styles.sweep import APART, AT_MOST, NOTABLE, better_rate, every_preset, score, tried, untried, wanted
from trainers.config.build import build_config
from trainers.config.techniques import list_techniques

pytestmark = pytest.mark.slow

LORA, VERA = own_rate("lora"), own_rate("vera")
INKY = (11, 107, 93)
MADE = {"commit": "abc", "machine": "A processor (2 cores), 1 thread(s), load 8.0", "date": "2026-11-25"}


def add(results: Results, row: Row, loss: float, **more: float) -> None:
    results.append(row, figures=asdict(Figures(loss=loss, style=2 * loss, **more)), **MADE)


@pytest.fixture
def results(tmp_path) -> Results:
    """Bare base, a sweep of two presets of which one does not learn, and a second seed on both styles."""
    results = Results(tmp_path / "there" / "styles.jsonl")
    for style in STYLES:
        results.append(Row(BASE, style), figures=asdict(Figures(loss=0.5, style=0.7, truth=0.2)), **MADE)
    for preset, rate, losses in (("lora", LORA, (0.4, 0.35, 0.9)), ("vera", VERA, (0.53, 0.51, 0.52))):
        for share, loss in zip((1 / 3, 1, 3), losses, strict=True):
            add(results, Row(preset, STYLES[0], rate * share), loss, parameters=12345, memory=7 * 10**8)
    add(results, Row("lora", STYLES[0], LORA, 2), 0.37, parameters=12345, memory=7 * 10**8)
    add(results, Row("lora", STYLES[1], LORA, 1), 0.6, parameters=12345, memory=7 * 10**8)
    return results


def test_every_technique_has_a_preset_that_can_be_trained_at_every_rate():
    assert every_preset() == (*(one.name for one in list_techniques()), *STOPS)
    for preset in every_preset():
        for rate in (own_rate(preset), 0.0123):
            table = settings(Row(preset, STYLES[0], rate))
            config = build_config(table, {"name": "x"})
            assert config.train.learning_rate == rate and table["train"]["steps"] == 200
            assert (config.data.trigger == "sks") == (preset == "dreambooth")


def test_all_rates_of_a_preset_are_scaled_and_no_ratio():
    blocks = {"blocks": {"mid_block.*": {"learning_rate": 0.5}}}
    table = {"train": {"learning_rate": 0.1, "steps": 3}, "tokens": {"token_learning_rate": 0.02}, "targets": blocks}
    assert at_rate(table, 0.3) == {
        "train": {"learning_rate": 0.3, "steps": 3},
        "tokens": {"token_learning_rate": 0.06},
        "targets": blocks,
    }
    assert at_rate({"train": {"steps": 3}, "tokens": {"token_learning_rate": 0.02}}, 3e-4) == {
        "train": {"steps": 3, "learning_rate": 3e-4},
        "tokens": {"token_learning_rate": 0.06},
    }


def test_rates_are_tried_until_the_best_has_one_on_each_side():
    losses = {0.01: 1.0}
    optimum = 0.0003
    order = []
    while rates := untried(losses):
        order.append(rates[0])
        losses[rates[0]] = abs(rates[0] - optimum)
    assert order == [0.00333, 0.00111, 0.00037, 0.000123] and len(losses) == AT_MOST
    assert untried({0.00333: 0.5, 0.01: 0.4, 0.03: 0.6}) == [] == untried({})
    assert untried({0.01: 0.4, 0.03: 0.6}) == [0.00333] and untried({0.00333: 0.5, 0.01: 0.4}) == [0.03]
    assert untried({0.003: 0.4, 0.00333: 0.41, 0.01: 0.6, 0.001: 0.5}) == []  # a rate that was rounded since
    assert untried({0.0033: 0.4, 0.00333: 0.41, 0.001: 0.5}) == [0.0099]
    assert untried({0.0004: 0.34, 0.0007: 0.33, 0.0012: 0.35}) == []  # nearer to each other than a sweep's


def test_the_score_weighs_what_is_drawn_like_the_loss():
    assert score({"loss": 0.32, "style": 0.5}) == pytest.approx(0.4) and score(None) == inf
    assert score({"loss": 0.3, "style": 0.5}) == score({"loss": 0.5, "style": 0.3})


def test_a_rate_is_better_if_its_score_is_notably_less():
    assert better_rate({0.001: 0.38, 0.003: 0.4}, 0.003) == 0.001
    assert better_rate({0.001: 0.39, 0.003: 0.4}, 0.003) is None
    assert better_rate({0.001: 0.38}, 0.003) is None is better_rate({}, 0.003)


def test_every_preset_has_the_best_rate_that_was_tried():
    """A preset that changed is tried anew (`python -m benchmarks.styles --sweep --only NAME`)."""
    found = Results(RESULTS).read()
    scores = {preset: tried(found, preset) for preset in every_preset()}
    assert [preset for preset in scores if own_rate(preset) not in scores[preset]] == []
    assert [preset for preset in scores if len(scores[preset]) < 3] == []
    assert [preset for preset in scores if better_rate(scores[preset], own_rate(preset))] == []


def test_the_most_faithful_of_the_studios_three_is_really_that():
    """The third draws notably nearer to a style that the base does not draw than the others, and takes longest."""
    found = Results(RESULTS).read()
    lines = [line for stop in STOPS if (line := gather(found, stop))]
    *distances, least = (statistics.median(line.of(STYLES[0], "style")) for line in lines)
    times = [statistics.median(line.all("cpu_seconds")) for line in lines]
    assert len(distances) == 2 and least < (1 - NOTABLE) * min(distances) and times == sorted(times)


def test_the_sweep_comes_before_every_style_and_seed(results):
    scores = {LORA / 3: 0.4 * sqrt(2), LORA: 0.35 * sqrt(2), LORA * 3: 0.9 * sqrt(2)}
    assert tried(results.read(), "lora") == pytest.approx(scores)
    rates = {"lora": LORA, "loha": own_rate("loha")}
    rows = list(wanted(rates, 2, False, results))
    assert rows[:2] == [Row(BASE, style) for style in STYLES]
    assert rows[2:4] == [Row(preset, STYLES[0], rate) for preset, rate in rates.items()]
    assert rows[4:] == [Row(p, style, rate, seed) for seed in (1, 2) for style in STYLES for p, rate in rates.items()]
    assert list(wanted(rates, 2, True, results)) == rows[:4]

    add(results, Row("loha", STYLES[0], rates["loha"]), 0.4)
    sweep = wanted(["loha"], 1, True, results)
    assert [next(sweep) for _ in range(4)][3] == Row("loha", STYLES[0], pytest.approx(rates["loha"] / APART, rel=0.01))
    assert next(sweep, None) is None  # nothing came of that row


def test_what_is_there_is_skipped_whatever_ended_the_file(results, monkeypatch, tmp_path):
    known = results.read()
    assert len(known) == 10 and all(results.has(row, "other") for row in known)
    whole = results.path.read_text(encoding="utf-8")
    results.path.write_text(whole[:-20], encoding="utf-8")  # killed while it wrote
    assert set(known) - set(results.read()) == {Row("lora", STYLES[1], LORA, 1)}
    add(results, Row("lora", STYLES[1], LORA, 1), 0.6)
    assert set(results.read()) == set(known)
    results.append(Row("loha", STYLES[0], own_rate("loha")), error="it overflowed", **MADE)
    row = Row("loha", STYLES[0], own_rate("loha"))
    assert results.has(row, "abc") and not results.has(row, "new")
    assert not results.has(Row("lora", STYLES[0], LORA, steps=7), "abc")
    outdated = json.loads(whole.splitlines()[2]) | {"digest": "of other settings"}
    results.path.write_text(json.dumps(outdated) + "\n", encoding="utf-8")
    assert results.read() == {}


def test_rows_of_another_base_do_not_count(results, monkeypatch):
    assert len(results.read()) == 10 and '"base": "' + base_hash()[:8] in results.path.read_text(encoding="utf-8")
    monkeypatch.setattr(rows, "base_hash", lambda: "another")
    monkeypatch.setattr(rows, "digest", digest.__wrapped__)  # past its cache
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
    loha = [Row("loha", style, 0.01, seed) for style, seed in ((STYLES[0], 1), (STYLES[1], 1), (STYLES[1], 2))]
    rows = [Row("lora", STYLES[0], LORA), *loha]
    for row in (*rows, *rows[2:]):
        command.run_row(row, results)
    # The first is there, the third crashed and is tried again, the fourth ended with an error and is not.
    tried = [Row(**json.loads(words[-2])) for words in called]
    assert tried == [rows[1], rows[2], rows[3], rows[2]]
    assert "error" in results.read()[rows[3]] and results.read()[rows[2]]["figures"]["loss"] == 0.3


def test_the_report_of_some_rows(results, tmp_path):
    scratch, out = tmp_path / "scratch", tmp_path / "docs" / "comparison.md"
    results.append(Row("loha", STYLES[0], own_rate("loha")), error="it overflowed", **MADE)
    write_report(results, 200, scratch, out)
    table, _, sweep = out.read_text(encoding="utf-8").partition("## The presets' learning rates")
    lines = {line.split(" | ")[0].strip("| "): line for line in table.splitlines()}
    assert "| 0.3600 (0.3500 to 0.3700) | 0.6000 | 0.720 (0.700 to 0.740) | 1.200 | 12,345 |" in lines["`lora`"]
    assert f"| {LORA:.2g} | **does not learn** blob |" in lines["`lora`"]
    assert "| 0.5100 | – |" in lines["`vera`"] and "**does not learn** black-line" in lines["`vera`"]
    assert lines["preset"].endswith("| learning rate | remarks |")
    assert "it overflowed" in lines["`loha`"] and "`lokr`" not in lines
    assert f"{LORA / 3:.2g}: 0.566, **{LORA:.2g}: 0.495**, {LORA * 3:.2g}: 1.273 |" in sweep
    assert f"| {own_rate('loha'):.2g}: error |" in sweep
    assert "0.5000 | 0.5000 | 0.700 | 0.700" in lines["*bare base*"] and "0.200" in lines["*truth, decoded*"]
    assert not out.with_suffix(".webp").exists() and "comparison.webp" not in out.read_text(encoding="utf-8")
    assert out.with_name("comparison-plot.png").exists() and "(comparison-plot.png)" in out.read_text(encoding="utf-8")
    point = left_of(results.read(), gather(results.read(), "lora"))
    assert point == Point("lora", 12345, (0.36 / 0.5 + 0.6 / 0.5) / 2, (0.35 / 0.5 + 1.2) / 2, (0.37 / 0.5 + 1.2) / 2)
    assert left_of(results.read(), gather(results.read(), "vera")) is None

    drawn = [(preset, style) for preset in (BASE, "lora") for style in STYLES] + [("vera", STYLES[0])]
    for preset, style in drawn:
        write_report(results, 200, scratch, out)
        assert not out.with_suffix(".webp").exists()  # while the picture of one row is not there
        folder = scratch / Row(preset, style, {BASE: 0.0, "lora": LORA, "vera": VERA}[preset]).name
        folder.mkdir(parents=True)
        for name, shade in (("drawn", {BASE: "red", "lora": "blue", "vera": "lime"}[preset]), ("truth", "black")):
            Image.new("RGB", (256, 64), shade).save(folder / f"{name}.png")
    write_report(results, 200, scratch, out)
    assert "(comparison.webp)" in out.read_text(encoding="utf-8")
    with Image.open(out.with_suffix(".webp")) as picture:
        colours = [picture.getpixel((150, 60 + 86 * row)) for row in range(4)]
    expected = [(0, 0, 0), (255, 0, 0), (0, 0, 255), (0, 255, 0)]
    assert colours == [pytest.approx(colour, abs=4) for colour in expected]


def test_the_page_of_the_methods_is_what_the_rows_say(tmp_path):
    page = tmp_path / "comparison.md"
    page.with_suffix(".webp").touch()  # it is there and stays, since no row's picture is
    write_report(Results(RESULTS), 200, tmp_path / "none", page)
    assert (RESULTS.parents[1] / "docs" / "comparison.md").read_text(encoding="utf-8") == page.read_text(
        encoding="utf-8"
    )


def test_the_plot_has_a_dot_where_each_preset_lies(tmp_path):
    points = [Point("few", 100, 0.9, 0.85, 1.0), Point("many", 1_000_000, 0.8, 0.8, 0.8)]
    assert draw_plot(points, tmp_path / "plot.png") and not draw_plot([], tmp_path / "none.png")
    with Image.open(tmp_path / "plot.png") as picture:
        dots = [[x, y] for x in range(picture.width) for y in range(picture.height) if picture.getpixel((x, y)) == INKY]
    frame = Frame.around(points)
    for x, y in (frame.place(100, 0.9), frame.place(1_000_000, 0.8)):
        near = [one for one in dots if abs(one[0] - x) <= 6 and abs(one[1] - y) <= 6]
        assert len(near) > 60
        dots = [one for one in dots if one not in near]
    assert dots == [] and frame.place(100, 0.8) == (70, 590) and frame.place(10_000, 0.9)[1] == 320


def test_a_report_of_nothing(tmp_path):
    write_report(Results(tmp_path / "none.jsonl"), 200, tmp_path, tmp_path / "comparison.md")
    assert "no rows yet" in (tmp_path / "comparison.md").read_text(encoding="utf-8")
