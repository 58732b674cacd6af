"""Who is asking, and what a page's script says: both come from outside and are read with care.

A page's `events.py` holds all that its scripts may say: a `PageEvent` for each name that they trigger.
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
"""Letters of anything that a page says, more than an honest page has."""
LONGEST_ID = 100
MOST_WHOLE = 2**53
"""The largest whole number up to which a browser counts one by one."""

log = logging.getLogger(__name__)


class PageEvent(BaseModel):
    """Something that a page's script says. With a field that is missing, wrong or unknown it is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_max_length=MOST_TEXT)


def cut(length: int) -> BeforeValidator:
    """For what people type, where a page sets no limit: what is longer is cut rather than refused."""
    return BeforeValidator(lambda value: value[:length] if isinstance(value, str) else value)


Typed = Annotated[str, cut(MOST_TEXT)]
Id = Annotated[str, cut(LONGEST_ID)]
Whole = Annotated[int, Field(ge=-MOST_WHOLE, le=MOST_WHOLE)]
Handler = Callable[..., Any]
AnyEvent = TypeVar("AnyEvent", bound=PageEvent)


class UploadedFile(PageEvent):
    """A file that was chosen or dropped."""

    name: Typed
    path: Typed = ""
    """Where the server has put it."""
    problem: Typed = ""
    """Why it was not sent: a word of the script, or the sentence with which it was refused on its way."""


def wire(
    part: gr.HTML,
    events: Mapping[str, type[PageEvent]],
    page: object,
    inputs: Sequence[gr.Textbox | gr.HTML] | None,
    outputs: list[Any],
    wrap: Callable[[Handler], Handler] = lambda answer: answer,
    **how: Any,
) -> None:
    """Let `page.on_NAME(event, request, *inputs)` answer each event of that name which a script of `part` triggers.

    `wrap` makes of each of these methods what is called in its place.
    """
    for name, kind in events.items():
        answer = _answering(wrap(getattr(page, f"on_{name}")), name, kind)
        listener_of(part, name)(answer, inputs, outputs, **how)


def at_most(count: int) -> Callable[[Handler], Handler]:
    """A `wrap` for `wire` under which so many events are answered at once, the others in turn."""
    free = threading.BoundedSemaphore(count)

    def limited(answer: Handler) -> Handler:
        @functools.wraps(answer)
        def in_turn(*given: Any) -> Any:
            with free:
                return answer(*given)

        return in_turn

    return limited


def read_event(name: str, kind: type[AnyEvent], data: Any) -> AnyEvent | None:
    """What a script has said; None, and a line in the log, where that is no such event."""
    try:
        return kind.model_validate_json(json.dumps(data))  # a tuple is a list there, and no half of a letter passes
    except ValidationError as error:  # without what was typed, which is nobody's business
        problems = error.errors(include_url=False, include_input=False)
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in problems)
    except (ValueError, RecursionError) as error:
        wrong = str(error)
    log.warning("A page sent no %s event as it should be, which was passed over: %.300r", name, wrong)
    return None


def _answering(answer: Callable[..., Any], name: str, kind: type[PageEvent]) -> Callable[..., Any]:
    def listener(request: gr.Request, data: gr.EventData, *inputs: str) -> Any:
        event = read_event(name, kind, event_data(data))
        return gr.skip() if event is None else answer(event, request, *inputs)

    return listener


def key_of(request: gr.Request) -> str:
    """The key of a person's draft: the name on a shared studio, else the browser's cookie, else this page alone."""
    return sender_of(request.username, request.cookies) or f"page:{page_session(request)}"


def actor_of(request: gr.Request) -> Actor:
    """The person who asks: their login on a shared studio, else the machine's owner."""
    scope = scope_of(request)
    address, token = address_of(scope) if scope else "", scope.get(TOKEN, "")
    return Actor(request.username or "", scope.get(ROLE) == ADMIN, address, token)


def tab_of(request: gr.Request) -> str:
    """The page that asks: another for each load of it."""
    return page_session(request)
