from __future__ import annotations

from typing import Any

from app.ui.document.assets import asset
from app.ui.document.document import Opening
from tests.app.ui.asking import ask, inner


def test_every_page_begins_with_our_lines():
    async def page(scope: Any, receive: Any, send: Any) -> None:
        head = [(b"content-type", b"text/html"), (b"content-length", b"44")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b'<html><head><base href="./" />', "more_body": True})
        await send({"type": "http.response.body", "body": b'<title>x</title></head><body class="y">z</body>'})

    assert "velatura-theme" not in ask(Opening(page), "/account").text, "a bare document has a head of its own"
    answer = ask(Opening(page))
    head, body = answer.text.split("</head>")
    assert head.startswith('<html><head><base href="./" /><script>') and head.endswith("<title>x</title>")
    assert "velatura-theme" in head and "requestAnimationFrame" in head
    assert f'<script defer src="./{asset("scripts/index.js")}"></script>' in head
    assert body == f'<body class="y"><link rel="stylesheet" href="./{asset("studio.css")}">z</body>'
    assert int(answer.header("content-length")) == len(answer.text.encode())
    assert ask(Opening(inner), "/x").text == "in None 0"
