"""What the studio says where something is damaged, away, or not what it calls itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.app.jobs.test_repair import damage
from tests.app.ui.screens.runs import listed_runs
from tests.app.ui.screens.stage import Stage
from tests.app.ui.visitor import ALL_SENT, add, try_out


def screens(stage: Stage) -> Iterator[str]:
    """All of it."""
    for part in (damaged_queue, damaged_draft, arriving, imports, away):
        yield from part(stage)


def damaged_queue(stage: Stage) -> Iterator[str]:
    """The queue was damaged while the studio was off, and is made anew with a button."""
    with listed_runs(stage.out):
        stage.page.goto("about:blank")
        stage.studio.stop()
        damage(stage.store)
        stage.studio.start(port=stage.studio.port)
        stage.go("runs", ".banner.problem")
        yield "runs-queue-damaged"
        stage.press("Repair the queue")
        stage.page.get_by_text("The queue was rebuilt").wait_for()
        yield "runs-queue-repaired"


def damaged_draft(stage: Stage) -> Iterator[str]:
    """A draft that was damaged, and one that a newer version has written."""
    page, draft = stage.page, stage.go_fresh()
    add(page, *stage.pictures, count=3)
    whole = draft.read_bytes()
    draft.write_bytes(whole[:-200])
    page.reload()
    page.get_by_text("was damaged").first.wait_for()
    yield "draft-damaged"
    stage.press("Dismiss")
    page.get_by_text("was damaged").wait_for(state="detached")
    draft.write_bytes(draft.read_bytes().replace(b'"schema_version":', b'"schema_version":99', 1))
    page.reload()
    page.get_by_text("newer Velatura").wait_for()
    yield "draft-newer"
    draft.write_bytes(whole)


def arriving(stage: Stage) -> Iterator[str]:
    """Files that come in, several drops one after the other."""
    page = stage.page
    stage.go_fresh()
    held: list[Any] = []
    page.route("**/gradio_api/upload", lambda route: route.continue_() if held else held.append(route))
    page.set_input_files("#files", [str(stage.files[0])])
    page.get_by_text("Uploading 1 of 1").wait_for()
    page.set_input_files("#files", [str(file) for file in stage.files[1:]])
    page.get_by_text(f"Uploading 1 of {len(stage.files)}").wait_for()
    yield "train-uploading"
    held[0].continue_()
    page.unroute("**/gradio_api/upload")
    page.wait_for_selector(".left-out")
    page.wait_for_selector("body[data-pictures='7']")
    page.locator(".left-out").scroll_into_view_if_needed()
    yield "train-left-out"


def imports(stage: Stage) -> Iterator[str]:
    """Style files that are too large, damaged, or something else."""
    page, folder = stage.page, stage.files[0].parent.parent / "styles"
    folder.mkdir(exist_ok=True)
    named = [folder / name for name in ("too large.safetensors", "damaged.safetensors", "weights.ckpt")]
    with named[0].open("wb") as file:
        file.truncate(210 * 2**20)  # takes no room
    named[1].write_bytes(b"\x10\0\0\0\0\0\0\0not what it says")
    named[2].write_bytes(b"weights")
    stage.go("styles", "#styles-file")
    page.set_input_files("#styles-file", [str(file) for file in named])
    page.wait_for_function("document.querySelectorAll('.banner.problem').length === 3")
    yield "styles-not-imported"


def away(stage: Stage) -> Iterator[str]:
    """The server goes, and what is typed and pressed meanwhile."""
    page, studio = stage.page, stage.studio
    stage.go_fresh()
    add(page, *stage.pictures, count=3)
    page.wait_for_function(ALL_SENT)
    page.get_by_role("link", name="Next: style").click()
    try_out(page)
    page.get_by_role("link", name="Next: start").click()
    page.get_by_label("Name of the style").wait_for()
    studio.stop(hard=True)
    page.get_by_label("Name of the style").fill("Evening harbour")
    stage.press("Start training")
    page.get_by_role("alert").filter(has_text="so nothing was started").wait_for(timeout=120_000)
    yield "away-start"
    page.evaluate("location.hash = 'pictures'")
    page.get_by_label("Caption 1").fill("a boat at dusk")
    page.set_input_files("#files", [str(stage.files[6])])
    page.get_by_text("not added").wait_for(timeout=120_000)
    yield "away-pictures"
    studio.start(port=studio.port)
    # What was typed there may be sent only when it is in view again; the page may load itself anew meanwhile.
    page.wait_for_function("(location.hash = 'start')")
    page.wait_for_function(ALL_SENT, timeout=120_000)
