"""Events that scripts of pages send, validated, and the sender of a request.

A page's `events.py` holds a `PageEvent` for each event name of its scripts.
"""

from __future__ import annotations

import functools
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import gradio as gr
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from app.jobs.permissions import ADMIN, Actor
from app.ui.gradio_internals import event_data, listener_of, page_session, scope_of
from app.ui.login.sender import ROLE, TOKEN, address_of, sender_of

MOST_TEXT = 10_000
"""Maximum characters of a field, more than any page sends."""
LONGEST_ID = 100
MOST_WHOLE = 2**53
"""The largest integer that JavaScript represents exactly."""

log = logging.getLogger(__name__)


class PageEvent(BaseModel):
    """An event from a page's script; missing, invalid and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_max_length=MOST_TEXT)


def cut(length: int) -> BeforeValidator:
    """For typed text in fields without a limit: longer text is truncated, not refused."""
    return BeforeValidator(lambda value: value[:length] if isinstance(value, str) else value)


Typed = Annotated[str, cut(MOST_TEXT)]
Id = Annotated[str, cut(LONGEST_ID)]
Whole = Annotated[int, Field(ge=-MOST_WHOLE, le=MOST_WHOLE)]
Handler = Callable[..., Any]
AnyEvent = TypeVar("AnyEvent", bound=PageEvent)


class UploadedFile(PageEvent):
    """A chosen or dropped file."""

    name: Typed
    path: Typed = ""
    """Its path on the server."""
    problem: Typed = ""
    """Why it was not uploaded: a keyword of the script, or the server's sentence."""


def wire(
    part: gr.HTML,
    events: Mapping[str, type[PageEvent]],
    page: object,
    inputs: Sequence[gr.Textbox | gr.HTML] | None,
    outputs: list[Any],
    wrap: Callable[[Handler], Handler] = lambda answer: answer,
    **how: Any,
) -> None:
    """Handle each event NAME of the scripts of `part` with `page.on_NAME(event, request, *inputs)`.

    `wrap` wraps these methods.
    """
    for name, kind in events.items():
        answer = _answering(wrap(getattr(page, f"on_{name}")), name, kind)
        listener_of(part, name)(answer, inputs, outputs, **how)


def at_most(count: int) -> Callable[[Handler], Handler]:
    """A `wrap` for `wire` that handles at most this many events at once; others wait."""
    free = threading.BoundedSemaphore(count)

    def limited(answer: Handler) -> Handler:
        @functools.wraps(answer)
        def in_turn(*given: Any) -> Any:
            with free:
                return answer(*given)

        return in_turn

    return limited


def read_event(name: str, kind: type[AnyEvent], data: Any) -> AnyEvent | None:
    """The event in `data`; None, with a warning in the log, if it is invalid."""
    try:
        return kind.model_validate_json(json.dumps(data))  # turns tuples into lists, and refuses lone surrogates
    except ValidationError as error:  # without the typed text, which is private
        problems = error.errors(include_url=False, include_input=False)
        wrong = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
    except (ValueError, RecursionError) as error:
        wrong = str(error)
    log.warning("A page sent no %s event as it should be, which was passed over: %.300r", name, wrong)
    return None


def _answering(answer: Callable[..., Any], name: str, kind: type[PageEvent]) -> Callable[..., Any]:
    def listener(request: gr.Request, data: gr.EventData, *inputs: str) -> Any:
        event = read_event(name, kind, event_data(data))
        return gr.skip() if event is None else answer(event, request, *inputs)

    return listener


def actor_of(request: gr.Request) -> Actor:
    """The actor of a request: the login on a shared studio, else the machine's owner.

    Their key is the login, else the browser's cookie, else the page.
    """
    scope, page = scope_of(request), page_session(request)
    address, token = address_of(scope) if scope else "", scope.get(TOKEN, "")
    key = sender_of(request.username, request.cookies) or f"page:{page}"
    return Actor(request.username or "", scope.get(ROLE) == ADMIN, address, token, key, page)
