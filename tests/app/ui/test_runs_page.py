"""Runs and a run's page in a real browser, over real trainings: watched, stopped, downloaded, cloned, deleted."""

from __future__ import annotations

import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from safetensors.torch import load_file

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.store import Job, Store
from app.jobs.views import Watcher
from app.studio.paths import Paths
from app.studio.runs.chosen import Choice, read_choice
from app.studio.runs.notes import Notes, read_notes
from app.studio.studio_queue import StudioQueue
from tests.app.ui.ended_runs import write_run, write_snapshot
from tests.app.ui.server import MEASURED, SLOWER_STEPS, Process
from tests.app.ui.visitor import Tab, expect_layout, open_tab, put_far_away, widest
from tests.trainers.tiny_runs import quick_settings, write_images
from tests.waiting import wait_until
from trainers.data.captions import own_caption
from trainers.runs.events import Recorder
from trainers.runs.run import Run

pytestmark = pytest.mark.long

NASTY = "<b>a fox</b> ${document.title='x'}"
LONG = 20_000
"""Steps that no test waits for."""


@dataclass
class Place:
    """A studio with a queue of its own, and how to put a run into it."""

    url: str
    store: Store
    add: Callable[..., Job]

    def cancel(self, name: str) -> None:
        job = self.store.job_in(self.store.runs / name)
        assert job is not None
        actions.stop(self.store, job.id, "cancel", actor=MACHINE_OWNER)

    def state(self, name: str) -> str:
        view = Watcher(self.store).view_of(name)
        return "gone" if view is None else str(view.state)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_bases: dict[str, Path]) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("runs")
    images = write_images(folder / "images")
    process, store = Process(folder / "outputs", before=SLOWER_STEPS + MEASURED), Store(folder / "outputs")

    def add(name: str, steps: int = LONG, every: int = 10) -> Job:
        sample = {"every": every, "prompts": [NASTY, "a boat"], "steps": 1}
        layers = ({"name": name, "train": {"steps": steps}}, {"sample": sample})
        return actions.add(store, quick_settings(tiny_bases["sd1"], images, *layers), actor=MACHINE_OWNER)

    yield Place(process.url, store, add)
    process.close()


@pytest.fixture(scope="module")
def tab(browser: Any, place: Place) -> Iterator[Tab]:
    with open_tab(browser, place.url) as opened:
        yield opened


@pytest.fixture
def page(tab: Tab) -> Iterator[Any]:
    with tab.visit() as opened:
        yield opened


COUNTED = "() => /^Step ([0-9]+) of/.exec(document.querySelector('.facts')?.textContent.trim())?.[1]"


def step_shown(page: Any) -> int:
    """The step of its first fact, as soon as there is one: while it draws, there is none."""
    return int(page.wait_for_function(COUNTED).json_value())


def facts(page: Any) -> Any:
    return page.get_by_role("list", name="Facts").get_by_role("listitem")


def press(page: Any, label: str) -> None:
    page.get_by_role("group", name="Actions for").get_by_role("button", name=re.compile(f"^{label}")).first.click()


def from_menu(page: Any, label: str) -> None:
    page.get_by_label("More actions").click()
    page.locator("#run-acts .menu").get_by_text(label, exact=True).click()


def chip(page: Any, words: str) -> Any:
    return page.get_by_role("status").get_by_text(words, exact=True)


def expect_steps(page: Any, *names: str | re.Pattern[str]) -> None:
    """The film strip has these frames."""
    frames = page.get_by_role("listbox", name="Steps").get_by_role("option")
    expect(frames).to_have_count(len(names))
    for number, name in enumerate(names):
        expect(frames.nth(number)).to_have_attribute("aria-label", name)


def frame(page: Any, name: str) -> Any:
    return page.get_by_role("listbox", name="Steps").get_by_role("option", name=name)


def selected(page: Any, box: str) -> Any:
    return page.get_by_role("listbox", name=box).get_by_role("option", selected=True)


