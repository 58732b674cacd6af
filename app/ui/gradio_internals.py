"""The studio's dependencies on undocumented Gradio internals, one name each.

A new Gradio version may change any of them without notice. `tests/app/ui/test_gradio_internals.py` tests each of
them; no other module of `app` uses them. The end lists the names that scripts and sheets use.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
import uvicorn
from gradio.events import EventListener
from gradio.route_utils import FnIndexInferError, upload_fn
from gradio.routes import App
from gradio.utils import get_function_params
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from app.language import translated

# ---------------------------------------------------------------- addresses
API = "/gradio_api"
"""Prefix of the addresses of Gradio's API (`gradio.route_utils.API_PREFIX`)."""
FILE = f"{API}/file="
"""Prefix that makes a path an address."""
QUEUED = (f"{API}/queue/join", f"{API}/call/")
"""Addresses of calls that wait in Gradio's queue."""
DIRECT = (f"{API}/run/", f"{API}/api/")
"""Addresses of calls without the queue."""


def file_address(path: Path) -> str:
    """The address of a file in the public folder, relative to a page.

    Gradio serves files of `allowed_paths` by their absolute path; the address for use outside components is
    undocumented.
    """
    return f"{FILE.removeprefix('/')}{quote(path.resolve().as_posix(), safe='/:')}"


def place_in_head(page: bytes) -> int:
    """Where lines can be inserted into a Gradio page so that they come first and know its address.

    This is after its `<base>`, on which relative addresses depend; 0 in a page without one.
    """
    place = page.find(b"<base ")
    return page.find(b">", place) + 1 if place >= 0 else 0


def place_in_body(page: bytes) -> int:
    """Where lines can be inserted at the start of a Gradio page's body; its end in a page without one."""
    place = page.find(b"<body")
    return page.find(b">", place) + 1 if place >= 0 else len(page)


ROOT_MANIFEST, MANIFEST_BESIDE = b'href="/manifest.json"', b'href="./manifest.json"'
"""Gradio's link to the web app manifest, and one that also works below a root path."""


def with_manifest_beside(page: bytes) -> bytes:
    """A Gradio page with a relative link to its manifest."""
    return page.replace(ROOT_MANIFEST, MANIFEST_BESIDE, 1)


LANGUAGE_OF_PAGE = b'lang="en"'
"""The language attribute of every Gradio page."""


def with_language(page: bytes, attributes: str) -> bytes:
    """A Gradio page with other attributes for language and direction."""
    return page.replace(LANGUAGE_OF_PAGE, attributes.encode(), 1)


# ---------------------------------------------------------------- pages and calls
SESSION_NAMES = ("session_hash", "event_id", "upload_id")
"""Request parameters that identify a page's session, an event and an upload."""
ENDS_IN_SESSION = (f"{API}/heartbeat/", f"{API}/call/")
"""Prefixes of addresses that end in such an identifier; Gradio accepts a `session_hash` as the number of an event, too.
"""
BAD_CALL = (LookupError, TypeError, ValueError, AttributeError, FnIndexInferError)
"""Errors that Gradio does not handle if there is no such endpoint or its parameters do not fit. Errors that an endpoint
itself raises are different: Gradio has answered by then, or keeps the call in its queue."""


def event_data(event: gr.EventData) -> dict[str, Any]:
    """The data that a page's script sent with an event; Gradio has them in `_data` and exposes attributes only."""
    return event._data if isinstance(event._data, dict) else {}


def listener_of(part: gr.HTML, event: str) -> Callable[..., Any]:
    """The method that listens to an event of a part's script: `gr.HTML` finds its name only in `js_on_load`."""
    return partial(EventListener(event_name=event).listener, part)


def page_session(request: gr.Request) -> str:
    """The id that a page chose for itself: new at each load, equal in all its calls."""
    return str(request.session_hash)


def scope_of(request: gr.Request) -> dict[str, Any]:
    """Values that middlewares stored with a request; Gradio keeps Starlette's in `request`, even for calls from its
    queue."""
    inner = getattr(request, "request", None)
    return dict(inner.scope) if inner is not None else {}


def event_number(answer: bytes) -> str:
    """The number of an event in the queue's answer to a call; "" if the call was refused."""
    try:
        answered = json.loads(answer)
    except ValueError:
        return ""
    event = answered.get("event_id") if isinstance(answered, dict) else None
    return event if isinstance(event, str) else ""


def is_waiting(demo: gr.Blocks, event: str) -> bool:
    """Whether an event waits or runs in Gradio's queue, whose `event_ids_to_events` has it until it ends."""
    return event in demo._queue.event_ids_to_events


