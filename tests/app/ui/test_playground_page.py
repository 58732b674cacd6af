"""The Playground in a real browser: real styles are drawn with by real jobs while the page goes on being used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from app.jobs.store import Store
from app.studio.paths import Paths
from tests.app.ui.server import Process
from tests.app.ui.visitor import ALL_SENT, Tab, blank_page, open_tab, widest
from tests.trainers.tiny_runs import quick_settings, write_images
from trainers.runs.run import Run
from trainers.training.train import train

HELD = """
import time
from pathlib import Path
from app.studio.generation import generate as module
def generate(*given, on_progress, at_once=module.generate, **more):
    def progress(kind, **facts):
        on_progress(kind, **facts)
        while kind == "working" and Path({file!r}).exists():
            time.sleep(0.05)
    return at_once(*given, on_progress=progress, **more)
module.generate = generate
"""
"""For a studio's `before`: a drawing goes no further than its first step while there is this file."""
NASTY = "<b>a fox</b> ${document.title='x'} {{1+1}} \"'"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_bases: dict[str, Path], sdxl_style: Path) -> Iterator[Process]:
    """A studio with two styles on a tiny SD 1, the newer one called Harbour, and one made elsewhere for SDXL."""
    folder = tmp_path_factory.mktemp("playground")
    paths = Paths(folder / "outputs")
    paths.make()
    shutil.copyfile(sdxl_style, paths.styles / "Ink wash.safetensors")
    strong = {"train": {"learning_rate": 1.0}, "data": {"trigger": "dusk style"}}
    images = write_images(folder / "images")
    train(quick_settings(tiny_bases["sd1"], images, {"name": "Dusk"}, strong), paths.runs)
    shutil.copytree(paths.runs / "Dusk", paths.runs / "Harbour")
    (paths.runs / "Harbour" / "style" / "Dusk.safetensors").touch()
    shutil.copyfile(paths.runs / "Harbour" / "style" / "Dusk.safetensors", Run(paths.runs / "Harbour").snapshot(1))
    held = HELD.format(file=str(folder / "held"))
    process = Process(paths.runs, before=held, VELATURA_MODELS=str(tiny_bases["sd1"]))
    yield process
    for job in Store(paths.runs).active():
        job.process.kill()
    process.close()


@pytest.fixture(scope="module")
def tab(browser: Any, place: Process) -> Iterator[Tab]:
    with open_tab(browser, place.url) as opened:
        yield opened


@pytest.fixture
def page(tab: Tab, place: Process) -> Iterator[Any]:
    with tab.visit() as opened:
        visit(opened, place)
        yield opened


def visit(page: Any, place: Process, style: str = "") -> None:
    page.goto(f"{place.url}playground{style}")
    page.wait_for_selector("#pg-form form")
    page.wait_for_selector("#pg-picture .pair")


def unfold(page: Any) -> None:
    if page.locator(".more-fields[open]").count() == 0:
        page.locator(".more-fields > summary").click()


def fill(page: Any, **typed: str) -> None:
    """Fill the fields; drawings of these tests are small."""
    unfold(page)
    for label, value in ({"Steps": "1", "Size": "32"} | typed).items():
        page.get_by_label(label, exact=True).fill(value)


def draw(page: Any) -> None:
    page.get_by_role("button", name="Draw", exact=True).click()


def wait_until_drawn(page: Any) -> None:
    page.wait_for_selector("#pg-going .going", state="detached")
    page.wait_for_function("[...document.querySelectorAll('.pair img')].every(one => one.naturalWidth > 0)")


def save(page: Any, name: str, place: Path) -> tuple[Any, dict[str, Any]]:
    """A picture as it is downloaded: its pixels and its parameters."""
    with page.expect_download() as saved:
        page.get_by_role("link", name=f"Download: {name}").click()
    saved.value.save_as(place / saved.value.suggested_filename)
    with Image.open(place / saved.value.suggested_filename) as picture:
        return np.asarray(picture.convert("RGB"), int), json.loads(picture.text["velatura"])


