"""The studio's dependencies on undocumented Gradio internals, one name each.

A new Gradio version may change any of them without notice. `tests/app/ui/test_gradio_internals.py` tests each of
them; no other module of `app` uses them. The end lists what scripts and sheets know of Gradio's pages.
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
"""What the addresses of Gradio's API begin with (`gradio.route_utils.API_PREFIX`)."""
FILE = f"{API}/file="
"""What a path is put behind to make it an address."""
QUEUED = (f"{API}/queue/join", f"{API}/call/")
"""Addresses of calls that wait in Gradio's queue."""
DIRECT = (f"{API}/run/", f"{API}/api/")
"""Addresses of calls that do not."""


def file_address(path: Path) -> str:
    """Where a browser finds a file of the public folder, relative to a page.

    Gradio serves a file of `allowed_paths` under its whole path; where components put such addresses, it is not said.
    """
    return f"{FILE.removeprefix('/')}{quote(path.resolve().as_posix(), safe='/:')}"


def place_in_head(page: bytes) -> int:
    """Where lines can be put into one of Gradio's pages so that they come first and know the page's address.

    That is behind its `<base>`, on which all relative addresses rest; 0 in a page that has none.
    """
    place = page.find(b"<base ")
    return page.find(b">", place) + 1 if place >= 0 else 0


def place_in_body(page: bytes) -> int:
    """Where lines can be put at the start of the body of one of Gradio's pages; its end in a page that has none."""
    place = page.find(b"<body")
    return page.find(b">", place) + 1 if place >= 0 else len(page)


ROOT_MANIFEST, MANIFEST_BESIDE = b'href="/manifest.json"', b'href="./manifest.json"'
"""How Gradio's pages name the web app manifest, and how it is found below a root path, too."""


def with_manifest_beside(page: bytes) -> bytes:
    """One of Gradio's pages whose manifest is beside it."""
    return page.replace(ROOT_MANIFEST, MANIFEST_BESIDE, 1)


LANGUAGE_OF_PAGE = b'lang="en"'
"""What every one of Gradio's pages says of its language, before anything else."""


def with_language(page: bytes, attributes: str) -> bytes:
    """One of Gradio's pages with other attributes for its language and direction."""
    return page.replace(LANGUAGE_OF_PAGE, attributes.encode(), 1)


# ---------------------------------------------------------------- pages and calls
SESSION_NAMES = ("session_hash", "event_id", "upload_id")
"""How requests call the words by which Gradio finds a page's session, an event and an upload."""
ENDS_IN_SESSION = (f"{API}/heartbeat/", f"{API}/call/")
"""Addresses to read from that end in such a word; Gradio takes a `session_hash` for the number of an event as well."""
BAD_CALL = (LookupError, TypeError, ValueError, AttributeError, FnIndexInferError)
"""What Gradio lets through where there is no such endpoint, or values fit no parameter. What an endpoint itself raises
is no such error: Gradio has answered by then, or keeps the call in its queue."""


def event_data(event: gr.EventData) -> dict[str, Any]:
    """What a page's script has sent with an event, which Gradio keeps in `_data` and offers attribute by attribute."""
    return event._data if isinstance(event._data, dict) else {}


def listener_of(part: gr.HTML, event: str) -> Callable[..., Any]:
    """What listens to an event that a part's script triggers: `gr.HTML` looks for its name in `js_on_load` alone."""
    return partial(EventListener(event_name=event).listener, part)


def page_session(request: gr.Request) -> str:
    """The word that a page has made up for itself: another at each load, the same in all its calls."""
    return str(request.session_hash)


def scope_of(request: gr.Request) -> dict[str, Any]:
    """What our checks have noted of a request; Gradio keeps Starlette's in `request`, for calls from its queue too."""
    asked = getattr(request, "request", None)
    return dict(asked.scope) if asked is not None else {}


def event_number(answer: bytes) -> str:
    """The number of an event in the queue's answer to a call; "" where it has refused the call."""
    try:
        told = json.loads(answer)
    except ValueError:
        return ""
    event = told.get("event_id") if isinstance(told, dict) else None
    return event if isinstance(event, str) else ""


def is_waiting(demo: gr.Blocks, event: str) -> bool:
    """Whether an event waits or runs in Gradio's queue, which has it in `event_ids_to_events` until it has ended."""
    return event in demo._queue.event_ids_to_events


