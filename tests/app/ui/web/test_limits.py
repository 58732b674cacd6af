from __future__ import annotations

from app.ui.web.limits import LARGEST_OTHER, LARGEST_UPLOAD, LimitsMiddleware
from tests.app.ui.web.asking import ask, inner

LIMITS = LimitsMiddleware(inner)


def test_sizes():
    small = {"content_length": str(LARGEST_OTHER + 1)}
    assert ask(LIMITS, "/gradio_api/queue/join", "POST", **small).status == 413
    assert ask(LIMITS, "/gradio_api/upload", "POST", **small).status == 200
    assert ask(LIMITS, "/gradio_api/upload", "POST", content_length=str(LARGEST_UPLOAD + 1)).status == 413
    lying = ask(LIMITS, "/gradio_api/queue/join", "POST", [bytes(LARGEST_OTHER), b"x"], content_length="5")
    assert lying.status == 0, "the connection ends where more comes than was said"


def test_an_upload_for_which_the_disk_has_no_room_is_refused_in_words():
    limits = LimitsMiddleware(inner, room=lambda: 100)
    refused = ask(limits, "/gradio_api/upload", "POST", content_length="101")
    assert refused.status == 507 and refused.text.startswith("The disk is full")
    assert ask(limits, "/gradio_api/upload", "POST", content_length="100").status == 200
    assert ask(limits, "/gradio_api/queue/join", "POST", content_length="101").status == 200
