"""Visits of a page are told of; a program that asks for it visits nothing."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app.ui.visits import VisitsMiddleware

VISIT = {"sec-fetch-dest": "document", "cookie": "velatura-visitor=abc"}


@pytest.mark.parametrize(
    ("path", "headers", "told"),
    [
        ("/playground", VISIT, ["visitor:abc"]),
        ("/playground/?style=1", VISIT | {"cookie": ""}, [""]),
        ("/playground", {"cookie": VISIT["cookie"]}, []),
        ("/runs", VISIT, []),
    ],
)
def test_a_visit_of_the_page_is_told_with_who_visits(path: str, headers: dict[str, str], told: list[str]) -> None:
    visited: list[str] = []
    pages = [Route(place, PlainTextResponse("a page")) for place in ("/playground", "/playground/", "/runs")]
    middleware = [Middleware(VisitsMiddleware, path="/playground", visited=visited.append)]
    with TestClient(Starlette(routes=pages, middleware=middleware)) as client:
        assert client.get(path, headers=headers).text == "a page"
    assert visited == told
