"""`POST gradio_api/upload` in place of Gradio's own, which stores equal files of different people as one file.

Processing it for the first person would delete it under the others. Here each request has a folder inside its
sender's, so an upload belongs to its sender until it is processed.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from app.language import translate
from app.studio.dataset.uploads import MOST_BYTES_A_FILE, sender_folder
from app.ui.components.errors import is_of_the_disk, reason
from app.ui.gradio_internals import API, delete_unless_taken, is_too_large, receive_upload
from app.ui.login.sender import USER, sender_of


def upload_route(root: Path) -> Route:
    """The upload route below `root`, the server's upload folder; it returns the files' paths, as Gradio's does."""

    async def upload(request: Request) -> Response:
        sender = sender_of(request.scope.get(USER), request.cookies)
        folder = sender_folder(root.resolve(), sender) / secrets.token_hex(16)
        try:
            paths = await receive_upload(request, folder, MOST_BYTES_A_FILE)
        except MultiPartException as error:
            shutil.rmtree(folder, ignore_errors=True)
            return PlainTextResponse(error.message, 413 if is_too_large(error) else 400)
        except ClientDisconnect:  # the page was left or reloaded: keep nothing; nobody reads the answer
            shutil.rmtree(folder, ignore_errors=True)
            return Response(status_code=400)
        except BaseException as error:  # a disk error, or the studio stops: keep nothing
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, Exception) and is_of_the_disk(error):
                return PlainTextResponse(translate(reason(error)), 507)
            raise
        delete_unless_taken(request, paths)
        return JSONResponse([str(path) for path in paths])

    return Route(f"{API}/upload", upload, methods=["POST"])