def test_a_beginner_comes_from_an_empty_list_to_a_downloaded_style(page, place, tmp_path):
    page.goto(f"{place.url}runs")
    page.wait_for_selector(".empty")
    expect(page.locator(".go:visible")).to_have_text(["Train your first style"], use_inner_text=True)
    expect_layout(page)
    place.add("harbour blue")
    place.add("second")
    page.wait_for_selector("li[data-key='harbour blue'] .chip.training")
    waiting = page.locator("li[data-key=second]")
    expect(waiting).to_contain_text("1st in line")
    expect(waiting.locator(".chip")).to_have_text("Waiting")
    place.add("third")
    page.get_by_label("Move third:").press("ArrowUp")
    page.wait_for_function("[...document.querySelectorAll('.runs > li')].at(1).dataset.key === 'third'")
    wait_for_line(page, place, ["third", "second"])
    assert widest(page) == []

    page.locator("#runs").get_by_role("link", name="harbour blue").click()
    chip(page, "Training").wait_for()
    first = step_shown(page)
    page.wait_for_function(f"parseInt(document.querySelector('.facts').textContent.slice(5)) > {first}")
    frame(page, "Before training").wait_for()
    page.get_by_role("slider", name="Loss by step").wait_for()
    expect(page).to_have_title(re.compile(" · harbour blue · Velatura$"))
    prompts = page.get_by_role("listbox", name="Prompts").get_by_role("option")
    expect(prompts).to_have_text([NASTY, "a boat"], use_inner_text=True)
    bar = page.get_by_role("progressbar", name="Training")
    expect(bar).to_have_attribute("aria-valuenow", re.compile(r"^\d\d?$"))
    page.get_by_text("Log", exact=True).click()
    page.wait_for_selector(".folds pre:has-text('start:')")
    page.wait_for_function("document.querySelectorAll('.cells [role=option]').length > 1")
    page.get_by_role("listbox", name="Steps").focus()
    page.keyboard.press("Home")
    expect(selected(page, "Steps")).to_have_attribute("aria-label", "Before training")
    page.get_by_role("button", name="Follow newest").click()
    page.wait_for_function("[...document.querySelectorAll('.cells [role=option]')].at(-1).ariaSelected === 'true'")
    expect(page.get_by_role("button", name="Follow newest")).to_be_hidden()
    assert widest(page) == []

    for name in ("second", "third"):
        place.cancel(name)  # while it waits: it would begin where the first ends
    page.evaluate("at => (Date.now = () => at)", 0)  # buttons settle by time that passes, not by a clock that is set
    page.locator("#run-acts").get_by_role("button", name="Stop here and keep this").press("Enter")
    chip(page, "Stopped").wait_for()
    expect(page.get_by_role("heading", name="harbour blue")).to_be_focused()
    expect(page.locator(".go:visible")).to_have_text(re.compile("^Download step "))
    expect(prompts.locator(".earlier, .skeleton"), "each prompt is drawn").to_have_count(0)
    expect(page.get_by_role("link", name="Draw the others")).to_be_hidden()
    page.wait_for_selector("[data-settling]", state="detached")  # what has just come under the pointer does nothing
    with page.expect_download() as saved:
        press(page, "Download step ")
    saved.value.save_as(tmp_path / "style.safetensors")
    assert saved.value.suggested_filename == "harbour blue.safetensors"
    assert any(tensor.any() for name, tensor in load_file(tmp_path / "style.safetensors").items() if "lora_up" in name)
    tried = page.locator("#run-acts a:visible", has_text="Try it")
    expect(tried).to_have_attribute("href", re.compile(r"^playground\?style="))
    with page.expect_download() as saved:
        from_menu(page, "Download samples")
    saved.value.save_as(tmp_path / "samples.zip")
    with zipfile.ZipFile(tmp_path / "samples.zip") as packed:
        assert {"harbour blue/before/01.png", "harbour blue/before/02.png"} <= set(packed.namelist())


