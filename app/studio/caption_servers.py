"""The chat server that writes a studio's captions: its address and model, without its key."""

from __future__ import annotations

import json

from app.state_file import StateFile
from app.studio.paths import Paths
from trainers.captioning.server import CaptionServer
from trainers.errors import VelaturaError
from trainers.messages import Message as _

ONLY_ADMINS = _("Only an admin of this studio chooses the server.")
NONE_YET = _("Write the address of the server and the name of its model.")


class CaptionServers:
    """The server that was chosen last, for everybody in the studio."""

    def __init__(self, paths: Paths) -> None:
        self._file = StateFile(paths.root / "caption-server.json", _parse, lambda kept: json.dumps(kept.__dict__))

    def read(self) -> CaptionServer | None:
        """The chosen server, if any."""
        return self._file.read()

    def choose(self, url: str, model: str, may_choose: bool) -> CaptionServer:
        """The server to use, kept if it is new. VelaturaError if it is no address, or somebody else must choose it."""
        kept = self.read()
        server = CaptionServer(url.strip(), model.strip())
        if kept is not None and (server == kept or not (server.url or server.model)):
            return kept
        if not may_choose:
            raise VelaturaError(ONLY_ADMINS)
        if not (server.url and server.model):
            raise VelaturaError(NONE_YET)
        assert server.base  # raises for another address
        with self._file.lock():
            self._file.write(server)
        return server


def _parse(content: bytes) -> CaptionServer:
    kept = json.loads(content)
    if not (isinstance(kept, dict) and all(isinstance(kept.get(name), str) for name in ("url", "model"))):
        raise ValueError("the server is incomplete")
    return CaptionServer(kept["url"], kept["model"])
