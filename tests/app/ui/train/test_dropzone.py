"""What somebody reads of files that the server refused or never got."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from app.studio.services import Services
from app.ui.train import images
from tests.app.ui.bare_page import BareTab
from tests.trainers.data.pictures import scene

LEAVE = "dispatchEvent(new Event('beforeunload', {cancelable: true}))"
FULL = "The disk is full, so this was not saved."


def test_why_files_did_not_come_in_is_said(bare_tab: BareTab, services: Services, tmp_path: Path) -> None:
    for name in ("fox.png", "owl.png"):
        scene(1, (64, 48)).save(tmp_path / name)
    held: list[Any] = []
    with bare_tab.visit(images.build, services) as bare:
        page = bare.open()
        refusal: Any = {"status": 507, "content_type": "text/plain", "body": FULL}
        page.route("**/gradio_api/upload", lambda route: route.fulfill(**refusal))
        page.route("**/now", lambda route: route.fulfill(json={}))
        page.set_input_files("#files", [str(tmp_path / "fox.png")])
        refused = page.locator(".left-out").get_by_role("listitem").filter(has_text="fox.png")
        refused.get_by_text(FULL).wait_for()
        page.unroute_all()  # nothing is answered any more
        page.route("**/gradio_api/upload", lambda route: held.append(route))
        page.set_input_files("#files", [str(tmp_path / name) for name in ("fox.png", "owl.png")])
        expect(page.get_by_text("Uploading 1 of 2 …")).to_be_visible()
        assert page.evaluate(LEAVE) is False, "the browser asks, as what is not sent yet would be missing"
        while not held:
            page.evaluate("0")  # lets the browser tell what it has asked for
        held[0].abort()
        expect(page.get_by_text("2 not added (fox.png, owl.png)")).to_be_visible()
        assert page.evaluate(LEAVE) is True