def test_notes_are_kept_through_a_reload_seen_in_other_tabs_and_searched(page, place):
    run = write_run(place.store.runs, "noted")
    write_run(place.store.runs, "a sketch")
    note, tags = page.get_by_role("textbox", name="Note"), page.get_by_label("Tags, separated by commas")
    page.goto(f"{place.url}run?id=noted")
    with page.context.new_page() as other:
        other.goto(f"{place.url}run?id=noted")
        note.fill("too strong")
        expect(other.get_by_role("textbox", name="Note")).to_have_value("too strong")
        other.get_by_label("Tags, separated by commas").fill("blue, ink")
        note.fill("too strong from step 150 on")
        note.press("Enter")
        wait_until(
            lambda: read_notes(run) == Notes("too strong from step 150 on", ("blue", "ink")), "both fields are kept"
        )
        expect(tags).to_have_value("blue, ink")
    tags.fill("#blue, ink, to compare")
    page.reload()  # at once: what was typed has not been sent
    expect(tags).to_have_value("blue, ink, to compare")
    wait_until(lambda: read_notes(run).tags == ("blue", "ink", "to compare"), "it is sent after the reload")
    expect_layout(page)
    line = "too strong from step 150 on #blue #ink #to compare"
    for path in ("runs", "styles"):
        page.goto(f"{place.url}{path}")
        expect(page.get_by_role("listitem").filter(has_text="noted")).to_contain_text(line)
        page.get_by_label("Sort by").select_option("Name")
        expect(page.locator("#runs > div li, .shelf > li").first).to_contain_text("a sketch")
        page.get_by_label("Search").fill("#ink")
        expect(page.get_by_role("listitem").filter(has_text="a sketch")).to_have_count(0)
        expect(page.get_by_role("listitem").filter(has_text="noted")).to_be_visible()
        expect_layout(page)


def test_a_step_without_pictures_has_a_place_and_takes_none_from_others(page, place):
    run = write_run(place.store.runs, "skipped")
    for step in (75, 151):
        write_snapshot(run, step)
    page.goto(f"{place.url}run?id=skipped")
    frame(page, "Step 300").wait_for()
    expect_steps(page, "Before training", "Step 150", "Step 300, starred")
    frames = page.locator(".cells .cell:not(.culled)")
    expect(frames).to_have_text(["Before", "75", "150", "300"])
    expect(frames.nth(1)).to_have_class(re.compile("planned"))


