"""What is thrown away: each time a question and a way back, and the trash with one of everything."""

from __future__ import annotations

from collections.abc import Iterator

from app.jobs.permissions import MACHINE_OWNER
from app.jobs.run_trash import start_over
from app.jobs.store import TRAIN, NewJob
from app.jobs.trash.trash import CONTENT, DRAWING, STYLE, Trash, new_item
from tests.app.ui.screens.runs import listed_runs
from tests.app.ui.screens.stage import Stage
from tests.trainers.data.pictures import scene
from trainers.runs.events import Recorder
from trainers.runs.run import Run


def screens(stage: Stage) -> Iterator[str]:
    """All of it."""
    page = stage.page
    Trash(stage.store).empty(MACHINE_OWNER)
    stage.go("trash", ".empty")
    yield "trash-nothing"
    with listed_runs(stage.out) as names:
        paused = Run(stage.out / names[0])
        paused.checkpoint(150).mkdir(parents=True)
        for kind in ("checkpoint", "paused"):
            Recorder(paused.folder)(kind, step=150)
        stage.go(f"run?id={names[0]}", "#run-head .facts")
        page.get_by_label("More actions").click()
        stage.press("Restart from zero")
        yield "run-restart"
        stage.press("Restart from zero", page.get_by_role("dialog"))
        page.get_by_role("button", name="Undo").wait_for()
        yield "run-restarted"
        stage.press("Undo")
        page.locator("#run-head").get_by_text("Paused").wait_for()
        page.wait_for_selector("[data-settling]", state="detached")
        page.get_by_label("More actions").click()
        stage.press("Delete")
        page.get_by_role("button", name="Undo").wait_for()
        yield "run-deleted"
        fill_trash(stage)
        stage.go("runs", ".to-trash")
        page.get_by_role("link", name="Trash ·").scroll_into_view_if_needed()
        yield "runs-trash"
        stage.go("trash", ".thrown")
        yield "trash-full"
        page.get_by_role("listitem").filter(has_text=names[0]).get_by_role("button", name="Restore").click()
        page.get_by_text("is back as it was").wait_for()
        yield "trash-restored"
        page.get_by_role("button", name="Empty now").click()
        yield "trash-empty-now"
        stage.press("Delete for good", page.get_by_role("dialog"))
        page.get_by_role("heading", name="The trash is empty").wait_for()
        yield "trash-emptied"


def fill_trash(stage: Stage) -> None:
    """Throw away a style, a picture, and what a run had learned before it was restarted."""
    store, runs = stage.store, stage.out
    trash = Trash(store)
    shelf = runs / ".studio" / "styles"
    shelf.mkdir(parents=True, exist_ok=True)
    (shelf / "pixel night.safetensors").write_bytes(bytes(3_200_000))
    trash.put(new_item(STYLE, "pixel night", "", {CONTENT: shelf / "pixel night.safetensors"}, runs))
    drawing = runs / ".studio" / "drawings" / "drawing-1"
    drawing.mkdir(parents=True, exist_ok=True)
    scene(3, (512, 512)).save(drawing / "00.png")
    prompt = "a lighthouse on a rock in the evening, seen from the sea, in harbour style"
    trash.put(new_item(DRAWING, prompt, "", {CONTENT: drawing}, runs))
    linocut = runs / "Linocut"
    job = store.job_in(linocut)
    assert job is not None
    store.end(job)
    Run(linocut).checkpoint(100).mkdir(parents=True)
    start_over(store, store.job(store.add(NewJob(TRAIN, linocut), phase="ended").id), Run(linocut).config())
