from __future__ import annotations

import pytest

from app.ui.middleware.headers import HeadersMiddleware, PageResponse, PolicyMiddleware
from tests.app.ui.asking import ask, inner

STACK = HeadersMiddleware(PolicyMiddleware(inner))


def test_pages_of_ours_may_run_their_scripts_and_nobody_elses():
    for path in ("/", "/runs"):
        policy = ask(STACK, path).header("content-security-policy")
        assert "default-src 'self'" in policy and "sandbox" not in policy and "object-src 'none'" in policy
    assert ask(STACK).header("cache-control") == "no-cache"
    assert "script-src 'self'" in ask(HeadersMiddleware(PageResponse("<h1>"))).header("content-security-policy")


@pytest.mark.parametrize(
    "path", ["/config", "/look/a.svg", "/gradio_api/file=/public/x.png", "/gradio_api/queue/data", "/x.html"]
)
def test_everything_else_is_shut_in_a_sandbox(path):
    async def hostile(scope, receive, send):
        head = [(b"content-type", b"text/html"), (b"content-security-policy", b"default-src *")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b"<script>"})

    answer = ask(HeadersMiddleware(PolicyMiddleware(hostile)), path)
    assert [value for name, value in answer.headers if name == "content-security-policy"] == [
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"
    ]
    assert answer.header("x-content-type-options") == "nosniff"


def test_an_answer_of_no_page_on_a_pages_address_is_shut_in_too():
    async def plain(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"image/svg+xml")]})
        await send({"type": "http.response.body", "body": b"<svg/>"})

    assert "sandbox" in ask(HeadersMiddleware(PolicyMiddleware(plain)), "/").header("content-security-policy")


def test_an_answer_may_send_its_address_to_fewer_than_others():
    async def secret(scope, receive, send):
        head = [(b"content-type", b"text/plain"), (b"referrer-policy", b"no-referrer")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b""})

    for app, policy in ((secret, "no-referrer"), (inner, "same-origin")):
        headers = ask(HeadersMiddleware(app), "/shared/x").headers
        assert [value for name, value in headers if name == "referrer-policy"] == [policy]


def test_files_may_be_kept():
    file = ask(STACK, "/gradio_api/file=/public/a.webp")
    assert "immutable" in file.header("cache-control") and file.header("set-cookie") == ""
    assert "immutable" not in ask(STACK, "/config").header("cache-control")


def test_an_error_that_nobody_foresaw_is_shut_in_too():
    async def failing(scope, receive, send):
        raise RuntimeError("the reason is for the log")

    sent = []

    async def caught(scope, receive, send):
        with pytest.raises(RuntimeError, match="for the log"):
            await HeadersMiddleware(failing)(scope, receive, send)
        sent.append(True)

    answer = ask(caught, "/config")
    assert sent and answer.status == 500 and "for the log" not in answer.text
    assert answer.header("content-security-policy").endswith("sandbox")
    assert answer.header("x-content-type-options") == "nosniff"
