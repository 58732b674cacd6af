"""What is typed, chosen and pressed while the server does not answer: nothing is lost, and nothing is pretended."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.store import Job, Store
from tests.app.ui.server import MEASURED, Process
from tests.app.ui.visitor import ALL_SENT, READY, Tab, add, open_tab, try_out
from tests.trainers.data.pictures import scene

pytestmark = pytest.mark.long

SLOW = {"timeout": 120_000}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed, name in enumerate(("boat", "house", "pear", "owl", "fox")):
        scene(seed, (96, 96)).save(folder / f"a {name}.png")
    return folder


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A studio that these tests may kill."""
    process = Process(tmp_path_factory.mktemp("away") / "outputs", before=MEASURED)
    yield process
    process.close()


@pytest.fixture(scope="module")
def tab(browser: Any, own: Process) -> Iterator[Tab]:
    with open_tab(browser, own.url, listens=False) as opened:
        yield opened


@pytest.fixture
def page(tab: Tab, own: Process, pictures: Path) -> Iterator[Any]:
    """A visitor with two pictures, at the first step."""
    if not own.is_running():  # the test before has failed while it was away
        own.start(port=own.port)
    with tab.visit() as opened:
        opened.goto(own.url)
        opened.wait_for_selector(READY)
        add(opened, pictures / "a boat.png", pictures / "a house.png", count=2)
        yield opened


def go_to_start(page: Any) -> None:
    page.get_by_role("link", name="Next: style").click()
    try_out(page)
    page.get_by_role("link", name="Next: start").click()
    expect(page.get_by_label("Name of the style")).to_be_visible()


def runs_called(own: Process, name: str) -> list[Job]:
    return [job for job in Store(own.out).jobs() if job.name.startswith(name)]


def box(page: Any, name: str) -> Any:
    return page.get_by_role("textbox", name=name)


def test_what_is_typed_meanwhile_is_there_when_it_is_back_and_a_start_is_told_apart(page: Any, own: Process) -> None:
    go_to_start(page)
    type_while_it_is_away(page, own)
    lose_the_answer_to_a_start(page, own)


def type_while_it_is_away(page: Any, own: Process) -> None:
    """What is typed before and after a start that is refused arrives once the server is back."""
    own.stop(hard=True)
    box(page, "Name of the style").fill("Evening harbour")
    box(page, "Preview prompts").fill("a lighthouse")
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_role("alert").filter(has_text="so nothing was started")).to_be_visible(**SLOW)
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()
    away = page.get_by_role("status").filter(has_text="The studio does not answer.")
    expect(away).to_contain_text("2 changes are kept here and sent then.")
    expect(page.get_by_text("Connection to the server was lost")).to_be_hidden()
    page.evaluate("location.hash = 'pictures'")
    box(page, "Caption 1").fill("a boat at dusk")
    box(page, "Trigger word").fill("dusk style")
    page.get_by_role("checkbox", name="Select all").check()
    bar = page.get_by_role("group", name="Selected pictures")
    bar.get_by_role("textbox", name="Words").fill("calm sea")
    bar.get_by_role("button", name="Add after").click()
    page.get_by_role("button", name="Delete picture 2").click()
    expect(away).to_contain_text("6 changes are kept here and sent then.")
    expect(page.get_by_text("Not saved yet. It is sent again when the server answers.")).to_be_visible()
    own.start(port=own.port)
    # What stands in these attributes is what the server has.
    expect(box(page, "Caption 1")).to_have_attribute("value", "a boat at dusk, calm sea", **SLOW)
    expect(page.locator("body")).to_have_attribute("data-pictures", "1", **SLOW)
    expect(away).to_be_hidden()
    expect(box(page, "Trigger word")).to_have_attribute("data-known", "dusk style", **SLOW)
    page.evaluate("location.hash = 'start'")
    expect(box(page, "Name of the style")).to_have_attribute("value", "Evening harbour", **SLOW)
    expect(box(page, "Preview prompts")).to_have_attribute("value", "a lighthouse")
    page.wait_for_function(ALL_SENT)


def lose_the_answer_to_a_start(page: Any, own: Process) -> None:
    """A start that did not arrive is told apart from one whose answer did not."""
    box(page, "Name of the style").fill("Quay")
    box(page, "Name of the style").press("Enter")
    expect(box(page, "Name of the style")).to_have_attribute("value", "Quay")
    draft = page.evaluate("document.body.dataset.draft")
    held: list[Any] = []

    def hold_start(route: Any) -> None:
        """Keep the start on its way; what the page asks beside it goes on."""
        if '"mark"' in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.route("**/gradio_api/run/**", hold_start)
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_role("button", name=re.compile("Preparing"))).to_be_disabled()
    while not held:
        page.evaluate("0")  # lets the browser tell what it has asked for
    own.stop(hard=True)
    for route in held:
        route.abort()
    page.unroute("**/gradio_api/run/**")
    expect(page.get_by_role("alert").filter(has_text="went away before it answered")).to_be_visible(**SLOW)
    own.start(port=own.port)
    expect(page.get_by_role("alert").filter(has_text="was not started")).to_be_visible(**SLOW)
    assert runs_called(own, "Quay") == []
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url("**/run?id=Quay")
    (job,) = runs_called(own, "Quay")
    actions.stop(Store(own.out), job.id, "cancel", actor=MACHINE_OWNER)

    # The same start asked for once more, as by a page whose answer was lost, leads to the run that there is.
    kept = own.out / ".studio" / "drafts" / draft / "draft.json"
    mark, _ = json.loads(kept.read_text(encoding="utf-8"))["started"]
    page.evaluate("mark => sessionStorage.setItem('velatura-starting', mark)", mark)
    page.goto(own.url + "#start", wait_until="commit")  # the page that it leads to comes before this one is loaded
    page.wait_for_url("**/run?id=Quay")
    assert [one.id for one in runs_called(own, "Quay")] == [job.id]


