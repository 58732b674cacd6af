from __future__ import annotations

import json

import pytest

from app.ui.middleware.bad_calls import BadCallsMiddleware
from tests.app.ui.asking import ask


async def missing(scope, receive, send):
    raise KeyError("/nothing")


async def failing(scope, receive, send):
    raise RuntimeError


async def breaking(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise KeyError


@pytest.mark.parametrize("path", ["call/nothing", "call/v2/nothing", "run/nothing", "api/nothing", "queue/join"])
def test_a_call_of_what_there_is_not_is_refused_in_words(path):
    answer = ask(BadCallsMiddleware(missing, lambda *_: None), f"/gradio_api/{path}", "POST")
    assert answer.status == 400 and json.loads(answer.text)["detail"].endswith("[bad_call]")


def test_what_has_another_reason_stays_an_error():
    for app, path in ((missing, "/config"), (failing, "/gradio_api/queue/join"), (breaking, "/gradio_api/queue/join")):
        with pytest.raises((KeyError, RuntimeError)):
            ask(BadCallsMiddleware(app, lambda *_: None), path, "POST")