def parameters_missing(demo: gr.Blocks, path: str, content: Any) -> tuple[str, list[str]] | None:
    """The endpoint of a call with too few values, and its parameters, which Gradio checks only in the queue; else None.

    A page's own listeners have no names.
    """
    values, number = content.get("data"), content.get("fn_index")
    name = path.rstrip("/").rpartition("/")[2]
    named = (known for known in demo.fns.values() if known.api_name == name)
    function = demo.fns.get(number) if isinstance(number, int) else next(named, None)
    if function is None or function.cancels or not isinstance(values, list) or content.get("batched"):
        return None
    if len(values) >= sum(not block.skip_api for block in function.inputs):
        return None
    if function.fn is None or function.api_visibility != "public":
        return name, []
    return name, [parameter for parameter, *_ in get_function_params(function.fn)]


class Studio(gr.Blocks):
    """Blocks whose handlers run, and whose answers are made, as `around` says for the request that calls them.

    Gradio calls handlers from its queue, where nothing is known of the request but what it hands to them.
    """

    def __init__(self, around: Callable[[gr.Request | None], AbstractContextManager[None]], **options: Any) -> None:
        self.around = around
        super().__init__(**options)

    async def call_function(self, *given: Any, **named: Any) -> Any:
        """As Gradio does, within `around`."""
        requests = named.get("requests", given[3] if len(given) > 3 else None)
        request = requests[0] if isinstance(requests, list) else requests
        with self.around(request):
            called = await super().call_function(*given, **named)
            return called | {"prediction": translated(called["prediction"])}


# ---------------------------------------------------------------- files
COPY = re.compile(r"[0-9a-f]{64}")


def keep_files_in(folder: Path) -> None:
    """Let Gradio put uploads and copies of files below a folder; components read the variable when they are made."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder.resolve())


def is_copy(folder: str) -> bool:
    """Whether the folder of such a file is one of Gradio's own, which it calls after the SHA-256 of what is in it.

    Those with somebody's uploads have other names, and on some systems more than one each: in capitals, or cut to eight
    letters.
    """
    return COPY.fullmatch(folder) is not None


def is_file(table: dict[str, Any]) -> bool:
    """Whether a table in a request is taken for a file, at which Gradio looks before the endpoint is called."""
    meta = table.get("meta")
    return isinstance(meta, dict) and meta.get("_type") == "gradio.FileData"


async def receive_upload(request: Request, folder: Path, most_bytes: int) -> list[Path]:
    """Write the files of an upload below a folder as Gradio does, which tells their sizes to who asks for them.

    MultiPartException where it is no such request, or a file has more bytes.
    """
    paths, _, _ = await upload_fn(request, str(folder), most_bytes, None)
    return [Path(path) for path in paths]


def is_too_large(error: MultiPartException) -> bool:
    """Whether an upload was refused for its size, of which only the words of the error tell."""
    return "maximum allowed size" in error.message


def delete_unless_taken(request: Request, paths: Sequence[Path]) -> None:
    """Let Gradio delete uploads after the time of `delete_cache`, as it does its own."""
    request.app.get_blocks().upload_file_set.update(map(str, paths))


# ---------------------------------------------------------------- the server
LOOKS_AGAIN = 0.02
"""Seconds between two looks into the queue."""


@contextmanager
def without_apps() -> Iterator[None]:
    """Build pages without their web applications and configurations; `launch` makes those that are served.

    Gradio makes both whenever a page is added, with a hundred routes that nobody uses and all pages before it: a fifth
    of the time that the studio takes to start.
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
    """Let an idle server sleep: Gradio looks into its queue a thousand times a second, for 4 % of a processor.

    A call that waits in the queue begins up to `LOOKS_AGAIN` later. Nothing here tells Gradio's progress.
    """
    demo._queue.sleep_when_free = LOOKS_AGAIN
    demo._queue.progress_update_sleep_when_free = 1.0


@contextmanager
def uvicorn_with(**options: Any) -> Iterator[None]:
    """Launch with these options of uvicorn: Gradio makes its configuration itself and takes none."""
    config = uvicorn.Config
    setattr(uvicorn, "Config", partial(config, **options))  # noqa: B010 (a class, for mypy)
    try:
        yield
    finally:
        setattr(uvicorn, "Config", config)  # noqa: B010


# ---------------------------------------------------------------- in scripts and sheets
CONFIG, USERNAME = "window.gradio_config", "username"
"""Where scripts read who has logged in."""
CLASSES = ("gradio-container", "main", "fillable", "block", "form", "html-container")
"""What sheets call the parts of a page that Gradio draws around ours."""