@pytest.mark.thorough
def test_a_conflict_is_offered_after_the_server_was_away(page: Any, own: Process) -> None:
    other = page.context.new_page()
    other.goto(own.url)
    other.wait_for_selector(READY)
    page.route("**/gradio_api/run/**", lambda route: route.abort())
    box(page, "Caption 1").fill("mine")
    box(other, "Caption 1").fill("theirs")
    box(other, "Caption 2").focus()
    expect(box(other, "Caption 1")).to_have_attribute("value", "theirs")
    page.unroute("**/gradio_api/run/**")
    page.reload()
    page.wait_for_selector(READY)
    expect(box(page, "Caption 1")).to_have_value("mine")
    expect(page.get_by_text("Another tab wrote: “theirs”")).to_be_visible()
    page.get_by_role("button", name="Use that").click()
    expect(box(page, "Caption 1")).to_have_value("theirs")


def test_a_second_choice_waits_for_the_first(page: Any, pictures: Path) -> None:
    held: list[Any] = []
    page.route("**/gradio_api/upload", lambda route: held.append(route), times=1)
    page.set_input_files("#files", [str(pictures / "a pear.png")])
    expect(page.get_by_text("Uploading 1 of 1 …")).to_be_visible()
    page.set_input_files("#files", [str(pictures / "a owl.png"), str(pictures / "a fox.png")])
    expect(page.get_by_text("Uploading 1 of 3 …")).to_be_visible()
    while not held:
        page.evaluate("0")
    held[0].continue_()
    page.wait_for_selector("body[data-pictures='5']")
    names = page.get_by_role("img", name=re.compile("^Picture ")).evaluate_all("all => all.map(one => one.alt)")
    assert [name.split(": ")[1] for name in names] == [
        f"a {one}.png" for one in ("boat", "house", "pear", "owl", "fox")
    ]


@pytest.mark.thorough
def test_files_that_did_not_arrive_are_named(page: Any, own: Process, pictures: Path) -> None:
    held: list[Any] = []
    page.route("**/gradio_api/upload", lambda route: held.append(route))
    page.set_input_files("#files", [str(pictures / "a pear.png"), str(pictures / "a owl.png")])
    expect(page.get_by_text("Uploading 1 of 2 …")).to_be_visible()
    while not held:
        page.evaluate("0")  # lets the browser tell what it has asked for
    page.get_by_role("heading", name="Add pictures").click()  # a page that nobody has touched may not ask
    with page.expect_event("dialog") as asked:
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload", "what is not sent yet would be missing without a word"
    asked.value.dismiss()
    own.stop(hard=True)
    for route in held:
        route.abort()
    expect(page.get_by_text("2 not added (a pear.png, a owl.png)")).to_be_visible(**SLOW)
    own.start(port=own.port)


@pytest.mark.thorough
def test_settings_that_were_typed_meanwhile_are_sent(page: Any, own: Process) -> None:
    page.get_by_role("link", name="Next: style").click()
    page.locator("#advanced > summary").click()
    page.get_by_text("All settings").click()
    steps = page.locator("[data-setting='train.steps']")
    page.get_by_label("Search settings").fill("train.steps")
    expect(steps).to_be_visible()
    kept = own.out / ".studio" / "drafts" / page.evaluate("document.body.dataset.draft") / "draft.json"
    own.stop(hard=True)
    steps.fill("7")
    steps.blur()
    own.start(port=own.port)
    end = time.monotonic() + 120
    while json.loads(kept.read_text(encoding="utf-8"))["choices"]["settings"] != {"train.steps": 7}:
        assert time.monotonic() < end, "the server has it once it is back"
        time.sleep(0.1)
    page.wait_for_function(ALL_SENT)


@pytest.mark.thorough
def test_fields_of_the_playground_come_back(page: Any, own: Process) -> None:
    page.goto(f"{own.url}playground")
    prompt = box(page, "Prompt")
    expect(prompt).not_to_have_value("")
    own.stop(hard=True)
    prompt.fill("a red fox")
    own.start(port=own.port)
    desks = own.out / ".studio" / "desks"
    end = time.monotonic() + 120
    while not [path for path in desks.glob("*.json") if '"prompt":"a red fox"' in path.read_text(encoding="utf-8")]:
        assert time.monotonic() < end, "the server has it once it is back"
        time.sleep(0.1)
    page.reload()
    expect(prompt).to_have_value("a red fox")
