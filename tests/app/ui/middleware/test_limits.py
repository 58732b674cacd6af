from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request

from app.jobs.permissions import Actor
from app.jobs.store import Store
from app.jobs.trash.trash import CONTENT, STYLE, Trash, new_item
from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.quota import Quota, Sent
from app.studio.accounts.received import Received
from app.ui.login.sender import USER
from app.ui.middleware.limits import (
    LARGEST_ACCOUNT_FORM,
    LARGEST_FORM,
    LARGEST_OTHER,
    LARGEST_UPLOAD,
    LOOK_EVERY,
    Shares,
    SizeMiddleware,
    UploadsMiddleware,
)
from tests.app.ui.asking import Answer, ask, inner

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
        assert lying.status == 413 and "An upload may hold at most" in lying.text


@pytest.mark.parametrize(
    ("path", "most", "said"),
    [
        ("/login", LARGEST_FORM, "8.0 kB"),
        ("/logout", LARGEST_FORM, "8.0 kB"),
        ("/invitation", LARGEST_FORM, "8.0 kB"),
        ("/account", LARGEST_ACCOUNT_FORM, "64.0 kB"),
    ],
)
def test_a_form_is_refused_by_its_length_before_it_is_parsed(path, most, said):
    parsed: list[bytes] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["body"]:
            parsed.append(message["body"])

    for head in ({"content_length": str(most + 1)}, {"content_length": "5"}, {}):
        refused = ask(SizeMiddleware(noting), path, "POST", [b"&" * (most + 1), b"x"], **head)
        assert refused.status == 413 and refused.text == f"This form may hold at most {said} of text. Shorten it."
        assert refused.header("connection") == "close" and parsed == []
    assert ask(SIZES, path, "POST", [b"&" * most]).status == 200


def test_a_client_that_goes_gets_no_answer_and_leaves_no_error():
    async def reading(scope: Any, receive: Any, send: Any) -> None:
        async def gone() -> Any:
            await receive()
            return {"type": "http.disconnect"}

        await Request(scope, gone).form()

    form = {"content_type": "application/x-www-form-urlencoded"}
    for path in ("/login", "/account"):
        assert ask(SizeMiddleware(reading), path, "POST", **form).status == 0


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
        assert refused.status == 429 and "daily upload limit" in refused.text
    assert ask(stack, UPLOAD, "POST", [b"x" * 500], ("10.0.0.9", 1)).status == 200, "another one's share is untouched"
    assert ask(stack, UPLOAD, "POST", [b"x" * 400]).status == 200 and received.left("127.0.0.1") == 0
    now += 24 * 3600
    assert received.left("127.0.0.1") == 1000


def test_uploads_that_come_at_once_have_one_share(tmp_path):
    beside: list[Answer] = []

    async def slow(scope: Any, *channels: Any) -> None:
        if scope["path"] == UPLOAD and not beside:
            beside.append(Answer([]))
            beside[0] = ask(stack, UPLOAD, "POST", [b"x" * 500], content_length="500")
        await inner(scope, *channels)

    received = Received(PeopleDatabase(tmp_path / "people.db"), share=1000)
    stack = UploadsMiddleware(slow, Shares(lambda: 2**30, received))
    assert ask(stack, UPLOAD, "POST", [b"x" * 600], content_length="600").status == 200
    assert beside[0].status == 429 and received.left("127.0.0.1") == 400
    assert ask(stack, UPLOAD, "POST", [b"x" * 400], content_length="400").status == 200, "it counts no more"


def test_what_is_refused_for_another_reason_deletes_nothing_of_the_trash(tmp_path):
    trash = Trash(Store(tmp_path))
    (trash.runs / "old").write_bytes(bytes(200))
    (old,) = [trash.put(new_item(STYLE, "old", "ann", {CONTENT: trash.runs / "old"}, trash.runs))]
    quota = Quota(300, trash, lambda _person: Sent(0, 0), lambda _person: None)
    no_share = Received(PeopleDatabase(tmp_path / "people.db"), share=100)

    def send(shares: Shares) -> int:
        async def stack(scope: Any, *channels: Any) -> None:
            await UploadsMiddleware(inner, shares)(scope | {USER: "ann"}, *channels)

        return ask(stack, UPLOAD, "POST", [b"x" * 200], content_length="200").status

    assert send(Shares(lambda: 2**30, no_share, quota)) == 429
    assert send(Shares(lambda: 10, None, quota)) == 507
    assert [item.id for item in trash.items(Actor("ann"))] == [old.id]
    assert send(Shares(lambda: 2**30, None, quota)) == 200 and trash.items(Actor("ann")) == []


def test_who_logs_in_keeps_so_much_and_their_trash_makes_room(tmp_path):
    trash, kept = Trash(Store(tmp_path)), {"ann": Sent(500, 200), "ben": Sent(0, 0)}
    for name, owner, size in (("old", "ann", 200), ("new", "ann", 200), ("theirs", "ben", 900)):
        (trash.runs / name).write_bytes(bytes(size))
        trash.put(new_item(STYLE, name, owner, {CONTENT: trash.runs / name}, trash.runs))
    limits = Shares(lambda: 2**30, quota=Quota(1200, trash, kept.__getitem__, lambda _person: None))

    def send(size: int, person: str, said: bool = True) -> Answer:
        async def stack(scope: Any, *channels: Any) -> None:
            await UploadsMiddleware(inner, limits)(scope | ({USER: person} if person else {}), *channels)

        return ask(stack, UPLOAD, "POST", [b"x" * size], **({"content_length": str(size)} if said else {}))

    def left(person: str) -> list[str]:
        return [item.name for item in trash.items(Actor(person))]

    assert send(100, "ann").status == 200 and left("ann") == ["new", "old"]
    assert send(101, "ann").status == 200 and left("ann") == ["new"], "the oldest has made room"
    for said in (True, False):
        refused = send(501, "ann", said)
        assert refused.status == 507 and "your programs take 500 bytes, the styles" in refused.text
        assert left("ann") == ["new"], "nothing is deleted for what does not fit anyway"
    assert send(500, "ann", said=False).status == 200 and left("ann") == []
    assert left("ben") == ["theirs"] and send(300, "ben").status == 200
    assert send(5000, "").status == 200, "on one's own machine there is no such limit"
    kept["ann"] = Sent(1000, 200)
    assert limits.quota and limits.quota.is_used_up("ann") and not limits.quota.is_used_up("ben"), "trash makes room"


@pytest.mark.parametrize("told", ["-1", "x", "\u00b2", "1e9"])
def test_a_length_that_is_none_counts_for_nothing(told):
    head = {"content_length": told} if told.isascii() else {}
    assert ask(uploads(100), UPLOAD, "POST", [b"x"], **head).status == 200
