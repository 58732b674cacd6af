"""StyleBench: which rows are wanted, which are skipped, and what the page says of those there are."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict

import pytest
import torch
from PIL import Image

from benchmarks import quiet
from benchmarks.styles import __main__ as command
from benchmarks.styles import measure, rows
from benchmarks.styles.figures import Summary, compare, least, near, pareto, shared_styles, spread, summarise
from benchmarks.styles.plan import COUNTED, EIGHT, NOTHING_TO_LEARN, STYLES, missing, others, wanted
from benchmarks.styles.plot import Frame, Point, draw_plot
from benchmarks.styles.recipes import RECIPES, SAME_WORK
from benchmarks.styles.report import sentences, write_report
from benchmarks.styles.rows import (
    BASE,
    BUDGET,
    RESULTS,
    SIZED,
    STOPS,
    UNIT,
    Figures,
    Results,
    Row,
    Setup,
    base_hash,
    digest,
    settings,
    steps_of,
)
from tests.tiny import tiny_folder
from tools.starter.networks.perception import Perception, make_network
from trainers.config.build import build_config
from trainers.config.presets import find_preset, list_presets
from trainers.config.tables import overlay
from trainers.config.techniques import list_techniques

pytestmark = pytest.mark.slow

SETUP = Setup()
INKY = (11, 107, 93)
MADE = {"commit": "abc", "machine": "A processor (2 cores), 1 thread(s), load 8.0", "date": "2026-12-02"}


def add(results: Results, row: Row, style: float, content: float, **more: float) -> None:
    results.append(row, figures=asdict(Figures(style, content, **more)), **MADE)


@pytest.fixture
def results(tmp_path) -> Results:
    """The base on all styles, and all eight with 12 pictures on two that count and on the one that does not."""
    results = Results(tmp_path / "there" / "stylebench.jsonl")
    for style in STYLES:
        add(results, Row(BASE, style), 0.8, 0.6, truth=0.2, halves=0.1)
    for style in (*COUNTED[:2], NOTHING_TO_LEARN):
        for number, preset in enumerate(EIGHT):
            more = {"steps": 200 - number, "bytes": 10**6 * (number + 1), "cpu_seconds": 60.0, "memory": 7 * 10**8}
            far = 0.4 + 0.08 * number + (0.2 if style == NOTHING_TO_LEARN else 0.0)
            add(results, Row(preset, style, 12), far, 0.5 - 0.01 * number, change=0.3, **more)
    return results


# ---------------------------------------------------------------- the rows
def test_every_preset_can_be_trained_at_its_size_on_the_starter_and_elsewhere(tmp_path):
    assert {*EIGHT, *others()} == {*(each.name for each in list_techniques()), *STOPS}
    for preset in (*EIGHT, *others()):
        table = settings(preset, SETUP)
        config = build_config(table, {"name": "x"})
        own = build_config(find_preset(preset).settings_for("starter"), {"name": "x"})
        assert config.train.learning_rate == own.train.learning_rate
        assert measure.config_of(preset, SETUP, Row(preset, "blob", 12), tmp_path).sample.seeds == measure.SEEDS
        assert (config.data.trigger == "sks") == (preset == "dreambooth") and config.train.batch_size == 4
        assert all(getattr(config.method, key) == value for key, value in SIZED.get(preset, {}).items())
    elsewhere = Setup("/models/an-sdxl.safetensors", "cuda")
    assert Setup("of/stable-diffusion-v1-5").name == "stable-diffusion-v1-5" and elsewhere.scale == 4
    assert elsewhere.name == "an-sdxl" and elsewhere.budget == find_preset(UNIT).settings["train"]["steps"]
    assert settings("lora", elsewhere)["train"] == find_preset("lora").settings["train"]


def test_a_recipe_is_lora_with_one_change_that_is_no_default():
    plain = settings(UNIT, SETUP)
    assert not RECIPES.keys() & {each.name for each in list_presets()}
    for name, change in RECIPES.items():
        table = settings(name, SETUP)
        config = build_config(table, {"name": "x"})
        trigger = {"data": {"trigger": "sks"}} if "prior" in change else {}
        assert table == overlay(overlay(plain, change), trigger)
        assert (
            config != build_config(plain, {"name": "x"}) and config.method == build_config(plain, {"name": "x"}).method
        )
        assert measure.config_of(name, SETUP, Row(name, "blob", 12), RESULTS.parent, 9).train.steps == 9


def test_every_training_costs_the_same_save_the_studios_three():
    assert steps_of("lora", 1.0, SETUP) == BUDGET and steps_of("boft", 4.0, SETUP) == BUDGET / 4
    assert steps_of("quick", 4.0, SETUP) == find_preset("quick").starter["train"]["steps"]
    assert steps_of("full", 10.0**6, SETUP) == 1


def test_the_first_seed_of_the_eight_comes_first_style_by_style():
    order = list(wanted())
    first = [Row(each, style, 12) for style in STYLES for each in EIGHT]
    assert order[:6] == [Row(BASE, style) for style in STYLES] and order[6:54] == first
    assert order[54:102] == [Row(row.preset, row.style, 4) for row in first]
    last = [Row(each, style, 12, seed) for seed in (1, 2, 3) for style in STYLES for each in RECIPES]
    assert order[-len(last) :] == last
    assert order[102] == Row("quick", STYLES[0], 12) and {row.seed for row in order[: -192 - len(last)]} == {1}
    assert len(set(order)) == len(order) == 6 + 3 * 2 * 48 + 6 * len(others()) + len(last)
    assert {row.preset for row in wanted(["vera"])} == {BASE, "vera"} and len([*wanted(["vera"], 1)]) == 6 + 12


def test_what_is_there_is_skipped_whatever_ended_the_file(results):
    known = results.read()
    assert len(known) == 30 and all(results.has(row, "other") for row in known)
    whole = results.path.read_text(encoding="utf-8")
    results.path.write_text(whole[:-20], encoding="utf-8")  # killed while it wrote
    (lost,) = set(known) - set(results.read())
    assert lost == Row(EIGHT[-1], NOTHING_TO_LEARN, 12) and not results.has(lost, "other")
    add(results, lost, 0.5, 0.5)
    assert set(results.read()) == set(known)
    results.append(Row("loha", COUNTED[0], 4), error="it overflowed", **MADE)
    row = Row("loha", COUNTED[0], 4)
    assert results.has(row, "abc") and not results.has(row, "new")  # tried again once the code has changed
    outdated = json.loads(whole.splitlines()[2]) | {"digest": "of other settings"}
    gone = json.loads(whole.splitlines()[2]) | {"row": asdict(Row("a preset that is no more", COUNTED[0]))}
    results.path.write_text(f"{json.dumps(outdated)}\n{json.dumps(gone)}\n", encoding="utf-8")
    assert results.read() == {}


def test_rows_of_another_base_or_device_do_not_count(results, monkeypatch):
    assert len(results.read()) == 30 and '"base": "' + base_hash()[:8] in results.path.read_text(encoding="utf-8")
    assert Results(results.path, Setup(device="cuda")).read() == {} == Results(results.path, Setup("sdxl")).read()
    monkeypatch.setattr(rows, "base_hash", lambda: "another")
    monkeypatch.setattr(rows, "digest", digest.__wrapped__)  # past its cache
    assert results.read() == {}


def test_the_first_cost_of_a_step_stays(results):
    free = dict.fromkeys((UNIT, *SAME_WORK), 1.0)
    assert results.costs() == free
    for cost in (1.5, 1.7):
        results.append_cost("loha", cost=cost, seconds=0.4, **MADE)
    assert results.costs() == {**free, "loha": 1.5} and len(results.read()) == 30


def test_a_row_is_one_process_and_one_line_and_its_cost_is_measured_once(results, monkeypatch, tmp_path):
    monkeypatch.setattr(command, "SCRATCH", tmp_path / "scratch")
    monkeypatch.setattr(command, "commit", lambda: "abc")
    orders = []

    def process(words, **options):
        order = json.loads(words[-2])
        orders.append({name: value for name, value in order.items() if name != "setup"})
        if len(orders) == 3:
            return subprocess.CompletedProcess(words, 1)
        gives = {"figures": asdict(Figures(0.3, 0.4))} if "row" in order else {"cost": 2.0, "seconds": 0.6}
        if order.get("row", {}).get("style") == STYLES[2]:
            gives = {"error": "it overflowed"}
        (tmp_path / "scratch" / base_hash()[:8] / words[-1].rpartition("/")[2] / "result.json").write_text(
            json.dumps(gives)
        )
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", process)
    there, first, crashes, fails = Row("lora", STYLES[0], 12), *(Row("ssf", style, 12) for style in STYLES[:3])
    for row in (there, first, crashes, fails, crashes, fails):
        command.run_row(row, results)
    trained = [{"row": asdict(row), "steps": BUDGET // 2} for row in (first, crashes, fails, crashes)]
    assert orders == [{"preset": "ssf"}, *trained]  # what crashed is tried again, what ended with an error is not
    assert results.costs()["ssf"] == 2.0 and results.read()[crashes]["figures"]["style"] == 0.3
    assert "error" in results.read()[fails]


# ---------------------------------------------------------------- a real row
@pytest.fixture
def other_base(tmp_path, monkeypatch) -> Setup:
    """A tiny base in a folder, with a judge of random weights."""
    judge = Perception(make_network(), torch.device("cpu"))
    monkeypatch.setattr(measure, "load_perception", lambda *_: judge)
    monkeypatch.setattr(quiet, "NOTICED", 0.0)
    return Setup(str(tiny_folder("sd1", tmp_path / "tiny")))


def test_a_row_on_another_base_trains_and_is_looked_at_from_its_file(other_base, tmp_path):
    order = {"setup": asdict(other_base), "row": asdict(Row("lora", "photograph", 4)), "steps": 2}
    measure.main(json.dumps(order), str(tmp_path / "rows" / "row"))
    result = json.loads((tmp_path / "rows" / "row" / "result.json").read_text())
    figures = Figures(**result["figures"])
    assert figures.steps == 2 and figures.bytes > 10**5 and figures.parameters > 10**4 and figures.memory > 10**8
    assert 0 < figures.change < 0.1 < figures.style and 0 < figures.content < 1 and figures.truth == 0
    assert len([*(tmp_path / "rows" / "row" / "trained").glob("*.jpg")]) == 4
    with Image.open(tmp_path / "rows" / "row" / "drawn.png") as drawn:
        assert drawn.width == 4 * drawn.height  # one of each concept

    untouched = measure.measure(Row(BASE, "photograph"), 0, other_base, tmp_path / "rows" / "base")
    assert untouched.change == pytest.approx(0, abs=1e-6) and untouched.truth > 0 and untouched.halves > 0
    assert len([*(tmp_path / "rows").glob("base-*.pt")]) == 1  # drawn once for both


def test_visual_prompts_that_act_on_captions_alone_are_drawn_in_batches(other_base, tmp_path):
    order = {"setup": asdict(other_base), "row": asdict(Row("vpt", "photograph", 4)), "steps": 1}
    measure.main(json.dumps(order), str(tmp_path / "row"))
    assert Figures(**json.loads((tmp_path / "row" / "result.json").read_text())["figures"]).change > 0


def test_the_cost_of_a_step_is_that_beside_loras(other_base, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "ROUNDS", 1)
    monkeypatch.setattr(measure, "_steps", lambda config: [0.5] if config.method.name == "lora" else [0.9, 0.8, 0.7])
    assert measure.cost("loha", other_base, tmp_path / "cost") == {"cost": 1.6, "seconds": 0.8}


def test_a_failing_row_is_one_sentence(other_base, tmp_path):
    order = {"setup": asdict(other_base), "row": asdict(Row("b-lora", "photograph", 4)), "steps": 2}
    measure.main(json.dumps(order), str(tmp_path / "row"))
    assert "b-lora" in json.loads((tmp_path / "row" / "result.json").read_text())["error"]


# ---------------------------------------------------------------- figures and sentences
def test_means_are_of_the_styles_that_all_eight_share(results):
    known = results.read()
    assert shared_styles(known, 12) == COUNTED[:2] and shared_styles(known, 4) == ()
    add(results, Row("lora", COUNTED[0], 12, 2), 0.6, 0.7, steps=200, bytes=10**6, cpu_seconds=80.0, memory=10**9)
    add(results, Row("quick", COUNTED[0], 12), 0.1, 0.1)  # on one of them alone
    first = next(each for each in summarise(results.read(), 12) if each.preset == "lora")
    assert first == Summary("lora", pytest.approx((0.5 + 0.4) / 2 / 0.8), pytest.approx(0.55), pytest.approx(0.225),
                            10**6, 60.0, 7 * 10**8, 200, 3)  # fmt: skip
    assert [each.preset for each in summarise(known, 12)] == [*EIGHT] and summarise(known, 4) == []
    assert spread(known) is None and spread(results.read()) == pytest.approx(0.5)


def summary(preset: str, left: float, content: float = 0.5) -> Summary:
    return Summary(preset, left, content, 0.0, 10**6, 1.0, 1.0, 200, 5)


def test_what_differs_too_little_is_not_told_apart():
    close, far, best = summary("close", 0.61), summary("far", 0.7), summary("best", 0.6)
    assert least([close, far, best], "left") == (best, [close])
    assert near([close, far, best, summary("lost", 0.9)]) == [close, best] and near([]) == []


def test_no_other_is_better_in_both_than_one_on_the_front():
    points = [summary("a", 0.5, 0.6), summary("b", 0.6, 0.5), summary("c", 0.6, 0.55), summary("d", 0.7, 0.5)]
    assert [each.preset for each in pareto(points)] == ["a", "b"]


def test_five_sentences_have_their_figures_and_say_what_they_rest_on(results):
    first, few, subject, small, studio = sentences(results.read())
    assert first.startswith("**As near to the style as possible, from 12 pictures**: `lora`, which leaves 50.0%")
    assert "`t-lora`, the last, leaves 120.0%" in first and first.endswith("(16 trainings).")
    assert few == "**From 4 pictures**: not yet measured." and "not yet measured" in studio
    assert (
        "`lora` (distance in content 0.500, 50.0% of the distance in style left)" in subject
        and "(2 trainings)" in subject
    )
    assert "`lora` (1,000 kB," in small
    for style in COUNTED[:2]:
        add(results, Row("ssf", style, 12), 0.41, 0.3, bytes=2000)
        add(results, Row("quick", style, 12), 0.44, 0.5, cpu_seconds=16.0)
    *_, subject, small, studio = sentences(results.read())
    assert "`ssf` (2 kB, 51.2% of" in small and "`ssf` (distance in content 0.300" in subject
    assert "`quick` leaves 55.0% after 16 s of CPU time (2 trainings)" in studio
    assert all("not yet measured" in each for each in sentences({})) and len(sentences({})) == 5


def test_a_recipe_is_compared_with_lora_on_the_same_style_and_seed(results, tmp_path):
    name, *_others, worse = RECIPES
    assert compare(results.read(), name) is None
    first, second, without = COUNTED[:3]
    for style, distance, seed in ((first, 0.32, 1), (second, 0.16, 1), (first, 0.1, 2), (without, 0.1, 1)):
        add(results, Row(name, style, 12, seed), distance, 0.45, steps=200)  # lora: 0.4, base: 0.8
    add(results, Row(name, NOTHING_TO_LEARN, 12), 0.68, 0.5, steps=200)
    for style in (first, second):
        add(results, Row(worse, style, 12), 0.48, 0.5, steps=180)
    difference = compare(results.read(), name)
    assert difference.style == pytest.approx((-0.2, -0.3, -0.1)) and difference.content[0] == pytest.approx(-0.05)
    assert difference.harm == pytest.approx(0.1) and (difference.steps, difference.trainings) == (200, 3)
    write_report(results, tmp_path / "scratch", tmp_path / "comparison.md")
    text = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    section = text[text.index("## Settings of recipes") : text.index("## How it is measured")]
    best, worst = (line for line in section.splitlines() if line.startswith("| ") and "%" in line)
    assert best.startswith(f"| {name} | -20.0% (-30.0% to -10.0%) | **nearer** | -0.050") and "+10.0%" in best
    assert worst.startswith(f"| {worse} | +10.0% (+10.0% to +10.0%) | farther | +0.000") and "| – |" in worst
    assert f"**{'*' + name + '*'}** comes nearer." in section


# ---------------------------------------------------------------- the page
def test_the_page_of_some_rows_names_what_is_missing(results, tmp_path):
    out = tmp_path / "docs" / "comparison.md"
    results.append(Row("loha", STYLES[0], 4), error="it overflowed", **MADE)
    write_report(results, tmp_path / "scratch", out)
    text = out.read_text(encoding="utf-8")
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert text.index("**As near") < text.index("comparison-plot.png") < text.index("| preset | style left")
    assert "| `lora` | 50.0% | – | 0.500 | – | 0.300 | 200 | 60 | 700 | 1,000 | 2 |" in text.splitlines()
    assert lines["`lora`"] == "| `lora` | 0.400 | 0.400 | – | – | – | 0.600 |"
    assert lines["*untouched base*"].count("0.800") == 6 and "0.100" in lines["*half of the truth*"]
    assert "5 of 8 presets end farther from it" in text
    assert f", `lora` ({', '.join(STYLES[2:5])}), " in text and "* 4 pictures, seed 3: the eight methods\n" in text
    total = len([*wanted()])
    assert (
        f"{total - 31} of {total} cells" in text and "Ended with an error: `loha` on black-line: it overflowed" in text
    )
    assert not out.with_suffix(".webp").exists() and "comparison.webp" not in text
    assert out.with_name("comparison-plot.png").exists()


def test_missing_cells_are_grouped_by_pictures_and_seed():
    known = dict.fromkeys(row for row in wanted() if row != Row("oft", "blob", 4, 2))
    assert missing(known) == {(4, 2): {"oft": ["blob"]}} and missing(known, 1) == {}


def test_the_picture_is_drawn_once_all_pictures_are_there(results, tmp_path):
    out, scratch = tmp_path / "comparison.md", tmp_path / "scratch"
    for style in STYLES:
        add(results, Row("quick", style, 12), 0.5, 0.5)
    for preset, pictures, shade in ((BASE, 0, "red"), ("quick", 12, "blue")):
        write_report(results, scratch, out)
        assert not out.with_suffix(".webp").exists()  # while the pictures of a row are not there
        for style in STYLES:
            folder = scratch / Row(preset, style, pictures).name
            folder.mkdir(parents=True)
            for name, colour in (("drawn", shade), ("truth", "black")):
                Image.new("RGB", (256, 64), colour).save(folder / f"{name}.png")
    write_report(results, scratch, out)
    assert "(comparison.webp)" in out.read_text(encoding="utf-8")
    with Image.open(out.with_suffix(".webp")) as picture:
        colours = [picture.getpixel((150, 60 + 86 * row)) for row in range(3)]
    assert colours == [pytest.approx(colour, abs=4) for colour in ((0, 0, 0), (255, 0, 0), (0, 0, 255))]


def test_the_page_of_the_methods_is_what_the_rows_say(tmp_path):
    page = tmp_path / "comparison.md"
    docs = RESULTS.parents[1] / "docs" / "comparison.md"
    if docs.with_suffix(".webp").exists():
        page.with_suffix(".webp").touch()  # it stays, since no row's picture is here
    write_report(Results(RESULTS), tmp_path / "none", page)
    assert docs.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")


def test_the_plot_has_a_dot_where_each_preset_lies(tmp_path):
    points = [Point("few", 0.6, 0.58, front=True), Point("many", 0.9, 0.51, front=True)]
    assert draw_plot(points, tmp_path / "plot.png") and not draw_plot([], tmp_path / "none.png")
    frame = Frame.around(points)
    with Image.open(tmp_path / "plot.png") as picture:
        for point in points:
            x, y = frame.place(point.across, point.up)
            near_it = [picture.getpixel((round(x) + dx, round(y) + dy)) for dx in (-2, 0, 2) for dy in (-2, 0, 2)]
            assert set(near_it) == {INKY}
        x, y = frame.place(0.75, 0.545)
        assert INKY not in {picture.getpixel((round(x), round(y) + dy)) for dy in range(-8, 9)}
    assert frame.across.low <= 0.6 < 0.9 <= frame.across.high and len(frame.across.lines) <= 13


def test_a_page_of_nothing(tmp_path):
    write_report(Results(tmp_path / "none.jsonl"), tmp_path, tmp_path / "comparison.md")
    assert "no rows yet" in (tmp_path / "comparison.md").read_text(encoding="utf-8")