def test_a_run_is_travelled_through_and_a_step_of_it_is_chosen(page, place, tmp_path):
    write_run(place.store.runs, "its like", prompts=(NASTY,))
    run = write_run(place.store.runs, "kept", prompts=(NASTY, "a boat"))
    for step in (150, 300):
        write_snapshot(run, step)
    page.goto(f"{place.url}run?id=kept")
    chip(page, "Finished").wait_for()
    frame(page, "Step 300").wait_for()
    expect_steps(page, "Before training", "Step 150", "Step 300, starred")
    assert frame(page, "Step 300").bounding_box()["height"] > 100, "a few frames are larger than many"
    strip = page.get_by_role("listbox", name="Steps")
    strip.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    expect(selected(page, "Steps")).to_have_attribute("aria-label", "Step 150")
    expect(selected(page, "Prompts")).to_have_text("a boat")
    picture = page.get_by_role("img", name="a boat, Step 150")
    expect(picture).to_have_attribute("src", re.compile("000150-01"))

    star, starred = (page.get_by_role("button", name=name) for name in ("Star this step", "Starred"))
    expect(star).to_have_attribute("aria-pressed", "false")
    star.click()
    page.get_by_text("Step 150 is what you download.").wait_for()
    expect(starred).to_have_attribute("aria-pressed", "true")
    wait_until((run / "chosen.json").exists, "the page shows a star before the studio has it")
    strip.focus()
    page.keyboard.press("End")
    page.keyboard.press("c")
    candidate = page.get_by_role("button", name="Candidate")
    expect(candidate).to_have_attribute("aria-pressed", "true")
    expect_steps(page, "Before training", "Step 150, starred", "Step 300, candidate")
    boxes = [page.locator(f"#cell-{step} img").bounding_box() for step in (150, 300)]
    assert boxes[0]["width"] == boxes[1]["width"] and boxes[0]["height"] == boxes[1]["height"]
    wait_until(lambda: read_choice(run) == Choice(150, (300,), True), "the studio has the candidate")
    page.get_by_role("link", name="Compare", exact=True).click()
    expect(page.get_by_role("columnheader", name="Step")).to_have_text(["Step 150★", "Step 300☆"])
    page.goto(f"{place.url}run?id=kept")
    candidate.wait_for()
    strip.focus()
    page.keyboard.press("End")
    candidate.click()
    wait_until(lambda: read_choice(run) == Choice(150, (), True), "and not any more")
    for path in ("runs", "styles"):
        page.goto(f"{place.url}{path}")
        picture = page.get_by_role("listitem").filter(has_text="kept").locator("img").first
        expect(picture).to_have_attribute("src", re.compile("000150-00"))
    page.goto(f"{place.url}run?id=kept")
    opened = page.locator(".cells [aria-selected=true]")
    expect(opened, "it opens on what was starred").to_have_attribute("aria-label", "Step 150, starred")
    strip.focus()
    page.keyboard.press("ArrowDown")
    expect_steps(page, "Before training", "Step 150, starred", "Step 300")
    with page.expect_download() as saved:
        press(page, "Download step ")
    saved.value.save_as(tmp_path / "style.safetensors")
    assert {float(tensor.max()) for tensor in load_file(tmp_path / "style.safetensors").values()} == {150.0}
    starred.click()
    page.get_by_text("Step 300 is what you download, unless you star another one.").wait_for()

    strip.focus()
    page.keyboard.press("Enter")
    light = page.locator("dialog.light")
    expect(light.locator("p")).to_have_text("a boat · Step 150")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    expect(light.locator("p")).to_have_text(f"{NASTY} · Step 300")
    light.get_by_role("button", name="100 %").click()
    page.wait_for_function("document.querySelector('dialog.light img').offsetWidth === 96")
    with page.expect_download() as saved:
        light.get_by_role("button", name="Download").click()
    assert saved.value.suggested_filename.startswith("kept, Step 300, b a fox b") and widest(page) == []
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement.ariaLabel === 'Steps'")  # the browser's own choice comes first

    box = page.get_by_role("slider", name="Loss by step")
    box.scroll_into_view_if_needed()
    area = box.bounding_box()
    page.mouse.move(area["x"] + area["width"] * 0.9, area["y"] + 40)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + 40, steps=3)
    expect(selected(page, "Steps"), "the picture follows").to_have_attribute("aria-label", "Step 150")
    page.mouse.up()
    said = re.compile(r"^(Step 1\d\d: |Step 1\d\d, Loss, smoothed 0\.\d+, Loss of each step)")
    expect(box).to_have_attribute("aria-valuetext", said)
    box.focus()
    page.keyboard.press("End")
    expect(selected(page, "Steps")).to_have_attribute("aria-label", "Step 300, starred")
    page.locator(".lines summary").click()
    page.get_by_label("Learning rate").check()
    page.locator("#over option", has_text="its like").wait_for(state="attached")
    page.get_by_label("Another run").select_option("its like")
    page.get_by_text("its like", exact=False).locator("visible=true").first.wait_for()
    page.keyboard.press("Escape")
    expect(page.locator(".graph .legend")).to_have_text(
        re.compile("^(?=.*Learning rate)(?!.*its like.*its like).*its like")
    )

    page.get_by_label("Left side").select_option("Another run …")
    page.get_by_label("Which run").select_option("its like")
    page.wait_for_function("document.querySelector('.at-start').textContent === 'its like'")
    expect(page.locator(".slider img.before")).to_have_attribute("src", re.compile("000300f"))