def test_two_pictures_side_by_side_while_the_page_goes_on_being_used(page, place, tmp_path):
    expect(page.locator(".go:visible")).to_have_text(["Draw"], use_inner_text=True)
    expect(page.get_by_label("Style 1").locator("option:checked")).to_have_text("Harbour")
    expect(page.get_by_label("Strength of Harbour")).to_have_value("0.8")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a fox")
    page.get_by_role("button", name="dusk style").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a fox, dusk style")
    fill(page, Prompt=NASTY, Steps="2", Seed="7", **{"Not in the picture (negative prompt)": "rain"})
    held = place.out.parent / "held"
    held.touch()
    draw(page)
    page.wait_for_selector("#pg-going .going")

    page.get_by_label("Prompt", exact=True).fill("a boat in the meantime")
    page.wait_for_selector(".going [role=progressbar][aria-valuenow]")
    fill(page, Steps="100")  # long enough to be cancelled
    draw(page)
    page.wait_for_selector("#pg-going .going:nth-of-type(2)")
    visit(page, place)
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a boat in the meantime")
    waiting = page.locator(".going").last  # it goes by its words only while there is another
    key = waiting.get_attribute("data-key")
    waiting.get_by_role("button", name="Cancel").click()
    page.wait_for_selector(f".going[data-key='{key}']", state="detached")
    held.unlink()

    page.wait_for_selector(".pair figure:nth-child(2) img")
    wait_until_drawn(page)
    expect(page.locator(".about .words")).to_have_text(NASTY)
    expect(page.locator("figcaption span")).to_have_text(["With Harbour 0.8", "Without"])
    expect(page).to_have_title("Playground · Velatura")
    (first, said), (second, plain) = (save(page, name, tmp_path) for name in ("With Harbour 0.8", "Without"))
    assert np.abs(first - second).max() > 0 and first.shape == (32, 32, 3)
    assert said["prompts"] == [NASTY] and said["styles"] == [["Dusk.safetensors", 0.8]] and plain["styles"] == []
    assert (said["seed"], said["steps"], said["negative"], said["size"]) == (7, 2, "rain", [32, 32])
    assert said["base"] == "sd1", "where it lies on the disk is nobody's business"
    assert sorted(path.suffix for path in tmp_path.glob("*fox*")) == [".png", ".png"]

    page.locator(".pair figure button").first.focus()
    page.keyboard.press("Enter")
    light = page.locator("dialog.light")
    expect(light.locator("p")).to_have_text(f"{NASTY} · With Harbour 0.8")
    page.keyboard.press("ArrowRight")
    expect(light.locator("p")).to_have_text(f"{NASTY} · Without")
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement.dataset.title === 'Without'")


def test_what_is_wrong_is_said_under_its_field_and_nothing_is_lost(page):
    fill(page, Prompt="  ", Steps="1001", Size="33 x 32")
    page.locator(".more-fields > summary").click()
    draw(page)
    page.wait_for_selector("#pg-prompt-said:has-text('Enter a prompt.')")
    expect(page.locator("#pg-prompt")).to_be_focused()
    page.wait_for_selector(".more-fields[open]")
    said = "Steps must be a whole number from 1 to 1000; you wrote “1001”."
    expect(page.locator("#pg-steps-said")).to_have_text(said)
    expect(page.locator("#pg-size-said")).to_contain_text("multiples of 16 from 16 to 4,096")
    expect(page.get_by_label("Steps", exact=True)).to_have_attribute("aria-describedby", "pg-steps-said")
    expect(page.get_by_label("Size", exact=True)).to_have_value("33 x 32")
    expect(page.locator("#pg-going .going")).to_have_count(0)
    page.get_by_label("Steps", exact=True).fill("20")
    page.wait_for_selector("#pg-steps-said", state="detached")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("  ")


