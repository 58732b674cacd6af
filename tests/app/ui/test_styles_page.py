"""The styles in a real browser: a trained one and some from strangers; looked at, saved, renamed, deleted."""

from __future__ import annotations

import pickle
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import expect
from safetensors.torch import save_file

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.states import State
from app.jobs.store import Job, Store
from app.jobs.views import Watcher
from tests.app.ui.server import SLOW_STEPS, Process
from tests.app.ui.visitor import Tab, expect_layout, open_tab, widest
from tests.trainers.tiny_runs import METHODS, quick_settings, write_images
from tests.waiting import wait_until
from trainers.formats.inspect import describe_style

NASTY = "<b>blot</b> ${document.title='x'} {{1+1}} \"'"
LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
SHARES = """() => {
  const part = document.querySelector('#styles-intake .part');
  window.shares = [];
  new MutationObserver(() => shares.push(part.textContent)).observe(part, {childList: true});
}"""
LORA = {f"{LAYER}.lora_up.weight": torch.ones(8, 2), f"{LAYER}.lora_down.weight": torch.ones(2, 768)}


@dataclass
class Place:
    """A studio with a queue of its own, and files to bring into it."""

    url: str
    store: Store
    files: Path
    images: Path
    base: Path

    def train(self, name: str, steps: int) -> Job:
        """Put a run in line."""
        sample = {"every": 2, "prompts": [NASTY, "a boat", "a fox"], "steps": 1}
        layers = ({"name": name, "method": METHODS["loha"], "data": {"trigger": NASTY}, "train": {"steps": steps}},)
        return actions.add(
            self.store, quick_settings(self.base, self.images, *layers, {"sample": sample}), actor=MACHINE_OWNER
        )

    def state(self, name: str) -> State | None:
        view = Watcher(self.store).view_of(name)
        return None if view is None else view.state

    def step(self, name: str) -> int:
        view = Watcher(self.store).view_of(name)
        return 0 if view is None else view.summary.step

    def uploads(self) -> list[str]:
        """What lies where uploads come in."""
        return [path.name for path in (self.store.runs / ".studio/uploads").rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_bases: dict[str, Path]) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("styles")
    images, files = write_images(folder / "images"), folder / "files"
    files.mkdir()
    process = Process(folder / "outputs", before=SLOW_STEPS)
    store = Store(folder / "outputs")
    yield Place(process.url, store, files, images, tiny_bases["sd1"])
    process.close()


@pytest.fixture(scope="module")
def tab(browser: Any, place: Place) -> Iterator[Tab]:
    with open_tab(browser, place.url, "clipboard-read", "clipboard-write") as opened:
        yield opened


@pytest.fixture
def page(tab: Tab) -> Iterator[Any]:
    with tab.visit() as opened:
        yield opened


def card(page: Any, name: str) -> Any:
    found = page.locator(".shelf > li", has=page.locator("h2", has_text=name))
    found.first.wait_for()
    return found


def save_as(page: Any, name: str, label: str, folder: Path) -> Path:
    """Choose something of a card's download menu; the file as it is saved."""
    card(page, name).locator(".offers-of summary").click()
    with page.expect_download() as saved:
        card(page, name).get_by_role("button", name=label).click()
    saved.value.save_as(folder / saved.value.suggested_filename)
    return folder / saved.value.suggested_filename


def more(page: Any, name: str, label: str) -> None:
    card(page, name).locator(".more").last.locator("summary").click()
    card(page, name).get_by_role("button", name=label, exact=True).click()


def bring(page: Any, *files: Path) -> None:
    page.set_input_files("#styles-file", [str(file) for file in files])


@pytest.mark.thorough
def test_a_file_put_into_the_folder_appears_by_itself(page, place, tmp_path):
    """While it is being copied it is no style yet."""
    save_file(LORA, tmp_path / "whole.safetensors")
    whole, copy = (
        (tmp_path / "whole.safetensors").read_bytes(),
        place.store.runs / ".studio/styles/put here.safetensors",
    )
    copy.parent.mkdir(exist_ok=True)
    page.goto(f"{place.url}styles")
    page.wait_for_selector(".empty")
    with copy.open("wb") as file:
        file.write(whole[:50])
        file.flush()
        with page.expect_request(lambda request: "run/predict" in request.url):  # the page asks and shows none
            pass
        file.write(whole[50:])
    expect(card(page, "put here")).to_have_count(1)
    copy.unlink()
    page.wait_for_selector(".empty")


