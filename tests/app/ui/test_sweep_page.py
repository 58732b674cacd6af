"""A sweep in a real browser: started in Train, followed on its page, and one of its runs kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from app.jobs.store import Store
from app.studio.sweeps.axes import Axis
from tests.app.studio.sweeps.made import write_ended_sweep
from tests.app.ui.screens.findings import OVERFLOWS, violations
from tests.app.ui.server import MEASURED, SLOW_STEPS, Process
from tests.app.ui.visitor import READY, add, try_out, visiting
from tests.trainers.data.pictures import scene

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    write_ended_sweep(
        folder / "outputs", "dusk", Axis(("method.name",), ("lora", "loha")), Axis(("method.rank",), (4, 8))
    )
    for seed in range(2):
        scene(seed, (320, 240)).save(folder / f"picture {seed}.png")
    return folder


@pytest.fixture(scope="module")
def sweeps(out: Path) -> Iterator[Process]:
    process = Process(out / "outputs", before=SLOW_STEPS + MEASURED)
    yield process
    process.close()


def test_several_methods_are_started_followed_and_stopped(browser, sweeps, out: Path) -> None:
    with visiting(browser, sweeps.url) as page:
        page.goto(sweeps.url)
        page.wait_for_selector(READY)
        add(page, *(out / f"picture {seed}.png" for seed in range(2)), count=2)
        page.get_by_role("link", name="Next: style").click()
        try_out(page)
        page.get_by_role("link", name="Next: start").click()
        page.get_by_label("Name of the style").fill("harbour")
        page.get_by_text("Try several methods").click()
        several = page.get_by_role("group", name="Methods to compare")
        expect(several.get_by_role("checkbox", checked=True)).to_have_count(3)
        expect(several.get_by_text(re.compile("^3 runs"))).to_be_visible()
        several.get_by_label("LoHA").uncheck()
        several.get_by_label("LoKr").uncheck()
        expect(several.get_by_text("Choose at least two methods.")).to_be_visible()
        start = several.get_by_role("button", name="Start these runs")
        expect(start).to_be_disabled()
        several.get_by_label("LoKr").check()
        expect(several.get_by_text(re.compile("^2 runs"))).to_be_visible()
        assert violations(page) == []
        start.click()
        page.wait_for_url("**/sweep?id=harbour")
        expect(page.get_by_role("heading", name="harbour", exact=True)).to_be_visible()
        expect(page.get_by_role("link", name="harbour-lokr")).to_be_visible()
        assert {"harbour-lora", "harbour-lokr"} <= {job.name for job in Store(sweeps.out).jobs()}
        assert violations(page) == []
        page.get_by_role("button", name="Stop all runs").click()
        expect(page.get_by_text("Stopped: 2 runs.")).to_be_visible()
        expect(page.get_by_role("button", name="Stop all runs")).to_have_count(0)
        page.goto(f"{sweeps.url}runs")
        expect(page.get_by_role("link", name=re.compile("^harbour"))).to_have_attribute("href", "sweep?id=harbour")


def test_pictures_are_enlarged_and_one_run_is_kept(browser, sweeps) -> None:
    with visiting(browser, sweeps.url) as page:
        page.goto(f"{sweeps.url}sweep?id=dusk")
        expect(page.get_by_text("4 of 4 done")).to_be_visible()
        page.get_by_role("button", name="LoRA, dusk-lora-r4").first.click()
        light = page.get_by_role("dialog")
        expect(light.get_by_text("LoRA · dusk-lora-r4")).to_be_visible()
        page.keyboard.press("ArrowRight")
        expect(light.get_by_text("LoRA · dusk-lora-r8")).to_be_visible()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Keep this one: dusk-loha-r8").click()
        expect(page.get_by_text("Your choice")).to_have_count(1)
        page.reload()
        expect(page.get_by_role("button", name="Undo the choice of dusk-loha-r8")).to_be_visible()
        with page.expect_download() as saved:
            page.get_by_role("button", name="Download as one picture").click()
        assert saved.value.suggested_filename == "dusk.png"
        page.emulate_media(reduced_motion="reduce")  # colours change at once
        for width, theme in ((1280, "light"), (390, "dark")):
            page.set_viewport_size({"width": width, "height": 844})
            page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
            assert not page.evaluate(OVERFLOWS), width
            assert violations(page) == []