@pytest.mark.thorough
def test_two_styles_are_drawn_and_earlier_settings_come_back(page, place, tmp_path):
    fill(page, Prompt="a house", Seed="3")
    page.get_by_text("Also draw it without the style").click()
    draw(page)
    page.wait_for_selector(".pair.alone img")
    wait_until_drawn(page)

    page.get_by_role("button", name="Add a style").click()
    second = page.get_by_label("Style 2")
    second.wait_for()
    expect(second.locator("option:checked")).to_have_text("Dusk")
    greyed = second.locator("option:has-text('Ink wash')")
    expect(greyed).to_have_text("Ink wash – Made for SDXL; this base is SD 1.5.")
    expect(greyed).to_be_disabled()
    strength = page.get_by_label("Strength of Dusk")
    strength.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    expect(strength).to_have_value("0.65")
    expect(page.locator("[data-key=row-1] output")).to_have_text("0.65")
    ways = page.get_by_label("How the styles are combined")
    ways.select_option(label="Taking turns")
    page.wait_for_selector("#pg-compose-hint:has-text('Five steps with one style')")
    fill(page, Prompt="a moon", Seed="4")
    draw(page)
    page.wait_for_selector(".last-ones li:nth-child(2)")
    wait_until_drawn(page)
    _, said = save(page, "With Harbour 0.8 and Dusk 0.65", tmp_path)
    assert said["styles"] == [["Dusk.safetensors", 0.8], ["Dusk.safetensors", 0.65]] and said["compose"] == "switch"

    page.get_by_text("One picture with each style").click()
    ways.wait_for(state="detached")
    fill(page, Prompt="a sun", Seed="5")
    draw(page)
    page.wait_for_selector(".pair figure:nth-child(2) img")
    wait_until_drawn(page)
    expect(page.locator("figcaption span")).to_have_text(["With Harbour 0.8", "With Dusk 0.65"])
    page.get_by_text("One picture with each style").click()
    ways.wait_for()
    expect(ways, "it is kept while it does not matter").to_have_value("switch")

    page.get_by_role("button", name="a house, seed 3").click()
    page.wait_for_selector(".about .words:has-text('a house')")
    expect(page.locator(".last-ones [aria-current]")).to_have_attribute("aria-label", "a house, seed 3")
    page.get_by_role("button", name="Use these settings").click()
    page.wait_for_function("document.querySelector('#pg-prompt').value === 'a house'")
    expect(page.locator(".style-row")).to_have_count(1)
    expect(page.get_by_label("Seed", exact=True)).to_have_value("3")
    expect(page.get_by_label("Also draw it without the style")).not_to_be_checked()
    page.get_by_role("button", name="Another version").click()
    expect(page.get_by_label("Seed", exact=True)).not_to_have_value("3")
    expect(page.locator(".last-ones button[aria-label^='a house, seed ']")).to_have_count(2)
    wait_until_drawn(page)
    page.set_viewport_size({"width": 390, "height": 844})
    unfold(page)
    assert widest(page) == []
    page.set_viewport_size({"width": 1920, "height": 1080})
    assert widest(page) == []


ROW = """(() => {
  const boxes = [...document.querySelectorAll('.series figure')].map(each => each.getBoundingClientRect()),
    once = values => [...new Set(values.map(Math.round))];
  return {tops: once(boxes.map(box => box.top)), widths: once(boxes.map(box => box.width)),
    bottom: Math.max(...boxes.map(box => box.bottom))};
})()"""
"""How the pictures of a series stand."""


@pytest.mark.thorough
def test_strengths_and_steps_are_compared_and_one_is_kept(page, place, tmp_path):
    fill(page, Prompt="a star", Seed="6")
    page.get_by_label("Along a row", exact=True).select_option(label="Strength")
    page.get_by_label("Number of pictures").wait_for(state="detached")
    values = page.get_by_label("Values along a row")
    values.fill("0; 0,8; 7000")
    expect(page.locator("#pg-across_values-said")).to_contain_text("Strength must be a number from -100 to 100")
    values.fill("0; 0,4; 0,8; 1,2; 1,6")
    page.get_by_role("button", name="Draw 5 pictures").click()
    page.wait_for_selector(".pair.series figure:nth-child(5) img:not(.rough)")
    wait_until_drawn(page)
    expect(page.locator("figcaption span")).to_have_text(["0", "0.4", "0.8", "1.2", "1.6"])
    page.set_viewport_size({"width": 1440, "height": 900})
    page.wait_for_function(f"({ROW}).tops.length === 1")
    row = page.evaluate(ROW)
    assert len(row["widths"]) == 1 and 170 <= row["widths"][0] <= 190 and row["bottom"] < 900, "with all its buttons"
    page.get_by_role("button", name="Enlarge: 0", exact=True).click()
    page.keyboard.press("ArrowRight")
    expect(page.locator("dialog.light p")).to_have_text("a star · 0.4")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Use this: 1.2").click()
    page.wait_for_selector("[aria-label='Use this: 1.2'][aria-pressed=true]")
    expect(page.get_by_label("Strength of Harbour")).to_have_value("1.2")
    expect(page.get_by_label("Along a row", exact=True)).to_have_value("")

    harbour = page.get_by_label("Style 1").locator("option", has_text="Harbour").get_attribute("value")
    visit(page, place, f"?style={harbour}&compare=step")
    expect(page.get_by_label("Along a row", exact=True)).to_have_value("step")
    page.get_by_label("From row to row", exact=True).select_option(label="CFG")
    page.get_by_label("Values from row to row").fill("2, 4")
    page.get_by_role("button", name="Draw 4 pictures").click()
    table = page.get_by_role("table", name="Comparison: Step of Harbour by CFG")
    expect(table.locator("img:not(.rough)")).to_have_count(4)
    wait_until_drawn(page)
    first, last = table.locator("thead th[scope=col]").all_inner_texts()[1:]
    page.get_by_role("button", name=f"Enlarge: Step {first}, CFG 2").click()
    light = page.locator("dialog.light")
    for key, words in (
        ("Down", f"Step {first}, CFG 4"),
        ("Right", f"Step {last}, CFG 4"),
        ("Right", f"Step {last}, CFG 4"),
    ):
        page.keyboard.press(f"Arrow{key}")
        expect(light.locator("p")).to_have_text(f"a star · {words}")
    page.keyboard.press("ArrowLeft")
    light.get_by_role("button", name="Use this").click()
    page.wait_for_selector(".grid td.kept")
    expect(page.get_by_label("CFG", exact=False).first).to_have_value("4")
    kept = json.loads((place.out / "Harbour" / "chosen.json").read_text(encoding="utf-8"))
    assert kept == {"step": int(first)}, "the step is starred"
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download as one sheet").click()
    assert saved.value.suggested_filename == "a star 6 sheet.png"
    page.set_viewport_size({"width": 390, "height": 844})
    assert widest(page) == []

    page.get_by_label("Number of pictures").select_option("2")
    page.get_by_text("Also draw it without the style").wait_for(state="detached")
    draw(page)
    page.wait_for_selector(".pair figure:nth-child(2) figcaption:has-text('Seed 7')")
    wait_until_drawn(page)
    _, said = save(page, "Seed 7", tmp_path)
    assert said["seed"] == 7 and said["styles"] == [["step-00000001.safetensors", 1.2]]