def test_a_trained_style_comes_and_goes_out_in_every_form(page, place, tmp_path):
    page.goto(f"{place.url}styles")
    page.wait_for_selector(".empty")
    expect(page.locator(".go:visible")).to_have_text(["Train your first style"], use_inner_text=True)
    expect(page.get_by_role("button", name="Import a style")).to_be_visible()
    expect(page.locator("h1:visible")).to_have_count(1)
    expect(page.get_by_label("Search")).to_be_hidden()
    expect_layout(page)

    job = place.train("harbour blue", steps=20_000)
    page.reload()
    page.wait_for_selector(".empty .go:text-is('Watch it')")
    wait_until(lambda: place.step("harbour blue") > 2, "there is something to keep")
    actions.stop(place.store, job.id, actor=MACHINE_OWNER)
    finished = "a style is listed, as a snapshot, before its run has written the files that are saved here"
    wait_until(lambda: place.state("harbour blue") == State.STOPPED, finished)
    page.reload()
    style = card(page, "harbour blue")
    expect(style.locator(".trigger"), "markup is text").to_have_text([NASTY])
    expect(style.locator(".facts")).to_have_text(re.compile("^LoHA · on sd1 · "), use_inner_text=True)
    page.wait_for_function("[...document.querySelectorAll('.art.of3 img')].every(one => one.naturalWidth > 0)")
    expect(page.locator(".go:visible")).to_have_count(0)
    expect(page).to_have_title(re.compile("Styles · Velatura$"))

    whole = save_as(page, "harbour blue", "For ComfyUI", tmp_path)
    for_diffusers = save_as(page, "harbour blue", "For diffusers", tmp_path)
    settings = save_as(page, "harbour blue", "Settings", tmp_path)
    names = [path.name for path in (whole, for_diffusers, settings)]
    assert names == ["harbour blue.safetensors", "harbour blue-diffusers.safetensors", "harbour blue.toml"]
    assert [describe_style(file).method for file in (whole, for_diffusers)] == ["loha", "lora"]
    assert tomllib.loads(settings.read_text("utf-8"))["name"] == "harbour blue"

    more(page, "harbour blue", "Copy the prompt words")
    page.wait_for_selector(".toast:has-text('Copied:')")
    assert page.evaluate("navigator.clipboard.readText()") == f"<lora:harbour blue:0.8> {NASTY}"
    expect(style.get_by_role("link", name="Try it")).to_have_attribute("href", re.compile(r"^playground\?style="))
    style.locator(".more").last.locator("summary").click()
    expect(style.get_by_role("link", name="Open its run")).to_have_attribute("href", "run?id=harbour blue")


def test_styles_from_elsewhere_are_taken_in_or_refused_in_a_sentence(page, place):
    metadata = {"modelspec.trigger_phrase": NASTY, "modelspec.author": "<img src=x onerror=alert(1)>"}
    save_file(LORA, place.files / "<b>blot<b>.safetensors", metadata)
    page.goto(f"{place.url}styles")
    page.wait_for_selector("#styles-intake .part", state="attached")
    page.evaluate(SHARES)
    bring(page, place.files / "<b>blot<b>.safetensors")
    page.wait_for_selector(".banner:has-text('b blot b was imported.')")
    assert {"0 %", "100 %"} <= set(page.evaluate("shares")), "it is said how much has arrived"
    expect(page.locator("#styles-intake .bar")).to_be_hidden()
    style = card(page, "b blot b")
    expect(style.locator(".hint")).to_have_text("Made elsewhere: these words come from the file.")
    expect(style.locator(".trigger")).to_have_text([NASTY])
    style.get_by_text("What the file says").click()
    expect(style.locator("dd")).to_have_text(metadata["modelspec.author"])
    assert style.locator("b b, dd img, h2 b, .trigger b").count() == 0 and page.title() == "Styles · Velatura"
    expect(style.locator(".art.none .mark")).to_be_visible()
    style.locator(".offers-of summary").click()
    expect(style.locator(".offers-of small").nth(1)).to_have_text("the same file")
    expect(style.get_by_role("button", name="Settings")).to_have_count(0)

    (place.files / "comfy" / "comfy").mkdir(parents=True)
    style.get_by_role("button", name="Put into another program").click()
    asked = page.locator("dialog.ask[open]")
    expect(asked.locator("h2")).to_have_text("Put b blot b into a program")
    asked.get_by_label("Program", exact=True).select_option("ComfyUI")
    asked.get_by_label("Its folder").fill(str(place.files / "comfy"))
    page.keyboard.press("Enter")
    page.wait_for_selector(".banner:has-text('b blot b is in ComfyUI now')")
    assert (place.files / "comfy" / "models" / "loras" / "b blot b.safetensors").is_file()

    (place.files / "bomb.safetensors").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    base = {"model.diffusion_model.input_blocks.0.0.weight": torch.ones(2, 2), "first_stage_model.x": torch.ones(2)}
    save_file(base, place.files / "base.safetensors")
    (place.files / "old.ckpt").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    bring(page, place.files / "bomb.safetensors")
    page.wait_for_selector(".banner.problem:has-text('“bomb.safetensors” is not a .safetensors file')")
    bring(page, place.files / "base.safetensors")
    page.wait_for_selector(".banner.problem:has-text('is a base model or part of one, not a style')")
    bring(page, place.files / "old.ckpt")
    page.wait_for_selector(".banner.problem:has-text('“old.ckpt” does not end in .safetensors; other files')")
    bring(page, place.files / "<b>blot<b>.safetensors")
    page.wait_for_selector(".banner.problem:has-text('This style already exists as “b blot b”.')")
    expect(page.locator(".shelf > li")).to_have_count(2)
    assert place.uploads() == [".held"]


