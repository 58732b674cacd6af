"""Each thing that the studio leans on in Gradio, with the Gradio that is installed: what fails here broke in it."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
import gradio.data_classes
import httpx
import pytest
import uvicorn
from gradio.route_utils import API_PREFIX
from pydantic import BaseModel
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.ui import gradio_internals as internals
from app.ui.middleware.bad_calls import BadCallsMiddleware

PATIENCE = 120


@dataclass
class App:
    """A small app of Gradio's, served, and what its endpoints were given."""

    demo: gr.Blocks
    url: str
    folder: Path
    events: list[gr.EventData] = field(default_factory=list)
    requests: list[gr.Request] = field(default_factory=list)
    begun: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def post(self, path: str, content: Any = None, **more: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path.removeprefix('/')}", json=content, timeout=PATIENCE, **more)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path.removeprefix('/')}", timeout=PATIENCE)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("gradio")
    (folder / "public").mkdir()
    (folder / "public" / "a b#c.txt").write_text("public")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        patch.setenv("GRADIO_TEMP_DIR", "")  # and back, whatever `keep_files_in` makes of it
        internals.keep_files_in(folder / "files")
        made = App(gr.Blocks(), "", folder)
        _fill(made)
        _, made.url, _ = made.demo.queue().launch(
            server_name="127.0.0.1",
            allowed_paths=[str(folder / "public")],
            auth_dependency=lambda _request: "ann",
            app_kwargs={
                "routes": [Route(f"{internals.API}/upload", _upload_to(folder / "sent"), methods=["POST"])],
                "middleware": [Middleware(BadCallsMiddleware, missing=lambda *_: None)],
            },
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
        )
        yield made
        made.go_on.set()
        made.demo.close(verbose=False)


def _fill(made: App) -> None:
    def heard(request: gr.Request, event: gr.EventData) -> str:
        made.events.append(event)
        made.requests.append(request)
        return "heard"

    def slow() -> str:
        made.begun.set()
        made.go_on.wait(PATIENCE)
        return "done"

    def added(first: int, second: int, request: gr.Request) -> int:
        return first + second

    with made.demo:
        part = gr.HTML("", js_on_load="theirs()")
        internals.listener_of(part, "asked")(heard, None, part, queue=False, api_name="heard")
        gr.api(slow)
        gr.api(added)


def _upload_to(folder: Path) -> Any:
    async def upload(request: Request) -> Response:
        try:
            paths = await internals.receive_upload(request, folder, 1000)
        except internals.MultiPartException as error:
            return JSONResponse({"too_large": internals.is_too_large(error)}, 400)
        internals.delete_unless_taken(request, paths)
        return JSONResponse([str(path) for path in paths])

    return upload


REACHING = re.compile(
    r"from gradio[. ]|import gradio\.|\._data\b|demo\._queue\b|\.session_hash\b|upload_file_set|\.server\.config|"
    r"gradio\.FileData|GRADIO_TEMP_DIR|\"/?gradio_api"
)


def test_nothing_else_of_ours_reaches_into_gradio() -> None:
    ours = Path(internals.__file__)
    assert REACHING.search(ours.read_text(encoding="utf-8"))
    sources = [path for path in ours.parents[1].rglob("*.py") if path != ours]
    found = {path.name: REACHING.findall(path.read_text(encoding="utf-8")) for path in sources}
    assert {name: what for name, what in found.items() if what} == {}, "put it into gradio_internals.py, with a test"


# ---------------------------------------------------------------- addresses
def paths_of(router: Any) -> Iterator[str]:
    """The addresses of an app, with those of routers in it."""
    for route in router.routes:
        if hasattr(route, "original_router"):  # how FastAPI keeps one that was included
            yield from paths_of(route.original_router)
        else:
            yield route.path


def test_the_addresses_of_the_api_begin_as_before(app: App) -> None:
    assert internals.API == API_PREFIX, "Gradio has moved its API"
    known = set(paths_of(app.demo.app))
    for prefix in (*internals.QUEUED, *internals.DIRECT, *internals.ENDS_IN_SESSION, internals.FILE):
        assert any(path.startswith(prefix) for path in known), f"Gradio has no address {prefix} any more"


def test_a_public_file_is_served_under_its_path_and_no_other(app: App) -> None:
    public = app.folder / "public" / "a b#c.txt"
    address = internals.file_address(public)
    assert address.startswith("gradio_api/file=/") and address.endswith("/a%20b%23c.txt")
    assert app.get(address).text == "public", "Gradio serves files of `allowed_paths` elsewhere"
    (app.folder / "private.txt").write_text("private")
    assert app.get(internals.file_address(app.folder / "private.txt")).status_code in (403, 404)


def test_a_page_has_a_base_before_all_that_rests_on_it(app: App) -> None:
    page = app.get("/").content
    place = internals.place_in_head(page)
    assert page[:place].endswith(b">") and b"<base " in page[:place], "Gradio's pages have no <base> any more"
    before = page[:place].lower()
    assert b"<head" in before and not re.search(rb"<(script|link|style)\b", before), "something stands before it"
    assert internals.place_in_head(b"<html><head></head></html>") == 0


