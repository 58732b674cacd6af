"""A hub on this machine: create-repo, YAML check, preupload, LFS batch and transfer, commit; what real clients send."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN, READ_ONLY = "hf_writes", "hf_reads"


@dataclass
class Hub:
    """What a hub holds."""

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Files by repository."""
    visibility: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    """Large files by SHA-256."""
    commits: list[str] = field(default_factory=list)
    refuse: dict[str, int] = field(default_factory=dict)
    """Statuses by the part of an address that is answered with them."""


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve an empty hub."""
    hub = Hub()

    class Handler(_Handler):
        held = hub

    with listening(Handler) as hub.url:
        yield hub


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer requests on this machine with a handler; yields the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    held: Hub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        status = next((code for part, code in self.held.refuse.items() if part in self.path), 0)
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in (TOKEN, READ_ONLY):
            status = 401
        elif token == READ_ONLY:
            status = status or 403
        if status:
            self._answer({"error": "refused"}, status)
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            assert json.loads(body)["content"].startswith("---\n")
            self._answer({"warnings": [], "errors": []})
        elif "/preupload/" in self.path:
            modes = [(file["path"], "lfs" if file["path"].endswith((".safetensors", ".png")) else "regular")
                     for file in json.loads(body)["files"]]  # fmt: skip
            self._answer({"files": [{"path": p, "uploadMode": mode, "shouldIgnore": False} for p, mode in modes]})
        elif self.path.endswith(".git/info/lfs/objects/batch"):
            self._answer({"transfer": "basic", "objects": [self._place(one) for one in json.loads(body)["objects"]]})
        elif "/commit/" in self.path:
            self._commit(self.path.split("/api/models/")[1].split("/commit/")[0], body)
        else:
            self._answer({"error": self.path}, 404)

    def do_PUT(self) -> None:
        digest = self.path.removeprefix("/objects/")
        content = self.rfile.read(int(self.headers["content-length"]))
        assert hashlib.sha256(content).hexdigest() == digest
        self.held.objects[digest] = content
        self._answer({})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        known = name in self.held.repositories
        if not known:
            self.held.repositories[name], self.held.visibility[name] = {}, asked["visibility"]
        self._answer({"url": f"{self.held.url}/{name}"}, 409 if known else 200)

    def _place(self, one: dict[str, Any]) -> dict[str, Any]:
        known = one["oid"] in self.held.objects
        return one if known else one | {"actions": {"upload": {"href": f"{self.held.url}/objects/{one['oid']}"}}}

    def _commit(self, name: str, body: bytes) -> None:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                self.held.commits.append(value["summary"])
            elif line["key"] == "lfsFile":
                self.held.repositories[name][value["path"]] = self.held.objects[value["oid"]]
            elif line["key"] == "file":
                self.held.repositories[name][value["path"]] = base64.b64decode(value["content"])
        self._answer({"commitUrl": f"{self.held.url}/{name}/commit/1", "commitOid": "1" * 40})

    def _answer(self, content: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