def test_a_training_picture_a_sample_and_the_one_from_before_stand_side_by_side(page, place):
    run = write_run(place.store.runs, "beside", prompts=("a fox", "the moon at night"), side=256)
    shutil.copytree(place.store.runs.parent / "images", Run(run).dataset)
    page.set_viewport_size({"width": 1920, "height": 1080})
    held: list[Any] = []
    page.route("**/*.webp", lambda route: held.append(route))  # the pictures are on their way
    page.goto(f"{place.url}run?id=beside")
    trained, before = page.locator(".trained"), page.locator(".untrained")
    expect(trained.get_by_role("img")).to_have_attribute("src", re.compile("trained-fox"))
    parts = (trained, page.locator(".view"), before, page.locator(".strip"))
    boxes = [part.bounding_box() for part in parts]
    for route in held:
        route.continue_()
    page.unroute("**/*.webp")
    page.wait_for_function("[...document.querySelectorAll('.abreast img[src]')].every(image => image.naturalWidth)")
    assert [part.bounding_box() for part in parts] == boxes, "nothing moves when they arrive"
    assert [box["x"] for box in boxes[:3]] == sorted(box["x"] for box in boxes[:3])
    assert len({(round(box["y"]), round(box["width"]), round(box["height"])) for box in boxes[:3]}) == 1
    expect(before.get_by_role("img", name="a fox, Before training")).to_have_attribute("src", re.compile("000000-00"))
    expect(page.get_by_role("img", name="a fox, Step 300")).to_be_visible()

    following = page.get_by_role("button", name="Next training picture")
    following.press("Enter")
    expect(trained.get_by_role("status")).to_have_text(re.compile("^Training picture: .*house"))
    prompts = page.get_by_role("listbox", name="Prompts")
    prompts.press("ArrowDown")
    expect(page.get_by_role("img", name=re.compile("^Training picture: .*moon"))).to_be_visible()
    expect(before.get_by_role("img", name="the moon at night, Before training")).to_be_visible()
    prompts.press("t")
    expect(page.get_by_role("img", name=re.compile("^Training picture: .*fox"))).to_be_visible()
    prompts.press("ArrowUp")
    expect(page.get_by_role("img", name=re.compile("^Training picture: .*house")), "it is remembered").to_be_visible()
    page.get_by_role("listbox", name="Steps").press("Home")
    expect(before, "the large picture is the same").to_be_hidden()
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(trained).to_be_visible()
    large, small = (part.bounding_box() for part in (page.locator(".view"), trained))
    assert small["x"] > large["x"] + large["width"] and small["height"] < large["height"] / 2, "stacked beside it"
    expect_layout(page)

    shutil.rmtree(Run(run).dataset)
    page.reload()
    frame(page, "Step 300").wait_for()
    expect(before).to_be_visible()
    expect(trained).to_be_hidden()


def test_what_an_early_stop_has_drawn_fills_the_strip_and_its_loss_the_graph(page, place):
    run = write_run(place.store.runs, "early", {"train": {"steps": 100}}, ("a fox", "a boat", "a pear"))
    for folder in ("step-00000050", "step-00000100", "final"):
        shutil.rmtree(run / "samples" / folder)
    shutil.copytree(run / "samples" / "step-00000000", run / "samples" / "step-00000100")
    (run / "samples" / "step-00000100").rename(run / "samples" / "step-00000007")
    (run / "samples" / "step-00000007" / "02.png").unlink()
    Recorder(run)("stopped", step=7)
    write_snapshot(run, 7)
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{place.url}run?id=early")
    frame(page, "Step 7").wait_for()
    first, last = (each.bounding_box() for each in page.locator(".cells [role=option]").all())
    assert first["width"] == last["width"] == first["height"] and last["x"] + last["width"] - first["x"] > 1300
    page.get_by_text("2 of 3 prompts were drawn at this step.").wait_for()
    expect(page.get_by_role("link", name="Draw the others")).to_have_attribute(
        "href", re.compile("^playground.style=.*&prompts=a%20pear$")
    )
    highest = page.locator(".plots .raw").evaluate("path => Math.min(...path.getAttribute('d').match(/ [0-9.]+/g))")
    assert highest >= 8, "nothing is cut off above"


