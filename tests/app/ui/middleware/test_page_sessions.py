from __future__ import annotations

import json
from typing import Any

import pytest

from app.ui.login.sender import USER
from app.ui.middleware.foreign import CONTENT
from app.ui.middleware.page_sessions import Claims, PageSessionsMiddleware
from tests.app.ui.asking import Answer, ask

API = "/gradio_api"
JOIN = f"{API}/queue/join"


async def queue(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps({"event_id": "event"}).encode()})


def asked(stack: Any, user: str | None, path: str, sent: Any = None, address: str = "10.0.0.1") -> Answer:
    """A request as it arrives here: under a name, with its JSON read."""

    async def named(scope: Any, receive: Any, send: Any) -> None:
        await stack({**scope, USER: user, CONTENT: sent}, receive, send)

    return ask(named, path, "GET" if sent is None else "POST", peer=(address, 1))


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        (f"{API}/queue/data?session_hash=word", None),
        (f"{API}/queue/data?session_hash=mine&session_hash=word", None),
        (f"{API}/queue/data?session_hash=word&session_hash=mine", None),
        (f"{API}/queue/data?session%5Fhash=%77ord", None),
        (f"{API}/upload_progress?upload_id=word", None),
        (f"{API}/heartbeat/word", None),
        (f"{API}/call/upload/word", None),
        (f"{API}/call/v2/upload/word", None),
        (JOIN, {"data": [], "session_hash": "word"}),
        (f"{API}/run/predict", {"data": [], "session_hash": "word"}),
        (f"{API}/run/predict", {"data": [], "session_hash": "mine", "event_id": "word"}),
        (f"{API}/cancel", {"session_hash": "word", "event_id": "mine", "fn_index": 0}),
        (f"{API}/cancel", {"session_hash": "mine", "event_id": "word", "fn_index": 0}),
        (f"{API}/reset", {"event_id": "word"}),
    ],
)
def test_a_word_is_its_first_users_wherever_it_stands(path: str, sent: Any) -> None:
    stack = PageSessionsMiddleware(queue)
    assert asked(stack, "bob", f"{API}/heartbeat/word").status == 200
    refused = asked(stack, "ann", path, sent)
    assert refused.status == 403 and "[other_login]" in refused.text
    assert asked(stack, "bob", path, sent, "10.0.0.2").status == 200, "from wherever the person comes"
    assert asked(PageSessionsMiddleware(queue), "ann", path, sent).status == 200, "where it is nobody's yet"


def test_the_number_of_an_event_is_whoever_sent_it() -> None:
    stack = PageSessionsMiddleware(queue)
    assert asked(stack, "ann", f"{API}/call/bases", {"data": []}).status == 200
    assert asked(stack, "bob", f"{API}/call/bases/event").status == 403
    assert asked(stack, "ann", f"{API}/call/bases/event").status == 200


def test_without_logins_a_word_is_an_addresss() -> None:
    stack = PageSessionsMiddleware(queue)
    assert asked(stack, None, f"{API}/heartbeat/word", address="10.0.0.1").status == 200
    assert asked(stack, None, f"{API}/heartbeat/word", address="10.0.0.2").status == 403
    assert asked(stack, "10.0.0.1", f"{API}/heartbeat/word").status == 403, "a person of that name"


def test_what_is_refused_takes_nothing() -> None:
    stack = PageSessionsMiddleware(queue)
    assert asked(stack, "ann", f"{API}/heartbeat/hers").status == 200
    assert asked(stack, "bob", f"{API}/queue/data?session_hash=new&session_hash=hers").status == 403
    assert asked(stack, "ann", f"{API}/heartbeat/new").status == 200


def test_nobody_makes_anothers_word_forgotten() -> None:
    claims = Claims(most=20)

    def use(owner: str, count: int) -> None:
        for number in range(count):
            assert claims.take(owner, [f"{owner} {number}"])
            claims.release(owner, [f"{owner} {number}"])

    assert claims.take("ann", ["open", "open"]) and claims.take("ann", ["closed"])
    claims.release("ann", ["closed"])
    use("bob", 1000)
    assert len(claims) == 20 and not claims.take("bob", ["open"]) and not claims.take("bob", ["closed"])
    assert not claims.take("ann", ["bob 999"]) and claims.take("ann", ["bob 0"]), "the newest are remembered"
    claims.release("ann", ["bob 0"])
    use("ann", 1000)
    assert len(claims) == 20 and claims.take("bob", ["closed"]) and not claims.take("bob", ["open"])
    for number in range(100):
        use(f"owner {number}", 1)
    assert len(claims) == 20 and not claims.take("new", ["open"]), "what is in use stays"


def test_an_upload_is_not_read_here() -> None:
    async def untouched() -> Any:
        raise AssertionError("read")

    async def stack(scope: Any, receive: Any, send: Any) -> None:
        await PageSessionsMiddleware(queue)(scope, untouched, send)

    assert ask(stack, f"{API}/upload?upload_id=x", "POST", [b"x" * 1000]).status == 200
