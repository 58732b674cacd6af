"""Connections whose clients keep the studio waiting, by real sockets."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from app.ui import connections
from app.ui.connections import MOST, REFUSED, Connections, LimitedProtocol, capacity, new_loop, raise_handle_limit
from app.ui.middleware.proxy import trusted
from tests.app.ui.server import Process
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

HALF = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = HALF.replace(b"GET", b"POST") + b"content-length: %d\r\n\r\n"
PATIENCE = 60


class Served:
    """A small server behind `LimitedProtocol`; `/slow` answers when `go_on` is set, `/much` with many megabytes."""

    def __init__(self, most: int, is_proxy: Callable[[str], bool]) -> None:
        self.limits = Connections(most, is_proxy)
        self.go_on = threading.Event()
        self.sockets = ExitStack()
        options: dict[str, Any] = {"http": partial(LimitedProtocol, self.limits), "loop": new_loop}
        options |= {"interface": "asgi3", "log_level": "error", "timeout_graceful_shutdown": 1}
        config = uvicorn.Config(self.answer, port=0, **options)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        wait_until(lambda: self.server.started, "it does not start")
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        body = b"ok"
        if scope["path"] == "/slow":
            while not self.go_on.is_set():
                await asyncio.sleep(0.01)
        elif scope["path"] == "/much":
            body = bytes(64 * 2**20)
        elif scope["method"] == "POST":
            while (await receive()).get("more_body"):
                pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    def connect(self, sent: bytes = HALF) -> socket.socket:
        opened = self.sockets.enter_context(socket.create_connection(("127.0.0.1", self.port), PATIENCE))
        opened.sendall(sent)
        return opened

    def get(self) -> int:
        return httpx.get(f"http://127.0.0.1:{self.port}/", timeout=PATIENCE).status_code

    def close(self) -> None:
        self.go_on.set()
        self.sockets.close()
        self.server.should_exit = True
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@contextmanager
def serve(most: int = 20, is_proxy: Callable[[str], bool] = lambda _: False) -> Iterator[Served]:
    served = Served(most, is_proxy)
    try:
        yield served
    finally:
        served.close()


def is_closed(opened: socket.socket) -> bool:
    """Whether the server has ended a connection, within the test's patience."""
    try:
        return opened.recv(100) == b""
    except ConnectionResetError:
        return True


def is_answered(opened: socket.socket) -> bool:
    """Whether the answer comes whole."""
    came = b""
    while not came.endswith(b"ok") and (part := opened.recv(1000)):
        came += part
    return came.endswith(b"ok")


def open_count(served: Served) -> int:
    return len(served.server.server_state.connections)


def test_headers_that_do_not_come_are_not_awaited(monkeypatch):
    monkeypatch.setattr(connections, "HEADERS_WITHIN", 0.5)
    with serve() as served:
        silent, half = served.connect(b""), served.connect()
        again = served.connect(HALF + b"\r\n")
        assert is_answered(again)
        again.sendall(HALF)  # of a second request, which stops the time in which uvicorn waits for one
        assert is_closed(silent) and is_closed(half) and is_closed(again)


def trickle(opened: socket.socket, pause: float, part: bytes) -> None:
    """Send parts of a request until the server ends the connection."""
    opened.settimeout(pause)
    for _ in range(int(PATIENCE / pause)):
        try:
            opened.sendall(part)
            if opened.recv(1) == b"":
                return
        except TimeoutError:
            continue
        except ConnectionError:
            return
    pytest.fail("the connection stays open")


def test_time_for_headers_does_not_start_again_with_each_byte(monkeypatch):
    monkeypatch.setattr(connections, "HEADERS_WITHIN", 0.5)
    with serve() as served:
        trickle(served.connect(), pause=0.02, part=b"a: 1\r\n")


def test_a_body_that_does_not_come_is_not_awaited_and_one_that_does_is(monkeypatch):
    monkeypatch.setattr(connections, "BODY_WITHIN", 0.5)
    post = POST % 5
    with serve() as served:
        assert is_closed(served.connect(post + b"1234"))
        assert is_answered(served.connect(post + b"12345"))
        monkeypatch.setattr(connections, "BODY_WITHIN", 600.0)
        slow = served.connect(post)
        slow.sendall(b"12345")
        assert is_answered(slow)


def test_a_body_that_comes_byte_by_byte_has_an_end_and_a_slow_upload_has_none(monkeypatch):
    monkeypatch.setattr(connections, "BODY_WITHIN", 0.5)
    with serve() as served:
        trickle(served.connect(POST % 4000), pause=0.05, part=bytes(1))
        behind = HALF + b"\r\n" + POST % 4000  # in one packet with the request before
        assert is_answered(first := served.connect(behind)) and is_closed(first)
        monkeypatch.setattr(connections, "BODY_WITHIN", 1.5)
        upload = served.connect(POST % 16_000)
        for _ in range(8):  # longer than that together
            upload.sendall(bytes(2000))
            time.sleep(0.25)
        assert is_answered(upload)


