"""Files that lie outside what may be read, by every route and value that names a file."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest

from tests.app.ui.server import Process


def spellings(path: Path, public: Path) -> list[str]:
    """A path as somebody may write it who wants to get around a check."""
    up = "/".join([".."] * 30)
    inside = f"{public}/{up}{path}"
    return [
        str(path), quote(str(path), safe=""), f"file://{path}", f"//{path}", inside, inside.replace("..", "%2e%2e"),
        f"{public}/..%2f..%2f..{path}", f"{public}/../secret", f"{public}/.%2e/secret", f"{path}%00.png",
        str(path).upper(), f"~/../..{path}", f"{public}\\..\\..\\secret",
    ]  # fmt: skip


def get(url: str, path: str) -> tuple[int, bytes]:
    """The answer to a path that is sent exactly as it is, without a client that tidies it up."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=30) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := line.recv(65536):
            answer += part
    return int(answer.split(b" ", 2)[1]), answer


@pytest.mark.parametrize("route", ["file=", "file/", "stream/", "proxy=", "../file="])
def test_no_route_reads_it(open_studio: Process, secrets_of: list[Path], route: str) -> None:
    public = open_studio.out.resolve() / ".studio" / "public"
    for path in secrets_of:
        content = path.read_bytes()
        for written in spellings(path, public):
            status, answer = get(open_studio.url, f"/gradio_api/{route}{written}")
            assert status in (400, 403, 404), (route, written, status)
            assert content not in answer


@pytest.mark.parametrize("folder", ["look", "look/0", "static", "assets", "svelte"])
def test_static_folders_end_where_they_end(open_studio: Process, secrets_of: list[Path], folder: str) -> None:
    for path in secrets_of:
        for way in (f"/{folder}/../../../../../../../../../..{path}", f"/{folder}/{path}",
                    f"/{folder}/..%2f..%2f..%2f..%2f..%2f..{path}"):  # fmt: skip
            status, answer = get(open_studio.url, way)
            assert status in (400, 403, 404), (way, status)
            assert path.read_bytes() not in answer


def test_no_value_takes_it_in(open_studio: Process, secrets_of: list[Path]) -> None:
    before = [path.read_bytes() for path in secrets_of]
    for path in (*map(str, secrets_of), ".studio/secret", "../.studio/secret", "x/../../secret"):
        file = {"path": path, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}
        for route in ("run/upload", "call/upload"):
            answer = httpx.post(f"{open_studio.url}gradio_api/{route}", json={"data": [[file], ""]}, timeout=30)
            if answer.status_code == 200 and "event_id" in answer.json():
                event = answer.json()["event_id"]
                answer = httpx.get(f"{open_studio.url}gradio_api/call/upload/{event}", timeout=30)
                assert "event: error" in answer.text, (path, answer.text)
            else:
                assert answer.status_code >= 400, (path, answer.text)
            assert "draft" not in answer.text
    assert [path.read_bytes() for path in secrets_of] == before, "nothing is taken away either"