def test_the_address_names_the_style_and_a_foreign_one_asks_for_its_base(page, place):
    dusk = page.get_by_label("Style 1").locator("option", has_text="Dusk").get_attribute("value")
    fill(page, Prompt="my own words")
    page.wait_for_function(ALL_SENT)
    visit(page, place, f"?style={dusk}")
    expect(page.get_by_label("Style 1").locator("option:checked")).to_have_text("Dusk")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("my own words")
    page.get_by_label("Style 1").select_option(label="Ink wash")
    page.wait_for_selector("#pg-base-said:has-text('There is no base model for this style on this computer')")
    there, away = place.out / ".studio" / "styles" / "Ink wash.safetensors", place.out.parent / "away.safetensors"
    there.rename(away)
    visit(page, place)
    expect(page.get_by_label("Style 1").locator("option:checked")).to_have_text("No longer here")
    away.rename(there)
    expect(page.get_by_label("Style 1").locator("option:checked")).to_have_text("Ink wash")
    page.get_by_role("button", name="Remove Ink wash").click()
    page.wait_for_selector(".style-row", state="detached")
    expect(page.get_by_label("Base model").locator("option:checked")).to_have_text("Velatura starter")


@pytest.mark.thorough
def test_a_deleted_style_that_comes_back_is_in_its_field_again(page, place):
    field = page.get_by_label("Style 1")
    dusk = field.locator("option", has_text="Dusk").get_attribute("value")
    visit(page, place, f"?style={dusk}")
    page.wait_for_function(ALL_SENT)
    page.goto(f"{place.url}styles")
    card = page.locator(".shelf > li", has=page.locator("h2", has_text="Dusk"))
    card.locator(".more").last.locator("summary").click()
    card.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("The style “Dusk” was deleted.").wait_for()
    visit(page, place)
    expect(field.locator("option:checked")).to_have_text("No longer here")
    page.get_by_role("button", name="Undo").click()
    expect(field.locator("option:checked")).to_have_text("Dusk")
    expect(field).to_have_value(dusk)
    expect(page.locator(".style-row .wrong")).to_have_count(0)


@pytest.mark.thorough
def test_without_any_style_the_starter_draws(browser, studio):
    with blank_page(browser, viewport={"width": 390, "height": 844}) as page:
        visit(page, studio)
        expect(page.locator(".go:visible")).to_have_text(["Train your first style"], use_inner_text=True)
        assert widest(page) == []
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("a lighthouse")
        fill(page, Steps="4", Size="")
        draw(page)
        page.wait_for_selector(".pair.alone img")
        wait_until_drawn(page)
        assert page.locator(".pair img").evaluate("one => [one.naturalWidth, one.naturalHeight]") == [128, 128]
        expect(page.locator(".about")).to_contain_text("4 steps")
        assert widest(page) == []
