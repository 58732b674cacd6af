from __future__ import annotations

import time
from pathlib import Path

from starlette.requests import Request

from app.studio.studio_queue import StudioQueue
from app.ui.login.sender import ROLE, USER
from app.ui.middleware.routes import RoutesMiddleware
from app.ui.monitoring.health import LATE, HealthRoute
from app.ui.monitoring.measure import MeasureMiddleware
from app.ui.monitoring.metrics import MetricsRoute, Requests
from tests.app.jobs.working import add_quick
from tests.app.ui.asking import ask, inner
from tests.app.ui.monitoring.exposition import read_figures


def figure(found: dict, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_answers_are_counted_by_route_and_never_by_address():
    requests = Requests()
    stack = MeasureMiddleware(RoutesMiddleware(inner), requests.note)
    for path in ("/shared/one", "/shared/two", "/runs", "/secret/of/ann", "/gradio_api/file=/home/ann/x.png"):
        ask(stack, path)
    ask(stack, "/runs", "BREW\n")
    found = read_figures("\n".join(requests.lines()) + "\n")
    name = "velatura_http_requests_total"
    assert figure(found, name, route="/shared/{token}", method="GET", status="200") == 2
    assert figure(found, name, route="/runs", method="GET", status="200") == 1
    assert figure(found, name, route="other", method="GET", status="404") == 1
    assert figure(found, name, route="other", method="other", status="404") == 1
    assert not [labels for _, labels in found if "ann" in str(labels)]
    assert figure(found, "velatura_http_request_duration_seconds_count", route="/shared/{token}") == 2


def test_the_histogram_adds_up():
    requests = Requests()
    for seconds in (0.004, 0.005, 0.3, 60.0):
        requests.note("/runs", "GET", 200, seconds)
    found = read_figures("\n".join(requests.lines()) + "\n")
    name = "velatura_http_request_duration_seconds"
    buckets = [figure(found, f"{name}_bucket", route="/runs", le=le) for le in ("0.005", "0.25", "0.5", "10.0", "+Inf")]
    assert buckets == [2, 2, 3, 3, 4]
    assert figure(found, f"{name}_sum", route="/runs") == 60.309


def test_jobs_devices_and_waits(queue: StudioQueue, tmp_path: Path):
    metrics = MetricsRoute(queue, Requests())
    empty = read_figures(metrics.text())
    assert figure(empty, "velatura_jobs", kind="train", state="queued") == 0
    assert figure(empty, "velatura_devices", state="free") == 0
    for name in ("one", "two"):
        add_quick(queue.store, tmp_path / name)
    dispatcher = queue.dispatcher()
    with dispatcher._entered():
        found = read_figures(metrics.text())
    assert figure(found, "velatura_jobs", kind="caption", state="queued") == 2
    assert 0 <= figure(found, "velatura_jobs_oldest_wait_seconds", kind="caption") < 60
    offered = sum(figure(found, "velatura_devices", state=state) for state in ("busy", "free"))
    assert offered == len(dispatcher.offer.devices) and figure(found, "velatura_devices", state="busy") == 0
    assert figure(found, "velatura_queue_readable") == 1 and figure(found, "velatura_disk_free_bytes") > 0
    queue.store.close()
    queue.store.path.write_bytes(b"no queue at all")
    damaged = MetricsRoute(StudioQueue(queue.paths), Requests())
    assert figure(read_figures(damaged.text()), "velatura_queue_readable") == 0


def test_health_says_what_fails_and_nothing_else(queue: StudioQueue, tmp_path: Path, monkeypatch):
    def health(last_pass: float) -> tuple[int, bytes]:
        answer = HealthRoute(queue, lambda: last_pass).answer(None)
        return answer.status_code, answer.body

    works = b'{"status":"ok","queue":true,"dispatcher":true,"disk":true}'
    assert health(time.monotonic()) == (200, works)
    assert health(time.monotonic() - LATE - 1) == (
        503,
        b'{"status":"failing","queue":true,"dispatcher":false,"disk":true}',
    )
    monkeypatch.setattr("app.ui.monitoring.health.missing", lambda _folder: 1)
    assert b'"disk":false' in health(time.monotonic())[1]
    add_quick(queue.store, tmp_path / "job")
    queue.store.close()
    queue.store.path.write_bytes(b"no queue at all")
    status, body = health(time.monotonic())
    assert status == 503 and b'"queue":false' in body and str(tmp_path).encode() not in body


def test_on_a_shared_studio_figures_are_for_admins(queue: StudioQueue):
    def status(**scope: str) -> int:
        return MetricsRoute(queue, Requests()).answer(Request({"type": "http", "headers": [], **scope})).status_code

    member = {USER: "bob", ROLE: "member"}
    assert (status(), status(**member), status(**{USER: "ann", ROLE: "admin"})) == (200, 403, 200)
    assert status(**{USER: None, ROLE: ""}) == status(**{USER: "", ROLE: ""}) == 403, "nor who has not logged in"