@pytest.mark.thorough
def test_a_picture_is_compared_and_a_run_is_trained_longer(page, place):
    write_run(place.store.runs, "like it", prompts=(NASTY,))
    place.add("sampled", steps=4, every=2)
    page.goto(f"{place.url}run?id=sampled")
    chip(page, "Finished").wait_for()
    expect(page.get_by_label("Left side")).to_have_value("0")  # as soon as there is a picture of before
    page.reload()  # nothing is drawn any more, so that what has the focus stays
    frame(page, "Step 4").wait_for()
    expect_steps(page, "Before training", re.compile("^Step 2"), re.compile("^Step 4"))
    for name, number in (("before", "000000"), ("after", "000004")):
        expect(page.locator(f".slider img.{name}")).to_have_attribute("src", re.compile(number))
    slider = page.get_by_label("Position of the divider")
    cut = slider.input_value()
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_value(str(int(cut) + 1))
    page.locator("#run-graph").get_by_text("Lines", exact=True).click()
    with page.expect_download() as table:
        page.get_by_role("button", name="Numbers as CSV").click()
    assert table.value.suggested_filename == "sampled-numbers.csv"
    assert Path(table.value.path()).read_text().splitlines()[0].startswith("step,loss,smoothed,learning_rate")
    page.get_by_label("Left side").select_option("Step 2")
    left = page.locator(".slider img.before")
    expect(left).to_have_attribute("src", re.compile("000002"))
    expect(page.locator(".at-start")).to_have_text("Step 2")
    page.get_by_label("Left side").select_option("Another run …")
    page.get_by_label("Which run").select_option("like it")
    page.wait_for_function("document.querySelector('.at-start').textContent === 'like it'")
    expect(left).to_have_attribute("src", re.compile("000300f"))
    expect(page.locator(".slider .after")).to_have_attribute("src", re.compile("000004"))

    from_menu(page, "Share a read-only link")
    shared = page.get_by_role("textbox", name="Read-only link")
    expect(shared).to_have_value(re.compile(re.escape(f"{place.url}shared/")))
    link = shared.input_value()
    other = page.context.new_page()
    other.goto(link)
    other.get_by_role("heading", name="sampled").wait_for()
    sample = other.get_by_role("img", name=re.compile("Step 4$")).first
    assert sample.evaluate("image => image.decode().then(() => true)")
    page.get_by_role("button", name="Stop sharing").click()
    page.get_by_text("The link no longer shows this run.").wait_for()
    other.goto(link)
    other.get_by_text("There is nothing here").wait_for()
    other.close()

    from_menu(page, "Train longer")
    asked = page.get_by_role("dialog", name="Train sampled longer")
    expect(asked.get_by_label("Steps")).to_have_value("8")
    for wrong in ("4", "many", "", "9999999"):
        asked.get_by_label("Steps").fill(wrong)
        asked.get_by_role("button", name="Train longer").click()
        asked.get_by_text("Enter a whole number larger than 4").wait_for()
    asked.get_by_label("Steps").fill("6")
    asked.get_by_role("button", name="Train longer").click()
    expect(facts(page).first).to_have_text(re.compile(r"^\s*(Step 6 of 6|6 steps( in |\s*$))"))
    frame(page, "Step 6").wait_for()


