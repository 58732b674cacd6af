"""A run's end is posted once, tried again where the address is away, and never in the way of a job."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from app.jobs import actions
from app.jobs.dispatcher import Dispatcher
from app.jobs.job import NewJob
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.processes.devices import DeviceOffer
from app.jobs.store import Store
from app.jobs.views import Watcher
from app.studio.job_modules import JOB_MODULES
from app.studio.webhook import Webhook
from tests.app.jobs.working import add_quick
from trainers.errors import VelaturaError

pytestmark = pytest.mark.slow


class Address:
    """A web server that answers with the given codes, the last one for good, and keeps what it was told."""

    def __init__(self) -> None:
        self.codes, self.bodies = [200], SimpleQueue[dict[str, Any]]()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.bodies.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(outer.codes.pop(0) if len(outer.codes) > 1 else outer.codes[0])
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing on the console."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?key=secret"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def address() -> Iterator[Address]:
    made = Address()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def test_a_dispatcher_tells_how_a_run_has_ended_and_nothing_of_other_jobs(
    store: Store, address: Address, tmp_path: Path
) -> None:
    add_quick(store, tmp_path / "job")
    job = store.add(NewJob("train", actions.new_folder(store, "harbour"), owner="ann"))
    dispatcher = Dispatcher(
        store, JOB_MODULES, DeviceOffer(("cpu",), complete=True), interval=0.02, ended=Webhook(address.url).send
    )
    dispatcher.serve(until_empty=True)
    told = address.bodies.get(timeout=60)
    assert told == {
        "event": "run.ended",
        "run": "harbour",
        "name": "harbour",
        "owner": "ann",
        "state": "failed",  # it has no config
        "step": 0,
        "steps": 0,
        "seconds": told["seconds"],
        "text": "harbour has failed.",
        "content": "harbour has failed.",
    }
    assert Watcher(store).view(job.id).state == "failed" and address.bodies.empty()


def test_an_address_that_is_away_is_tried_again_and_one_that_refuses_is_not(
    store: Store, address: Address, caplog: pytest.LogCaptureFixture
) -> None:
    job = store.add(NewJob("train", actions.new_folder(store, "harbour")))
    actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)
    view = Watcher(store).view(job.id)
    address.codes = [503, 429, 200]
    hook = Webhook(address.url, waits=(0.0, 0.0, 0.0))
    hook.send(view)
    assert [address.bodies.get(timeout=60)["state"] for _ in range(3)] == ["cancelled"] * 3
    address.codes = [404, 200]
    hook.send(view)
    address.bodies.get(timeout=60)
    hook.send(view)  # told only after the one before was given up
    address.bodies.get(timeout=60)
    assert address.bodies.empty()
    assert [record.getMessage() for record in caplog.records] == [
        "The webhook at 127.0.0.1 did not take the news that harbour has ended (HTTP 404)."
    ], "the rest of the address may be a secret"


@pytest.mark.parametrize("url", ["", "harbour", "ftp://example.org/x", "http://", "http://[::1", "javascript:1"])
def test_anything_but_an_http_address_is_refused(url: str) -> None:
    with pytest.raises(VelaturaError, match="the webhook must be an address"):
        Webhook(url)
