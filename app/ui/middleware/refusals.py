"""Error responses: one sentence, as text for people and as JSON for clients of Gradio's API."""

from __future__ import annotations

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Scope

from app.language import translate
from app.ui.gradio_internals import API

NO_STORE = {"cache-control": "no-store"}


def refusal(scope: Scope, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """An error response; Gradio's clients show the `detail` of a JSON answer."""
    headers, sentence = NO_STORE | (headers or {}), translate(sentence)
    if scope["path"].startswith(f"{API}/") and not scope["path"].startswith(f"{API}/upload"):
        return JSONResponse({"detail": sentence}, status, headers)
    return PlainTextResponse(sentence, status, headers)