def expect_menus_within_the_edges(page: Any) -> None:
    for width in (390, 1920):
        page.set_viewport_size({"width": width, "height": 844})
        for name, menu in product(("Dusk soft", "b blot b"), (".offers-of", ".more:not(.offers-of)")):
            card(page, name).locator(menu).locator("summary").click()
            expect(card(page, name).locator(menu).locator(".menu")).to_be_visible()
            assert widest(page) == []
            box = card(page, name).locator(menu).locator(".menu").bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width
            page.keyboard.press("Escape")


def test_a_style_is_renamed_and_found_and_nothing_reaches_beyond_the_edge(page, place, tmp_path):
    page.goto(f"{place.url}styles")
    card(page, "harbour blue").locator(".more").last.locator("summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator(".more[open]")).to_have_count(0)
    more(page, "harbour blue", "Rename")
    asked = page.locator("dialog.ask[open]")
    expect(asked.locator("h2")).to_have_text("Rename harbour blue")
    field = asked.get_by_label("New name")
    expect(field).to_have_value("harbour blue")
    field.fill("🦊")
    page.keyboard.press("Enter")
    page.wait_for_selector(".banner.problem:has-text('A name needs at least one letter or digit.')")
    more(page, "harbour blue", "Rename")
    field.fill("../Dusk: soft")
    page.keyboard.press("Enter")
    page.wait_for_selector(".banner:has-text('Renamed to Dusk soft.')")
    assert save_as(page, "Dusk soft", "For ComfyUI", tmp_path).name == "Dusk soft.safetensors"
    assert (place.store.runs / "harbour blue").is_dir()
    expect_menus_within_the_edges(page)

    page.get_by_label("Search").fill("LOHA")
    page.wait_for_function("document.querySelectorAll('.shelf > li').length === 1")
    expect(card(page, "Dusk soft")).to_be_visible()
    page.get_by_label("Search").fill("nothing like it")
    page.wait_for_selector("text=No style matches. Shorten the search.")


def test_a_style_is_deleted_alone_or_with_its_run_and_comes_back(page, place):
    folder = place.store.runs / "harbour blue"
    page.goto(f"{place.url}styles")
    card(page, "b blot b").locator(".more").last.locator("summary").click()
    expect(card(page, "b blot b").get_by_role("button", name="Delete with its run")).to_have_count(0)
    page.keyboard.press("Escape")
    more(page, "b blot b", "Delete")
    page.get_by_text("The style “b blot b” was deleted.").wait_for()
    assert list((place.store.runs / ".studio/styles").iterdir()) == []

    more(page, "Dusk soft", "Delete")
    page.get_by_text("The style “Dusk soft” was deleted.").wait_for()
    assert not (folder / "style").exists() and (folder / "samples").is_dir() and (folder / "config.toml").is_file()
    page.get_by_role("button", name="Undo").click()
    more(page, "Dusk soft", "Delete with its run")
    page.get_by_text("“harbour blue” was deleted.").wait_for()
    page.wait_for_selector(".empty")
    assert not folder.exists()
    page.get_by_role("button", name="Undo").click()
    expect(card(page, "Dusk soft")).to_be_visible()
    assert (folder / "style").is_dir()