# ---------------------------------------------------------------- pages and calls
def test_an_event_brings_what_a_script_has_sent_and_the_session_of_its_page(app: App) -> None:
    sent = {"what": "x", "count": 3, "on": True, "items": [{"name": "a"}]}
    listener = next(one for one in app.get("config").json()["dependencies"] if one["api_name"] == "heard")
    content = {"data": [], "fn_index": listener["id"], "event_data": sent, "session_hash": "a page"}
    answer = app.post(f"{internals.API}/run/predict", content)
    assert answer.status_code == 200, answer.text
    assert internals.event_data(app.events[-1]) == sent, "Gradio keeps what an event brings elsewhere"
    assert internals.page_session(app.requests[-1]) == "a page", "Gradio names the session of a page otherwise"
    assert internals.event_data(gr.EventData(None, None)) == {}


def test_a_call_with_too_few_values_is_known_before_it_waits(app: App) -> None:
    def missing(path: str, **content: Any) -> tuple[str, list[str]] | None:
        return internals.parameters_missing(app.demo, f"{internals.API}/{path}", content)

    assert missing("call/added", data=[1]) == missing("run/added/", data=[1]) == ("added", ["first", "second"])
    assert missing("call/added", data=[1, 2]) is missing("call/slow", data=[]) is missing("call/none", data=[]) is None
    assert missing("call/added", data="ab") is missing("call/added", data=[[1]], batched=True) is None
    numbers = {one["api_name"]: one["id"] for one in app.get("config").json()["dependencies"]}
    assert missing("queue/join", data=[], fn_index=numbers["heard"]) is None, "a part without a value of its own"
    assert missing("queue/join", data=[1], fn_index=numbers["added"]) == ("join", ["first", "second"])
    answer = app.post(f"{internals.API}/run/added", {"data": [1, 2]})
    assert answer.json()["data"] == [3], "Gradio counts the values of an endpoint otherwise"


def test_a_call_waits_in_the_queue_under_its_number_until_it_has_ended(app: App) -> None:
    joined = app.post(f"{internals.API}/call/slow", {"data": []})
    event = internals.event_number(joined.content)
    assert event, f"the queue's answer has no number any more: {joined.text}"
    assert app.begun.wait(PATIENCE)
    assert internals.is_waiting(app.demo, event), "Gradio's queue knows its events otherwise"
    assert not internals.is_waiting(app.demo, "another")
    app.go_on.set()
    assert "done" in app.get(f"{internals.API}/call/slow/{event}").text
    end = time.monotonic() + PATIENCE
    while internals.is_waiting(app.demo, event):
        assert time.monotonic() < end, "the queue does not forget what has ended"
        time.sleep(0.02)
    for refused in (b"", b"[]", b"null", b'{"event_id": 3}', b'{"detail": "no"}', b"\xff"):
        assert internals.event_number(refused) == ""


def test_a_call_of_what_there_is_not_breaks_off_with_an_error_that_is_known(app: App) -> None:
    for path in ("run/nothing", "call/nothing", "queue/join", "run/slow"):
        content = {"data": ["one", "too many"], "fn_index": None if path != "queue/join" else 99_999}
        answer = app.post(f"{internals.API}/{path}", content)
        assert answer.status_code < 500, f"{path}: Gradio breaks off with another error than those in BAD_CALL"


def test_every_word_of_gradios_models_is_known() -> None:
    models = [
        gradio.data_classes.CancelBody,
        gradio.data_classes.PredictBody,
        gradio.data_classes.ResetBody,
        gradio.data_classes.SimplePredictBody,
        gradio.data_classes.SimplePredictBodyV2,
    ]
    known = {"data", "event_data", "fn_index", "trigger_id", "simple_format", "batched", "oauth_token"}
    for kind in models:
        new = set(kind.model_fields) - known - set(internals.SESSION_NAMES)
        assert not new, f"{kind.__name__} has new fields, which may name a session: {new}"
    holding = {
        kind
        for _, kind in inspect.getmembers(gradio.data_classes, inspect.isclass)
        if issubclass(kind, BaseModel) and {"session_hash", "event_id"} & set(kind.model_fields)
    }
    inner = {"PredictBodyInternal", "ComponentServerJSONBody", "ComponentServerBlobBody"}  # of routes that are closed
    assert {kind.__name__ for kind in holding} <= {kind.__name__ for kind in models} | inner


# ---------------------------------------------------------------- files
def test_files_are_kept_where_they_are_asked_to_be(app: App) -> None:
    with app.demo:
        kept = gr.File().GRADIO_CACHE
    assert Path(kept).resolve() == (app.folder / "files").resolve(), "components do not read GRADIO_TEMP_DIR any more"


