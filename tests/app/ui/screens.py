"""Pictures of every screen in both themes and three widths: `python -m tests.app.ui.screens [FOLDER] [URL]`.

Without a URL it serves a studio of its own on empty folders.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from playwright.sync_api import sync_playwright
from safetensors.torch import save_file

from app.jobs.process import own_identity
from app.jobs.store import TRAIN, NewJob, Store
from tests.app.ui.ended_runs import write_run
from tests.app.ui.server import Process
from tests.app.ui.visitor import READY, add
from tests.browser import find_browser
from tests.trainers.data.pictures import scene
from trainers.events import Recorder
from trainers.run import Run

SIZES = ((390, 844), (1280, 860), (1920, 1080))


def main(folder: Path, url: str | None) -> None:
    """Draw all screens into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        files = write_files(Path(place) / "in")
        served = None if url else Process(Path(place) / "outputs")
        locked = Process(Path(place) / "locked", "--auth", "ann:pear")
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"])
        for theme in ("light", "dark"):
            for width, height in SIZES:
                size = {"width": width, "height": height}
                context = browser.new_context(viewport=size, color_scheme=theme)
                page = context.new_page()
                for name in screens(page, url or served.url, locked.url, files, served and served.out):
                    page.wait_for_timeout(400)
                    page.screenshot(path=folder / f"{name}-{width}-{theme}.png")
                context.close()
        browser.close()
        for process in filter(None, (served, locked)):
            process.stop()


def screens(page: Any, url: str, locked: str, files: list[Path], out: Path | None) -> Iterator[str]:
    """Go through the screens; each name comes when its screen is there. `out` is the folder of runs, if it is ours."""
    page.goto(locked)
    page.wait_for_selector("form")
    yield "login"
    page.goto(url)
    page.wait_for_selector(READY)
    yield "train-empty"
    page.locator("[data-sample=photograph]").click()
    page.wait_for_selector("body[data-pictures='12']")
    page.get_by_label("Trigger word").fill("harbour style")
    page.wait_for_selector(".trigger")
    yield "train-pictures"
    page.locator(".cards").scroll_into_view_if_needed()
    page.evaluate("scrollTo(0, document.querySelector('.cards').getBoundingClientRect().top + scrollY - 80)")
    yield "train-cards"
    page.evaluate("scrollTo(0, 0)")
    page.get_by_role("button", name="Find and replace").click()
    page.get_by_label("Find", exact=True).fill("s")
    page.wait_for_selector(".preview li")
    yield "train-find"
    page.get_by_role("button", name="Write captions for me").click()
    page.locator("#write-panel").get_by_text("All of them").click()
    page.get_by_role("button", name="Write captions", exact=True).click()
    page.wait_for_selector(".problem", timeout=60_000)
    yield "train-write"
    page.get_by_role("link", name="Next: style").click()
    page.wait_for_selector("#step-style .pick.preset")
    yield "train-style"
    page.locator("[data-key=beside] > summary").click()
    page.get_by_label("A new word").check()
    page.wait_for_selector("#beside-textual-inversion-words")
    page.locator("[data-key=beside] > summary").scroll_into_view_if_needed()
    yield "train-beside"
    page.get_by_label("A new word").uncheck()
    page.wait_for_selector("#beside-textual-inversion-words", state="detached")
    page.locator("[data-key=beside] > summary").click()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.get_by_role("button", name="Use a real base").click()
    yield "train-base"
    page.locator("#base-panel > summary").click()
    page.locator(".settings > summary").click()
    page.wait_for_selector(".setting", state="attached")
    page.get_by_label("Search settings").fill("rate")
    page.get_by_label("Learning rate train.learning_rate", exact=True).fill("0")
    page.keyboard.press("Enter")
    page.wait_for_selector(".setting .problem")
    yield "train-settings"
    page.get_by_role("button", name="Back to preset").click()
    page.wait_for_selector(".setting .problem", state="detached")
    page.get_by_role("link", name="Next: start").click()
    page.wait_for_selector("#step-start .summary")
    yield "train-start"
    page.goto(url)
    page.wait_for_selector(READY)
    page.get_by_role("button", name="Start fresh").click()
    page.wait_for_selector("body[data-pictures='0']")
    add(page, *files, count=7)
    page.wait_for_selector(".left-out")
    yield "train-findings"
    page.evaluate("scrollTo(0, document.querySelector('.cards').getBoundingClientRect().top + scrollY - 80)")
    yield "train-findings-cards"
    for name in ("runs", "styles", "playground"):
        page.goto(url + name)
        page.wait_for_selector("#pg-form form" if name == "playground" else "h1 >> visible=true")
        yield name
    page.locator(".more-fields > summary").click()
    page.get_by_label("Steps", exact=True).fill("0")
    page.get_by_role("button", name="Draw", exact=True).click()
    page.wait_for_selector("#pg-steps-said")
    yield "playground-wrong"
    page.get_by_label("Steps", exact=True).fill("8")
    page.locator(".more-fields > summary").click()
    page.get_by_role("button", name="Draw", exact=True).click()
    page.wait_for_selector("#pg-going .runs [role=progressbar]")
    yield "playground-going"
    page.wait_for_selector("#pg-picture img")
    page.wait_for_selector("#pg-going .going", state="detached")
    yield "playground-drawn"
    if out is not None:
        with hung_styles(out):
            page.goto(url + "styles")
            page.wait_for_selector(".art.of4")
            yield "styles-list"
            page.locator(".offers-of summary").last.click()
            yield "styles-download"
            page.locator(".more").last.locator("summary").click()
            page.get_by_role("button", name="Delete").last.click()
            yield "styles-delete"
        yield from run_screens(page, url, out)
        yield from trash_screens(page, url, out)


