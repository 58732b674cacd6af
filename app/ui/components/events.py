"""Who is asking, and what a page's script says: both come from outside and are read with care."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import gradio as gr

from app.jobs.permissions import Actor
from app.studio.accounts.people import key_of_login
from app.ui.middleware.visitor import VISITOR
from app.ui.web.gradio_internals import event_data, page_session

MOST_TEXT = 10_000


def key_of(request: gr.Request) -> str:
    """The key of a person's draft: the name on a shared studio, else the browser's cookie, else this page alone."""
    return sender_of(request.username, request.cookies) or f"page:{page_session(request)}"


def sender_of(username: str | None, cookies: Mapping[str, str] | None) -> str:
    """Who sends a request: the name on a shared studio, else the browser's cookie; "" for a program without either."""
    if username:
        return key_of_login(username)
    cookie = dict(cookies).get(VISITOR) if cookies else None
    return f"visitor:{cookie}" if cookie else ""


def actor_of(request: gr.Request) -> Actor:
    """The person who asks: their login on a shared studio, else the machine's owner."""
    return Actor(request.username or "")


def tab_of(request: gr.Request) -> str:
    """The page that asks: another for each load of it."""
    return page_session(request)


def said(event: gr.EventData, name: str) -> str:
    """A text of an event, "" where it has none, cut at a length that no honest page reaches."""
    value = event_data(event).get(name)
    return value[:MOST_TEXT] if isinstance(value, str) else ""


def number(event: gr.EventData, name: str) -> int:
    """A whole number of an event, 0 where it has none."""
    value = event_data(event).get(name)
    return int(value) if isinstance(value, int | float) and abs(value) < 2**53 else 0


def flag(event: gr.EventData, name: str) -> bool:
    """Whether an event says yes to something."""
    return event_data(event).get(name) is True


def items(event: gr.EventData, name: str) -> list[dict[str, Any]]:
    """A list of objects of an event."""
    value = event_data(event).get(name)
    return [item for item in value if isinstance(item, dict)][:1000] if isinstance(value, list) else []


def given_back(kept: str) -> dict[str, Any]:
    """What a page was told to keep and gives back as JSON; it comes from the browser and may be anything."""
    try:
        given = json.loads(kept)
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}


def digest(value: str) -> str:
    """A short name for what a page shows, by which it says that it has seen it."""
    return sha256(value.encode()).hexdigest()[:12]
