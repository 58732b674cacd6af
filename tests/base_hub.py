"""A hub on this machine from which a base is downloaded: listing, tree and files of a folder, and refusals."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.hub import listening

SHA = "a" * 40
TOKEN = "hf_VerySecretToken"


@dataclass
class BaseHub:
    """What it holds, and how it behaves."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    """Files of its one repository."""
    repository: str = "tiny/base"
    fetched: set[str] = field(default_factory=set)
    begun: list[tuple[str, int]] = field(default_factory=list)
    """Names of the files that were sent, each with the first byte."""
    gated: bool = False
    """Whether it sends files only to a login that has accepted the terms."""
    accepted: bool = True
    broken: dict[str, int] = field(default_factory=dict)
    """Bytes after which the connection ends, by file; once each."""
    slow: threading.Event | None = None
    """If given, files of more than 20 MB stop in the middle until it is set."""
    etag: str = ""
    """What it announces as the hash of every file, if given."""
    damaged: set[str] = field(default_factory=set)
    """Files that arrive with other content than announced."""
    longer: set[str] = field(default_factory=set)
    """Files that arrive with more content than announced."""


@contextmanager
def serving_base(folder: Path, repository: str = "tiny/base") -> Iterator[BaseHub]:
    """Serve the files of a folder as a repository."""
    files = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    hub = BaseHub(files=files, repository=repository)

    class Handler(_Handler):
        held = hub

    with listening(Handler) as hub.url:
        try:
            yield hub
        finally:
            if hub.slow is not None:
                hub.slow.set()


def _lfs(content: bytes) -> dict[str, object]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 100}


class _Handler(BaseHTTPRequestHandler):
    held: BaseHub

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        hub, path = self.held, self.path.split("?")[0]
        known = self.headers.get("authorization", "") == f"Bearer {TOKEN}"
        if path == "/api/whoami-v2":
            person = {
                "type": "user",
                "name": "ada",
                "auth": {"accessToken": {"displayName": "velatura", "role": "read"}},
            }
            return self._send(200, {}, json.dumps(person).encode()) if known else self._send(401, {})
        if "/locked/" in path:
            return self._send(403, {"X-Error-Code": "GatedRepo"})
        if "/refused/" in path:  # a token without rights
            return self._send(403, {})
        if f"/{hub.repository}" not in path:
            return self._send(401, {"X-Error-Code": "RepoNotFound"})
        if found := re.fullmatch(rf"/{hub.repository}/resolve/\w+/(.+)", path):
            if hub.gated and not (known and hub.accepted):
                return self._send(403 if known else 401, {"X-Error-Code": "GatedRepo"})
            return self._send_file(found[1], body)
        if "/tree/" in path:
            rows = [{"type": "file", "path": p, "size": len(c), "oid": "b" * 40} for p, c in hub.files.items()]
            return self._send(200, {}, json.dumps(rows).encode())
        listing = [{"rfilename": p, "size": len(c), "lfs": _lfs(c)} for p, c in hub.files.items()]
        return self._send(200, {}, json.dumps({"id": hub.repository, "sha": SHA, "siblings": listing}).encode())

    def _send_file(self, name: str, body: bool) -> None:
        hub, content = self.held, self.held.files[name]
        hub.fetched.add(name)
        etag = hub.etag or hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": SHA, "Accept-Ranges": "bytes"}
        if name in hub.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        content += b"more" * 1000 if name in hub.longer and body else b""
        first = int(re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", "bytes=0-"))[1])  # type: ignore[index]
        if body:
            hub.begun.append((name, first))
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self._send(206 if first else 200, headers, content[first:], body, name)

    def _send(
        self, status: int, headers: dict[str, str], content: bytes = b"", body: bool = True, name: str = ""
    ) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if not body:
            return
        most = self.held.broken.pop(name, None)
        if most is not None:
            self.wfile.write(content[:most])
            self.wfile.flush()
            self.connection.shutdown(2)
            return
        half = len(content) // 2 if self.held.slow is not None and len(content) > 20_000_000 else 0
        if half and self.held.slow is not None:
            self.wfile.write(content[:half])
            self.wfile.flush()
            self.held.slow.wait(60)
        self.wfile.write(content[half:])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