@pytest.mark.thorough
def test_a_run_is_cloned_with_one_thing_changed_and_deleted(page, place):
    if place.state("sampled") == "gone":  # else the test before has trained it
        place.add("sampled", steps=6, every=2)
    page.goto(place.url)
    page.locator("[data-sample=photograph]").dblclick()  # which takes it once
    page.wait_for_selector("body[data-pictures='12']")
    page.goto(f"{place.url}run?id=sampled")
    chip(page, "Finished").wait_for()
    from_menu(page, "Train again with changes")
    page.wait_for_selector(".banner:has-text('Everything is set as it was for sampled.')")
    expect(page.locator("body")).to_have_attribute("data-pictures", "3")
    assert "clone" not in page.url
    captions = [field.input_value() for field in page.locator(".cards textarea").all()]
    page.reload()
    page.wait_for_selector(".banner:has-text('The 12 pictures you were preparing before the clone are kept.')")
    page.get_by_role("link", name="Next: style").click()
    page.locator("#advanced > summary").click()
    page.locator(".settings > summary").click()
    page.get_by_label("Search settings").fill("seed")
    page.locator("[data-setting='seed']").fill("9")
    page.locator("[data-setting='seed']").blur()
    page.get_by_role("link", name="Next: start").click()
    expect(page.get_by_label("Name of the style")).to_have_value("sampled 2")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_selector("#run-head .chip.finished")
    expect(page.locator("h1")).to_have_text("sampled 2")
    expect(page.locator(".kind").first).to_have_text(re.compile(r"^\w+ · LoRA \d+/\d+ · on "))
    expect(facts(page).first, "its time is said from a second on").to_have_text(re.compile(r"^\s*6 steps( in |\s*$)"))
    old, new = (Run(place.store.runs / name) for name in ("sampled", "sampled 2"))
    assert new.config().model_copy(update={"name": "sampled", "data": old.config().data, "seed": 0}) == old.config()
    assert [own_caption(path) for path in sorted(new.dataset.glob("*.png"))] == captions
    page.goto(place.url)
    page.get_by_role("button", name="Go back to them").click()
    page.wait_for_selector("body[data-pictures='12']")

    page.goto(f"{place.url}run?id=sampled%202")
    page.wait_for_selector("#run-head .chip.finished")
    public = StudioQueue(Paths(place.store.runs)).public_of(place.store.runs / "sampled 2")
    assert list(public.glob("*.webp"))
    from_menu(page, "Delete")
    page.wait_for_selector("text=There is no such run")
    assert not (place.store.runs / "sampled 2").exists() and place.state("sampled 2") == "gone"
    assert not public.exists(), "nor its copies for pages"