def test_at_the_limit_awaited_bodies_make_room_before_work(monkeypatch):
    with serve(most=4) as served:
        at_work = served.connect(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        upload = served.connect(POST % 5000 + bytes(4999))
        slow = [served.connect(POST % 5000 + bytes(size)) for size in (20, 10)]
        wait_until(lambda: len(served.server.server_state.tasks) == 4, "they are not served")
        assert served.get() == 200 and is_closed(slow[1]), "that of whose body the least has come"
        served.connect(POST % 5000)  # goes before the upload, of which more has come
        assert served.get() == served.get() == 200
        upload.sendall(b"x")
        served.go_on.set()
        assert is_answered(upload) and is_answered(at_work)


def test_malformed_requests_are_logged_once(monkeypatch, caplog):
    with serve() as served, caplog.at_level(logging.WARNING, "uvicorn.error"):
        monkeypatch.setattr(logging.getLogger("uvicorn"), "propagate", True)
        for _ in range(20):
            assert served.connect(b"nonsense\r\n\r\n").recv(100).startswith(b"HTTP/1.1 400")
    assert [record.message for record in caplog.records] == ["Invalid HTTP request received."]


def test_a_client_that_does_not_read_is_cut_and_one_that_does_is_not(monkeypatch):
    monkeypatch.setattr(connections, "READ_WITHIN", 0.5)
    with serve() as served:
        served.connect(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: open_count(served) == 1, "it does not connect")
        wait_until(lambda: open_count(served) == 0, "the connection stays open")
        monkeypatch.setattr(connections, "READ_WITHIN", 600.0)
        answer = httpx.get(f"http://127.0.0.1:{served.port}/much", timeout=PATIENCE)
        assert len(answer.content) == 64 * 2**20


def test_an_answer_that_takes_long_is_not_cut(monkeypatch):
    for name in ("HEADERS_WITHIN", "BODY_WITHIN", "READ_WITHIN"):
        monkeypatch.setattr(connections, name, 0.2)
    with serve() as served:
        slow = served.connect(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        assert is_closed(served.connect()), "the time for headers is over by now"
        assert is_closed(served.connect()), "and once more"
        served.go_on.set()
        assert is_answered(slow)


def test_at_the_limit_the_oldest_idle_connection_makes_room(monkeypatch):
    with serve(most=5) as served:
        idle = [served.connect() for _ in range(5)]
        wait_until(lambda: open_count(served) == 5, "they do not connect")
        assert served.get() == 200 and is_closed(idle[0])
        idle[1].sendall(b"\r\n")
        assert is_answered(idle[1]), "the others stay"


def test_connections_at_work_are_kept_and_the_next_is_refused_in_words(monkeypatch):
    with serve(most=3) as served:
        at_work = [served.connect(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(3)]
        wait_until(lambda: len(served.server.server_state.tasks) == 3, "they are not served")
        refused = served.connect(b"").recv(1000)
        assert refused == REFUSED and b"--trusted-proxy" in refused
        served.go_on.set()
        assert all(is_answered(each) for each in at_work)
        assert served.get() == 200


def test_connections_are_counted_by_address_except_those_of_a_proxy(monkeypatch):
    monkeypatch.setattr(connections, "MOST_OF_AN_ADDRESS", 3)
    for proxies, kept in (((), 3), (("127.0.0.0/8",), 8)):
        with serve(is_proxy=partial(trusted, proxies)) as served:
            opened = [served.connect() for _ in range(8)]
            assert served.get() == 200
            wait_until(lambda kept=kept: open_count(served) <= kept, "too many stay open")
            assert sum(each.fileno() >= 0 and not _has_ended(each) for each in opened) >= kept - 1


def _has_ended(opened: socket.socket) -> bool:
    opened.setblocking(False)
    try:
        return opened.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("handles", [256, 1024, 4096, 20_000, 65_536])
def test_file_handles_suffice_for_all_connections_and_their_files(handles):
    allowed = capacity(handles)
    assert 50 <= allowed.connections <= MOST and allowed.backlog >= 5
    assert 2 * allowed.connections + 4 * allowed.backlog + connections.RESERVED // 2 <= handles


def test_the_limit_of_handles_is_raised_as_far_as_the_system_allows():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        assert raise_handle_limit() == min(before[1], connections.MOST_HANDLES)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(before[1], connections.MOST_HANDLES), before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_connections_that_cannot_be_accepted_are_reported_once(caplog):
    loop = new_loop()
    with caplog.at_level(logging.ERROR, "asyncio"):
        for _ in range(1000):
            loop.call_exception_handler({"message": "socket.accept() out of system resource"})
        loop.call_exception_handler({"message": "something else"})
    loop.close()
    assert [record.message.splitlines()[0] for record in caplog.records] == [
        "socket.accept() out of system resource", "something else",
    ]  # fmt: skip


@pytest.mark.process
def test_three_hundred_idle_connections_do_not_stop_a_studio_with_256_handles(tmp_path: Path) -> None:
    few = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))"
    studio = Process(tmp_path / "outputs", before=few)
    try:
        with ExitStack() as sockets:
            for number in range(300):
                opened = sockets.enter_context(socket.create_connection(("127.0.0.1", studio.port), PATIENCE))
                opened.sendall(HALF)
                if number % 50 == 0:
                    assert httpx.get(f"{studio.url}health", timeout=PATIENCE).status_code == 200, number
            for path in ("health", "", "config"):
                assert httpx.get(studio.url + path, timeout=PATIENCE).status_code == 200
        assert studio.said().count("\n") < 10 and "Traceback" not in studio.said(), studio.said()
    finally:
        studio.stop()