def test_a_copy_of_gradios_own_lies_in_a_folder_called_after_its_content(app: App) -> None:
    from gradio.processing_utils import save_file_to_cache

    copied = Path(save_file_to_cache(app.folder / "public" / "a b#c.txt", str(app.folder / "files")))
    assert internals.is_copy(copied.parent.name), f"Gradio calls the folders of its copies {copied.parent.name}"
    name = hashlib.sha256(b"x").hexdigest()
    assert internals.is_copy(name) and not any(map(internals.is_copy, (name.upper(), name[:8], f"{name}0", "sent")))


def test_a_file_in_a_request_is_told_by_its_mark() -> None:
    mark = gr.FileData(path="a.png").model_dump()
    assert internals.is_file(mark), f"Gradio marks files otherwise: {mark}"
    assert not internals.is_file({"path": "a.png"}) and not internals.is_file({"meta": "gradio.FileData"})


def test_an_upload_is_written_bounded_and_forgotten_in_time(app: App) -> None:
    address = f"{app.url}{internals.API.removeprefix('/')}/upload"
    (sent,) = httpx.post(address, files=[("files", ("a.txt", b"sent"))], timeout=PATIENCE).json()
    assert Path(sent).read_bytes() == b"sent" and Path(sent).is_relative_to(app.folder / "sent")
    assert sent in app.demo.upload_file_set, "Gradio would not delete it"
    refused = httpx.post(address, files=[("files", ("a.txt", bytes(5000)))], timeout=PATIENCE)
    assert refused.json() == {"too_large": True}, "Gradio says otherwise that an upload is too large"


# ---------------------------------------------------------------- the server
def test_pages_are_built_without_an_app_for_each_and_served_all_the_same() -> None:
    with internals.without_apps():
        with gr.Blocks() as demo:
            gr.HTML("first")
        with demo.route("Second", "second"):
            gr.HTML("second")
        demo.queue()
        assert demo.app is None and demo.config == {}, "Gradio makes applications or configurations elsewhere"
    with gr.Blocks() as other:
        gr.HTML("other")
    assert other.app is not None and other.config["components"]
    _, url, _ = demo.launch(server_port=None, prevent_thread_lock=True, quiet=True, ssr_mode=False)
    try:
        assert [httpx.get(f"{url}{path}").status_code for path in ("", "second", "third")] == [200, 200, 404]
    finally:
        demo.close(verbose=False)


def test_an_idle_server_looks_into_its_queue_as_seldom_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    demo = gr.Blocks().queue()
    internals.look_seldom(demo)
    queue, here, rest = demo._queue, threading.get_ident(), asyncio.sleep

    async def sleep(seconds: float) -> None:
        if threading.get_ident() != here:  # another test's app
            return await rest(seconds)
        slept.append(seconds)
        queue.stopped = True
        return None

    monkeypatch.setattr("gradio.queueing.asyncio.sleep", sleep)
    for loop in (queue.start_processing, queue.start_progress_updates):
        queue.stopped = False
        with pytest.raises(StopIteration):  # it ends after its first rest
            loop().send(None)
    assert slept == [internals.LOOKS_AGAIN, 1.0], "Gradio's queue rests otherwise"


def test_the_server_is_launched_with_options_of_uvicorn() -> None:
    with gr.Blocks() as demo:
        gr.HTML("first")
    with internals.uvicorn_with(timeout_graceful_shutdown=7, backlog=9):
        demo.launch(server_port=None, prevent_thread_lock=True, quiet=True, ssr_mode=False)
    try:
        config = demo.server.config
        assert (config.timeout_graceful_shutdown, config.backlog) == (7, 9), "uvicorn's configuration is elsewhere"
        assert inspect.isclass(uvicorn.Config)
    finally:
        demo.close(verbose=False)


# ---------------------------------------------------------------- in scripts and sheets
def test_a_pages_script_can_tell_who_has_logged_in(app: App) -> None:
    page = app.get("/").text
    assert f"{internals.CONFIG} = " in page, "Gradio's pages keep their configuration elsewhere"
    assert re.search(rf'"{internals.USERNAME}"\s*:\s*"ann"', page), "it does not say who has logged in any more"


def test_gradios_sign_of_loading_counts_seconds_by_the_clock_in_every_frame() -> None:
    ours = (Path(internals.__file__).parent / "document" / "frames.js").read_text(encoding="utf-8")
    (clock,) = re.findall(r"\(/(.+)/\.test\(draw\)", ours)
    built = Path(gr.__file__).parent / "templates" / "frontend" / "assets"
    (script,) = built.glob("statustracker-*.js")
    assert re.search(rf"\(\(\)=>\{{[^{{}}]*{clock}", script.read_text("utf-8")), "see whether an idle page draws still"


def test_gradios_page_calls_its_parts_as_our_sheets_do() -> None:
    built = Path(gr.__file__).parent / "templates" / "frontend"
    everything = "".join(path.read_text("utf-8", "ignore") for kind in ("*.css", "*.js") for path in built.rglob(kind))
    for name in internals.CLASSES:
        assert re.search(rf"(?<![\w-]){name}(?![\w-])", everything), f"no part of Gradio's page is called {name} now"
