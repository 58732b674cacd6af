from __future__ import annotations

import json
from typing import Any

from app.ui.login.sender import VISITOR
from app.ui.middleware.calls import MOST_OF_A_CALLER, MOST_OF_AN_ADDRESS, CallsMiddleware
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
