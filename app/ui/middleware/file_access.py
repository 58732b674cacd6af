"""Access to files: public ones, and downloads that Gradio stores with the uploads."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.studio.dataset.uploads import sender_folder
from app.ui.gradio_internals import FILE, is_copy
from app.ui.login.sender import USER, cookies_of, sender_of


class FileAccessMiddleware:
    """Answers 404 to files elsewhere, to other senders' uploads, and to URLs, which Gradio would fetch."""

    def __init__(self, app: ASGIApp, public: Path, uploads: Path) -> None:
        self.app = app
        self.public, self.uploads = public.resolve(), uploads.resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(FILE) and not self._may_read(scope):
            await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _may_read(self, scope: Scope) -> bool:
        written = scope["path"].removeprefix(FILE)
        path = Path(os.path.normpath(written))
        if "\0" in written or ".." in Path(written).parts or not path.is_absolute():
            return False
        if not path.is_relative_to(self.uploads):
            return path.is_relative_to(self.public)
        first = path.relative_to(self.uploads).parts[:1]
        if first and is_copy(first[0]):
            return True
        sender = sender_of(scope.get(USER), cookies_of(scope))
        return bool(sender) and path.is_relative_to(sender_folder(self.uploads, sender))