def parameters_missing(demo: gr.Blocks, path: str, content: Any) -> tuple[str, list[str]] | None:
    """The endpoint and parameters of a call with too few values, which Gradio checks only in the queue; else None.

    A page's own listeners have no names.
    """
    values, number = content.get("data"), content.get("fn_index")
    name = path.rstrip("/").rpartition("/")[2]
    named = (candidate for candidate in demo.fns.values() if candidate.api_name == name)
    function = demo.fns.get(number) if isinstance(number, int) else next(named, None)
    if function is None or function.cancels or not isinstance(values, list) or content.get("batched"):
        return None
    if len(values) >= sum(not block.skip_api for block in function.inputs):
        return None
    if function.fn is None or function.api_visibility != "public":
        return name, []
    return name, [parameter for parameter, *_ in get_function_params(function.fn)]


class Studio(gr.Blocks):
    """Blocks whose handlers run, and whose answers are made, within `around(request)`.

    Gradio calls handlers from its queue, where only their arguments are known of the request.
    """

    def __init__(self, around: Callable[[gr.Request | None], AbstractContextManager[None]], **options: Any) -> None:
        self.around = around
        super().__init__(**options)

    async def call_function(self, *values: Any, **named: Any) -> Any:
        """Gradio's own, within `around`."""
        requests = named.get("requests", values[3] if len(values) > 3 else None)
        request = requests[0] if isinstance(requests, list) else requests
        with self.around(request):
            called = await super().call_function(*values, **named)
            return called | {"prediction": translated(called["prediction"])}


# ---------------------------------------------------------------- files
COPY = re.compile(r"[0-9a-f]{64}")


def keep_files_in(folder: Path) -> None:
    """Let Gradio store uploads and copies of files in `folder`; components read the variable when they are created."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder.resolve())


def is_copy(folder: str) -> bool:
    """Whether a folder is one of Gradio's own copies, named by the SHA-256 of their content.

    Folders of people's uploads have other names; some systems have further names for a folder, in capitals or
    shortened.
    """
    return COPY.fullmatch(folder) is not None


def is_file(table: dict[str, Any]) -> bool:
    """Whether a table in a request counts as a file, which Gradio reads before the endpoint is called."""
    meta = table.get("meta")
    return isinstance(meta, dict) and meta.get("_type") == "gradio.FileData"


async def receive_upload(request: Request, folder: Path, most_bytes: int) -> list[Path]:
    """Store the files of an upload in `folder` as Gradio does.

    MultiPartException for another kind of request, or if a file has more than `most_bytes`.
    """
    paths, _, _ = await upload_fn(request, str(folder), most_bytes, None)
    return [Path(path) for path in paths]


def is_too_large(error: MultiPartException) -> bool:
    """Whether an upload was refused for its size, which only the error's text has."""
    return "maximum allowed size" in error.message


def delete_unless_taken(request: Request, paths: Sequence[Path]) -> None:
    """Let Gradio delete these uploads after the time of `delete_cache`, like its own."""
    request.app.get_blocks().upload_file_set.update(map(str, paths))


# ---------------------------------------------------------------- the server
LOOKS_AGAIN = 0.02
"""Seconds between two checks of the queue."""


@contextmanager
def without_apps() -> Iterator[None]:
    """Build pages without their web applications and configurations; `launch` creates those that are served.

    Gradio creates both for every page that is added, with a hundred unused routes and all former pages: a fifth of the
    studio's start.
    """
    create, configure = App.create_app, gr.Blocks.get_config_file
    setattr(App, "create_app", staticmethod(lambda *_, **__: None))  # noqa: B010 (a method, for mypy)
    setattr(gr.Blocks, "get_config_file", lambda _: {})  # noqa: B010
    try:
        yield
    finally:
        setattr(App, "create_app", staticmethod(create))  # noqa: B010
        setattr(gr.Blocks, "get_config_file", configure)  # noqa: B010


def look_seldom(demo: gr.Blocks) -> None:
    """Let an idle server sleep: Gradio checks its queue a thousand times a second, for 4 % of a processor.

    A waiting call begins up to `LOOKS_AGAIN` later. Gradio's progress is not used.
    """
    demo._queue.sleep_when_free = LOOKS_AGAIN
    demo._queue.progress_update_sleep_when_free = 1.0


@contextmanager
def uvicorn_with(**options: Any) -> Iterator[None]:
    """Launch with these uvicorn options: Gradio creates its configuration itself and accepts none."""
    config = uvicorn.Config
    setattr(uvicorn, "Config", partial(config, **options))  # noqa: B010 (a class, for mypy)
    try:
        yield
    finally:
        setattr(uvicorn, "Config", config)  # noqa: B010


# ---------------------------------------------------------------- in scripts and sheets
CONFIG, USERNAME = "window.gradio_config", "username"
"""Where scripts find the login."""
CLASSES = ("gradio-container", "main", "fillable", "block", "form", "html-container")
"""Class names of the parts that Gradio draws around ours."""
