"""python -m tests.soak.connections: 1,000 idle connections, 600 streams, and docs/reliability.md."""

from __future__ import annotations

import datetime
import resource
import socket
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil

from benchmarks.full_unet import machine
from benchmarks.pages import write_section
from tests.app.ui.server import Process
from tests.soak.__main__ import PAGE

IDLE, STREAMS, HANDLES = 1000, 600, 1024
"""Connections that send half a request, streams of one person, and the studio's limit of handles."""
HALF = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
PATIENCE = 60


def main() -> None:
    """Open everything at once, and measure what somebody else waits meanwhile."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    few = f"import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, ({HANDLES}, {HANDLES}))"
    folder = Path(tempfile.mkdtemp(prefix="velatura-connections-"))
    studio = Process(folder / "outputs", "--auth", "ann:pear-tree", "--auth", "bob:plum-tree", before=few)
    try:
        with ExitStack() as sockets:
            waited, handles = idle(studio, sockets)
        streams = opened_streams(studio)
    finally:
        studio.stop()
    lines = studio.said().count("\n")
    assert "Traceback" not in studio.said() and lines < 20, studio.said()
    write_section(PAGE, report(waited, handles, streams, lines))


def idle(studio: Process, sockets: ExitStack) -> tuple[list[float], int]:
    """The seconds of each answer while half-sent requests come, and the most handles that were open."""
    waited, handles, process = list[float](), 0, psutil.Process(studio.pid)
    for number in range(IDLE):
        opened = sockets.enter_context(socket.create_connection(("127.0.0.1", studio.port), PATIENCE))
        opened.sendall(HALF)
        if number % 20 == 19:
            begun = time.monotonic()
            assert httpx.get(f"{studio.url}health", timeout=PATIENCE).status_code == 200
            waited.append(time.monotonic() - begun)
            handles = max(handles, process.num_fds())
    return waited, handles


def opened_streams(studio: Process) -> tuple[int, int]:
    """How many streams one person got, and how many were refused; another person is served meanwhile."""
    ann, bob = (
        dict(httpx.post(f"{studio.url}login", data={"username": name, "password": word}, timeout=PATIENCE).cookies)
        for name, word in (("ann", "pear-tree"), ("bob", "plum-tree"))
    )
    cookie = "; ".join(f"{name}={value}" for name, value in ann.items())
    request = f"GET /now/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n".encode()
    with ExitStack() as sockets:
        answers = []
        for _ in range(STREAMS):
            opened = sockets.enter_context(socket.create_connection(("127.0.0.1", studio.port), PATIENCE))
            opened.sendall(request)
            answers.append(opened.recv(100).split(b" ")[1])
        assert httpx.get(f"{studio.url}now", cookies=bob, timeout=PATIENCE).status_code == 200
    return answers.count(b"200"), answers.count(b"429") + answers.count(b"503")


def report(waited: list[float], handles: int, streams: tuple[int, int], lines: int) -> str:
    """The section of the page."""
    today = datetime.datetime.now(tz=datetime.UTC).strftime("%d %B %Y")
    return "\n".join(
        [
            "# Many connections",
            "",
            f"One address opens {IDLE:,} connections to a studio with {HANDLES:,} file handles and sends half a "
            f"request on each. Then one person opens {STREAMS} streams.",
            "",
            f"Written by `python -m tests.soak.connections` on {today}: {machine()}.",
            "",
            f"`/health` answered all {len(waited)} requests meanwhile, from the same address: the median took "
            f"{1000 * statistics.median(waited):.0f} ms, the longest {1000 * max(waited):.0f} ms. The studio had at "
            f"most {handles} handles open and printed {lines} lines. Of the streams {streams[0]} were answered and "
            f"{streams[1]} refused in words; another person was served meanwhile.",
        ]
    )


if __name__ == "__main__":
    main()