@pytest.mark.thorough
def test_the_line_is_put_in_order_and_what_is_open_or_ticked_stays_so(page, place):
    for name, rate in (("dawn", 1e-4), ("dusk", 0.002)):
        write_run(place.store.runs, name, {"train": {"learning_rate": rate}})
    for name in ("going", "one", "two"):
        place.add(name)
    page.goto(f"{place.url}runs")
    page.wait_for_selector("li[data-key=going] .chip.training")
    order = "[...document.querySelectorAll('.runs > li')].map(row => row.dataset.key).slice(0, 3).join()"
    page.wait_for_function(f"{order} === 'going,one,two'")
    compare = page.get_by_role("button", name="Compare", exact=True)
    expect(compare).to_be_hidden()
    page.get_by_label("Compare dawn").focus()
    page.keyboard.press("Space")
    expect(compare).to_be_disabled()
    expect(page.locator(".ticked p")).to_have_text("dawn: tick one to three more.")
    menu = page.locator("li[data-key=two] .more")
    menu.locator("summary").click()
    now = page.locator("li[data-key=going] .who").inner_text()
    page.wait_for_function("now => document.querySelector('li[data-key=going] .who').innerText !== now", arg=now)
    page.locator("li[data-key=going] .row-link").click()
    expect(menu, "a click that closes a menu does only that").not_to_have_attribute("open", re.compile(""))
    assert page.url.endswith("runs")
    menu.locator("summary").click()
    menu.get_by_role("button", name="Move up").click()
    page.wait_for_function(f"{order} === 'going,two,one'")
    expect(page.get_by_label("Show").locator("option")).to_have_text(["All", "Running", "Waiting", "Ended"])

    put_far_away(page, 300)
    drag(page, "two", "one")
    page.wait_for_function(f"{order} === 'going,one,two'")
    wait_for_line(page, place, ["one", "two"])  # the page has no answer yet, and is asked again all the same
    handle = page.get_by_label("Move two:")
    handle.focus()
    page.keyboard.press("ArrowUp")
    page.wait_for_function(f"{order} === 'going,two,one'")
    page.wait_for_function("document.activeElement.dataset.about === 'two'")
    wait_for_line(page, place, ["two", "one"])
    put_far_away(page, 0)

    page.get_by_label("Search").fill("one")
    page.wait_for_function("document.querySelectorAll('.runs > li').length === 1")
    page.get_by_label("Search").fill("")
    page.get_by_label("Show").select_option("waiting")
    page.wait_for_function("document.querySelectorAll('.runs > li').length === 2")
    for name in ("two", "one", "going"):
        place.cancel(name)
    page.get_by_label("Show").select_option("all")
    page.wait_for_selector("li[data-key=two] .chip.cancelled")

    page.wait_for_function("document.querySelector('[data-tick=dawn]')?.checked")
    page.get_by_label("Compare dusk").check()
    compare.click()
    runs_are_compared(page)


def wait_for_line(page: Any, place: Place, names: list[str]) -> None:
    """The page puts rows in order at once; the queue follows when it has been asked."""
    end = time.monotonic() + 60
    while in_line(place) != names and time.monotonic() < end:
        page.wait_for_timeout(50)
    assert in_line(place) == names


def drag(page: Any, name: str, over: str) -> None:
    """Drag a run's handle to where another run's row is, with a look at the page while it is in the hand."""
    start, end = (page.get_by_label(f"Move {each}:").bounding_box() for each in (name, over))
    page.mouse.move(start["x"] + 20, start["y"] + 20)
    page.mouse.down()
    page.mouse.move(end["x"] + 20, end["y"] + 20, steps=4)
    expect(page.locator(".in-hand")).to_have_attribute("data-key", name)
    page.mouse.up()
    page.wait_for_selector(".in-hand", state="detached")


def in_line(place: Place) -> list[str]:
    return [job.name for job in place.store.line()]


def runs_are_compared(page: Any) -> None:
    """What the page shows of two ended runs that learned at different speeds."""
    page.wait_for_selector(".legend li")
    expect(page).to_have_title("Compare · Velatura")
    expect(page.locator(".heads h2")).to_have_text(["dawn", "dusk"])
    rows = page.locator(".settings-table tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_have_text(re.compile(r"^\s*Learning rate\s*train\.learning_rate\s*0\.0001\s*0\.002\s*$"))
    page.locator(".grid button").first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(page.locator("dialog.light p")).to_have_text("two cats on a sofa · dusk")
    page.keyboard.press("Escape")
    page.locator("li[data-key=dusk] summary").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="For ComfyUI").click()
    assert saved.value.suggested_filename == "dusk.safetensors" and widest(page) == []


@pytest.mark.parametrize("address", [pytest.param("run", marks=pytest.mark.thorough), "run?id=../../etc%3Cb%3E"])
def test_a_run_that_is_not_there_is_said(page, place, address):
    page.goto(f"{place.url}{address}")
    page.wait_for_selector("text=There is no such run")
    expect(page.locator(".go:visible")).to_have_text(["Go to Runs"], use_inner_text=True)
    expect(page.get_by_text("Settings", exact=True), "there is nothing to unfold").to_be_hidden()
    expect_layout(page)
