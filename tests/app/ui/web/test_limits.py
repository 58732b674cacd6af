from __future__ import annotations

import pytest

from app.studio.people_database import PeopleDatabase
from app.studio.received import Received
from app.ui.web.limits import LARGEST_OTHER, LARGEST_UPLOAD, LOOK_EVERY, Shares, SizeMiddleware, UploadsMiddleware
from tests.app.ui.web.asking import ask, inner

SIZES = SizeMiddleware(inner)
UPLOAD = "/gradio_api/upload"


def uploads(room: int, received: Received | None = None) -> UploadsMiddleware:
    return UploadsMiddleware(inner, Shares(lambda: room, received))


def test_sizes():
    small = {"content_length": str(LARGEST_OTHER + 1)}
    assert ask(SIZES, "/gradio_api/queue/join", "POST", **small).status == 413
    assert ask(SIZES, UPLOAD, "POST", **small).status == 200
    assert ask(SIZES, UPLOAD, "POST", content_length=str(LARGEST_UPLOAD + 1)).status == 413
    for head in ({"content_length": "5"}, {}):
        lying = ask(SIZES, "/gradio_api/queue/join", "POST", [bytes(LARGEST_OTHER), b"x"], **head)
        assert lying.status == 413 and "more than one upload may hold" in lying.text


def test_an_upload_for_which_the_disk_has_no_room_is_refused_in_words():
    refused = ask(uploads(100), UPLOAD, "POST", content_length="101")
    assert refused.status == 507 and refused.text.startswith("The disk is full")
    assert ask(uploads(100), UPLOAD, "POST", content_length="100").status == 200
    assert ask(uploads(100), "/gradio_api/queue/join", "POST", content_length="101").status == 200


def test_an_upload_of_unsaid_size_is_refused_while_it_comes():
    pieces = [b"x" * 2**20] * 12
    assert ask(uploads(2**20), UPLOAD, "POST", pieces).status == 200, "there is room for each piece when it comes"
    rooms = [2**30, 2**30, 10]
    stack = UploadsMiddleware(inner, Shares(lambda: rooms.pop(0)))
    assert ask(stack, UPLOAD, "POST", pieces).status == 507, "somebody else has filled the disk meanwhile"
    assert ask(uploads(0), UPLOAD, "POST", [b"x"]).status == 507
    assert LOOK_EVERY == 4 * 2**20


def test_each_sender_has_a_share_of_a_day(tmp_path):
    now = 1e6
    received = Received(PeopleDatabase(tmp_path / "people.db"), share=1000, clock=lambda: now)
    stack = uploads(2**30, received)
    assert ask(stack, UPLOAD, "POST", [b"x" * 600]).status == 200 and received.left("127.0.0.1") == 400
    for head in ({"content_length": "500"}, {}):
        refused = ask(stack, UPLOAD, "POST", [b"x" * 500], **head)
        assert refused.status == 429 and "as much as one person may" in refused.text
    assert ask(stack, UPLOAD, "POST", [b"x" * 500], ("10.0.0.9", 1)).status == 200, "another one's share is untouched"
    assert ask(stack, UPLOAD, "POST", [b"x" * 400]).status == 200 and received.left("127.0.0.1") == 0
    now += 24 * 3600
    assert received.left("127.0.0.1") == 1000


@pytest.mark.parametrize("told", ["-1", "x", "\u00b2", "1e9"])
def test_a_length_that_is_none_counts_for_nothing(told):
    head = {"content_length": told} if told.isascii() else {}
    assert ask(uploads(100), UPLOAD, "POST", [b"x"], **head).status == 200