def run_screens(page: Any, url: str, out: Path) -> Iterator[str]:
    """The list of runs with a line to put in order, a run, and runs side by side."""
    with listed_runs(out) as names:
        page.goto(url + "runs")
        page.wait_for_selector(".handle")
        page.locator("[data-tick]").nth(1).check()
        yield "runs-one-ticked"
        page.locator("[data-tick]").nth(2).check()
        yield "runs-ticked"
        page.goto(f"{url}run?id={names[0]}")
        page.wait_for_selector(".compare:not([hidden])")
        page.evaluate("document.querySelector('#run-compare').scrollIntoView()")
        yield "run-slider"
        for name, chosen in (("compare", names[:2]), ("compare-four", names), ("compare-none", ["none"])):
            page.goto(f"{url}compare?ids={','.join(chosen)}")
            page.wait_for_selector("#comparison h1")
            yield name


def trash_screens(page: Any, url: str, out: Path) -> Iterator[str]:
    """A run that is restarted and deleted, each after a question and with a way back, and the trash."""
    with listed_runs(out) as names:
        paused = Run(out / names[0])
        paused.checkpoint(150).mkdir(parents=True)
        for kind in ("checkpoint", "paused"):
            Recorder(paused.folder)(kind, step=150)
        page.goto(f"{url}run?id={names[0]}")
        page.get_by_role("button", name="Restart from zero").click()
        yield "run-restart"
        page.get_by_role("dialog").get_by_role("button", name="Restart from zero").click()
        page.get_by_role("button", name="Undo").wait_for()
        yield "run-restarted"
        page.get_by_role("button", name="Undo").click()
        page.get_by_text("is back as it was").wait_for()
        page.get_by_role("button", name="Delete", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Undo").wait_for()
        yield "run-deleted"
        page.goto(f"{url}runs")
        page.get_by_role("link", name="Trash ·").scroll_into_view_if_needed()
        yield "runs-trash"
        page.goto(f"{url}trash")
        page.get_by_role("button", name="Restore").wait_for()
        yield "trash"
        page.get_by_role("button", name="Empty now").click()
        yield "trash-empty-now"
        page.get_by_role("button", name="Keep").click()
        page.get_by_role("button", name="Restore").click()
        page.get_by_role("heading", name="The trash is empty").wait_for()
        yield "trash-empty"


@contextmanager
def hung_styles(out: Path) -> Iterator[None]:
    """Two styles on the shelf for a while: one of a run, one from elsewhere."""
    run, brought = out / "Harbour blue", out / ".studio/styles/pixel night.safetensors"
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {f"{layer}.lora_up.weight": torch.ones(320, 8), f"{layer}.lora_down.weight": torch.ones(8, 768)}
    (run / "samples/final").mkdir(parents=True)
    (run / "style").mkdir()
    (run / "config.toml").write_text('name = "Harbour blue"\n[base]\nmodel = "watercolour-v1"\n', encoding="utf-8")
    save_file(tensors, run / "style/Harbour blue.safetensors", {"velatura.trigger": "harbour style"})
    for number in range(4):
        scene(20 + number, (512, 512)).save(run / f"samples/final/{number:02d}.png")
    tags = {"1_x": {"pixel art": 40, "night city": 20, "<b>neon</b>": 12}}
    save_file(tensors, brought, {"ss_tag_frequency": json.dumps(tags), "modelspec.author": "somebody else"})
    Recorder(run)("done", step=600)
    try:
        yield
    finally:
        shutil.rmtree(run)
        brought.unlink()


@contextmanager
def listed_runs(out: Path) -> Iterator[list[str]]:
    """Four runs in the list for a while, two of which wait for a third, which this process says it has in hand."""
    settings: dict[str, dict[str, Any]] = {
        "Harbour blue": {"train": {"learning_rate": 1e-4}},
        "Harbour blue 2": {"train": {"learning_rate": 4e-4}, "method": {"name": "lokr", "factor": 8}},
        "The kitchen of a grandmother in the morning": {"base": {"model": "sd15.safetensors"}},
        "Linocut": {"train": {"steps": 200}, "sample": {"seeds": [7]}},
    }
    store = Store(out)
    runs = [write_run(out, name, each, first=number) for number, (name, each) in enumerate(settings.items())]
    jobs = [store.add(NewJob(TRAIN, run)) for run in runs[1:]]
    claimed = store.claim(lambda *_: "cpu", own_identity())
    assert claimed is not None
    store.begin(claimed.id, claimed.token, own_identity())
    try:
        yield [run.name for run in runs]
    finally:
        for job in jobs:
            store.end(store.job(job.id))
            store.remove(store.job(job.id))
        for run in runs:
            shutil.rmtree(run)


def write_files(folder: Path) -> list[Path]:
    """Pictures with a fault each, and two files that are none."""
    folder.mkdir(parents=True)
    scene(1, (900, 700)).save(folder / "red boat.png")
    scene(1, (900, 700)).resize((450, 350)).save(folder / "red boat, smaller.jpg")
    scene(2, (800, 600)).save(folder / "IMG_1234.jpg")
    scene(6, (1600, 260)).save(folder / "wide panorama.png")
    scene(5, (40, 30)).save(folder / "tiny pear.bmp")
    cut = scene(7, (640, 640)).convert("RGBA")
    cut.paste((0, 0, 0, 0), (0, 0, 200, 640))
    cut.save(folder / "cut out.png")
    Image.new("RGB", (500, 500), "teal").save(folder / "plain.webp")
    (folder / "notes.png").write_text("not an image", encoding="utf-8")
    (folder / "a page with a very long name that goes on and on and on.svg").write_text("<svg/>", encoding="utf-8")
    return sorted(folder.iterdir())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/screens"), sys.argv[2] if len(sys.argv) > 2 else None)
