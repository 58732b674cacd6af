from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from app.ui.login.sender import USER, VISITOR
from app.ui.middleware.calls import (
    MOST_OF_A_CALLER,
    MOST_OF_AN_ADDRESS,
    MOST_STREAMS,
    MOST_STREAMS_OF_AN_ADDRESS,
    CallsMiddleware,
    StreamsMiddleware,
)
from tests.app.ui.asking import ask

JOIN = "/gradio_api/queue/join"


class Queue:
    """A queue that takes everything in and never gets to it."""

    def __init__(self) -> None:
        self.waiting: set[str] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        event = f"event {len(self.waiting)}"
        self.waiting.add(event)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps({"event_id": event}).encode()})


def test_one_caller_fills_no_queue():
    queue = Queue()
    stack = CallsMiddleware(queue, lambda event: event in queue.waiting)
    found = [ask(stack, JOIN, "POST").status for _ in range(MOST_OF_A_CALLER + 5)]
    assert found == [200] * MOST_OF_A_CALLER + [429] * 5
    refused = ask(stack, "/gradio_api/call/generate", "POST")
    assert refused.status == 429 and "Too many of your calls are waiting" in json.loads(refused.text)["detail"]
    assert ask(stack, JOIN, "POST", peer=("10.0.0.9", 1)).status == 200, "another address"
    assert ask(stack, JOIN, "POST", cookie=f"{VISITOR}=page").status == 200, "a browser beside the program"
    assert ask(stack, "/config").status == 200
    queue.waiting.clear()
    assert ask(stack, JOIN, "POST").status == 200, "what has ended no longer counts"


def test_cookies_that_are_made_up_do_not_help():
    queue = Queue()
    stack = CallsMiddleware(queue, lambda event: event in queue.waiting)
    found = [ask(stack, JOIN, "POST", cookie=f"{VISITOR}={number}").status for number in range(MOST_OF_AN_ADDRESS + 5)]
    assert found == [200] * MOST_OF_AN_ADDRESS + [429] * 5 and MOST_OF_AN_ADDRESS < 200


def test_people_count_by_name_wherever_they_are():
    queue = Queue()
    stack = CallsMiddleware(queue, lambda event: event in queue.waiting)

    def asked(user: str, address: str) -> int:
        async def named(scope: Any, receive: Any, send: Any) -> None:
            await stack({**scope, "velatura.user": user}, receive, send)

        return ask(named, JOIN, "POST", peer=(address, 1)).status

    assert [asked("bob", f"10.0.0.{number}") for number in range(MOST_OF_A_CALLER + 1)][-1] == 429
    assert asked("ann", "10.0.0.1") == 200, "behind one proxy, each has a line of their own"


def test_a_refusal_of_the_queue_is_not_counted():
    async def full(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b'{"detail": "Queue is full"}'})

    stack = CallsMiddleware(full, bool)
    assert {ask(stack, JOIN, "POST").status for _ in range(MOST_OF_A_CALLER + 5)} == {503}


def opened(asked: list[dict[str, Any]]) -> list[int]:
    """The answers to requests for streams that all go on, and after that to one more."""

    async def ask_all() -> list[int]:
        end, statuses = asyncio.Event(), list[int]()

        async def stream(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await end.wait()

        async def send(message: Any) -> None:
            statuses.extend([message["status"]] if message["type"] == "http.response.start" else [])

        stack, given = StreamsMiddleware(stream), {"type": "http", "method": "GET", "headers": []}
        requests = [asyncio.ensure_future(stack(given | one, None, send)) for one in asked]  # type: ignore[arg-type]
        while len(statuses) < len(asked):
            await asyncio.sleep(0)
        end.set()
        await asyncio.gather(*requests)
        await stack(given | asked[-1], None, send)  # type: ignore[arg-type]
        return statuses

    with ThreadPoolExecutor(1) as thread:  # Playwright keeps a loop running in the main one
        return thread.submit(asyncio.run, ask_all()).result()


def test_one_person_keeps_no_more_streams_open_than_pages_need() -> None:
    ann = {"path": "/now/stream", USER: "ann", "client": ("10.0.0.1", 1)}
    beats = [ann | {"path": f"/gradio_api/heartbeat/{number}"} for number in range(MOST_STREAMS - 1)]
    bob = ann | {USER: "bob"}
    assert opened([ann, *beats, bob, ann | {"path": "/now"}, ann]) == [200] * (MOST_STREAMS + 2) + [429, 200]


def test_streams_of_visitors_are_counted_by_browser_and_by_address() -> None:
    def visitor(number: int) -> dict[str, Any]:
        cookie = [(b"cookie", f"{VISITOR}={number}".encode())]
        return {"path": "/now/stream", "client": ("10.0.0.1", number), "headers": cookie}

    assert opened([visitor(1)] * (MOST_STREAMS + 1)) == [200] * MOST_STREAMS + [429, 200]
    many = [visitor(number) for number in range(MOST_STREAMS_OF_AN_ADDRESS + 1)]
    assert opened(many) == [200] * MOST_STREAMS_OF_AN_ADDRESS + [429, 200]
