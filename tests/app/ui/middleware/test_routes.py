from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.ui.middleware.routes import RoutesMiddleware
from tests.app.ui.asking import ask, inner

STACK = RoutesMiddleware(inner)


@pytest.mark.parametrize("path", ["/", "/runs", "/config", "/gradio_api/file=/x/y.png", "/look/0/fonts/a.woff2"])
def test_what_is_on_the_list_passes(path):
    assert ask(STACK, path).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/config\n",
        "/runs\n",
        "/login\n",
        "/gradio_api/upload\n",
        "/gradio_api/heartbeat/x\ny",
        "/look/0/\0",
        "/Config",
        "/config/",
        "//config",
        "/gradio_api/file/x",
        "",
    ],
)
def test_another_spelling_is_another_address(path):
    assert ask(STACK, path).status == ask(STACK, path, "POST").status == 404


def test_there_is_no_web_socket():
    sent = []

    async def send(message):
        sent.append(message)

    with ThreadPoolExecutor(1) as thread:
        call = STACK({"type": "websocket", "path": "/gradio_api/queue/join", "headers": []}, None, send)
        thread.submit(asyncio.run, call).result()
    assert sent == [{"type": "websocket.close", "code": 1008}]
