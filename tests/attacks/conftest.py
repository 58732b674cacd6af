"""A studio that trusts every address as public, and the site of a stranger."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.app.ui.server import Process

EVERY_ADDRESS_IS_PUBLIC = "import safehttpx\nsafehttpx.is_public_ip = lambda address: True"
"""Gradio fetches public addresses only; the stranger's site of a test is on this machine."""


@dataclass
class Site:
    """A web server of somebody else; it answers everything with one page, and keeps what it was asked for."""

    url: str
    page: bytes = b"<h1>a stranger's page</h1>"
    kind: str = "text/html"
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def stranger() -> Iterator[Site]:
    site = Site("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", site.kind)
            self.end_headers()
            self.wfile.write(site.page)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="package")
def open_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A studio for everybody on this machine."""
    out = tmp_path_factory.mktemp("open") / "outputs"
    process = Process(out, before=EVERY_ADDRESS_IS_PUBLIC)
    yield process
    process.stop()


@pytest.fixture(scope="package")
def shared_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A studio for two people, open to the network."""
    people = tmp_path_factory.mktemp("people") / "people.txt"
    people.write_text("ann:pear-tree\nbob:plum-tree\n", encoding="utf-8")
    out = tmp_path_factory.mktemp("shared") / "outputs"
    process = Process(out, "--host", "0.0.0.0", "--auth-file", str(people), before=EVERY_ADDRESS_IS_PUBLIC)
    yield process
    process.stop()


@pytest.fixture(scope="package")
def secrets_of(open_studio: Process) -> list[Path]:
    """Files that no request may ever bring out."""
    root = open_studio.out.resolve() / ".studio"
    return [root / "secret", Path("/etc/passwd"), Path(__file__).resolve()]
