"""What is killed comes back: the server under an open page, and the process that trains."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.store import Job, Store
from tests.app.ui.server import SLOWER_STEPS, Process
from tests.app.ui.visitor import blank_page, listen
from tests.trainers.tiny_runs import quick_settings, write_images


@pytest.fixture
def training(tmp_path: Path, tiny_bases: dict[str, Path]) -> Iterator[tuple[Process, Store, Job]]:
    """A studio that trains a run without end, with a checkpoint every few steps."""
    process, store = Process(tmp_path / "outputs", before=SLOWER_STEPS), Store(tmp_path / "outputs")
    layers = ({"name": "harbour", "train": {"steps": 50_000}}, {"save": {"every": 8}})
    job = actions.add(
        store, quick_settings(tiny_bases["sd1"], write_images(tmp_path / "images"), *layers), actor=MACHINE_OWNER
    )
    yield process, store, job
    process.close()


def wait_for_step(page: Any, least: int) -> int:
    """Until the page shows that many steps; how many it shows then."""
    page.wait_for_selector("#run-head .chip.training")
    shown = f"parseInt(document.querySelector('.facts')?.textContent.slice(5)) >= {least}"
    counted = page.wait_for_function(f"{shown} && document.querySelector('.facts').textContent.slice(5)")
    return int(re.match(r"\d+", counted.json_value())[0])


def test_a_run_and_its_page_outlive_the_server_and_a_killed_run_goes_on(browser: Any, training: Any) -> None:
    process, store, job = training
    with blank_page(browser) as page:
        complaints: list[str] = []
        listen(page, process.url, complaints)
        page.goto(f"{process.url}run?id=harbour")
        seen = wait_for_step(page, 10)
        trainer = store.job(job.id).process
        assert complaints == []

        process.stop(hard=True)
        page.get_by_text("The studio does not answer.").wait_for()
        assert any(process.url in complaint for complaint in complaints), "a page that is not answered says so"
        process.start(port=process.port)
        assert wait_for_step(page, seen + 1) > seen
        assert store.job(job.id).process == trainer and trainer.is_alive(), "the run was not begun again"

        done = wait_for_step(page, seen + 1)
        trainer.kill()  # it goes on by itself, and the page with it
        assert wait_for_step(page, done + 10) > done
        assert store.job(job.id).restarts == 1

        store.set_retries(0)
        trainer = store.job(job.id).process
        trainer.kill()
        page.wait_for_selector("#run-head .chip.interrupted")
        saved = int(re.search(r"Saved up to step (\d+)", page.locator(".line").inner_text())[1])
        assert saved >= 8 and saved % 8 == 0
        page.wait_for_selector("[data-settling]", state="detached")
        page.get_by_role("button", name=f"Continue from {saved}", exact=True).click()
        assert wait_for_step(page, saved + 1) > saved
        assert store.job(job.id).process != trainer
        expect(page.locator(".plots path.smooth")).to_have_count(1)
