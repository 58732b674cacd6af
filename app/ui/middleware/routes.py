"""The allow-list of routes; all others respond with 404.

Gradio has about ninety routes. Pages and clients need those below; the others fetch URLs, reveal other people's calls,
or edit the app.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.responses import JSONResponse
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from app.ui.document import assets
from app.ui.gradio_internals import API, FILE
from app.ui.manifest import MANIFEST
from app.ui.monitoring.measure import ROUTE
from app.ui.pages import PAGES

LOOK = f"/{assets.LOOK}"
ACCOUNT, INVITATION = "/account", "/invitation"
FORMS = ("/login", "/logout", ACCOUNT, INVITATION)
"""Paths of the forms of the studio's documents."""
SHARED = "/shared/"
"""Path prefix of read-only links."""
ADDRESSES = tuple(f"/{page.path}" for page in PAGES)
"""Paths of the pages."""

READ = ("GET", "HEAD")
ROUTES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(ADDRESSES, READ),
    **dict.fromkeys([f"{page}/" for page in ADDRESSES[1:]], READ),  # Gradio redirects to the path without the slash
    # The studio's
    f"{LOOK}/{{version}}/{{path:path}}": READ,
    "/now": READ,
    "/now/stream": READ,
    "/health": READ,
    "/metrics": READ,
    f"{SHARED}{{token}}": READ,
    f"{SHARED}{{token}}/{{name}}": READ,
    "/login": ("POST",),
    "/logout": ("GET", "POST"),
    ACCOUNT: ("GET", "HEAD", "POST"),
    INVITATION: ("GET", "HEAD", "POST"),
    # Parts of pages
    "/assets/{path:path}": READ,
    "/static/{path:path}": READ,
    "/svelte/{path:path}": READ,
    "/theme.css": READ,
    MANIFEST: READ,
    "/favicon.ico": READ,
    "/robots.txt": READ,
    # Requests of pages and clients
    "/config": READ,
    f"{API}/app_id": READ,  # pages poll it while the server is away
    f"{API}/info": READ,
    f"{API}/startup-events": READ,
    f"{API}/heartbeat/{{session_hash}}": READ,
    f"{FILE}{{path_or_url:path}}": READ,
    f"{API}/upload": ("POST",),
    f"{API}/upload_progress": READ,
    f"{API}/queue/join": ("POST",),
    f"{API}/queue/data": READ,
    f"{API}/cancel": ("POST",),
    f"{API}/reset": ("POST",),
    # The same endpoints, a line of curl each
    f"{API}/run/{{api_name}}": ("POST",),
    f"{API}/api/{{api_name}}": ("POST",),
    f"{API}/call/{{api_name}}": ("POST",),
    f"{API}/call/{{api_name}}/{{event_id}}": READ,
    f"{API}/call/v2/{{api_name}}": ("POST",),
    f"{API}/call/v2/{{api_name}}/{{event_id}}": READ,
}
"""Methods by path, in Starlette's syntax."""
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""Characters that no path of the studio contains."""


class RoutesMiddleware:
    """Answers 404 to everything not in `routes`."""

    def __init__(self, app: ASGIApp, routes: dict[str, tuple[str, ...]] = ROUTES) -> None:
        self.app = app
        self._patterns = [(compile_path(path)[0], frozenset(methods), path) for path, methods in routes.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self.route_of(scope["method"], scope["path"]) if scope["type"] == "http" else ""
        if route is None:
            # Starlette's message, so that missing and forbidden routes look the same.
            await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, send)
        elif scope["type"] in ("http", "lifespan"):
            scope.get(ROUTE, {})["path"] = route
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":  # none is served; without a response the server would log an error
            await send({"type": "websocket.close", "code": 1008})

    def knows(self, method: str, path: str) -> bool:
        """Whether this path and method are allowed."""
        return self.route_of(method, path) is not None

    def route_of(self, method: str, path: str) -> str | None:
        """The route of a request as the list writes it; None if it is not allowed."""
        if CONTROL.search(path):  # a pattern's `$` allows a line feed at the end, and its parameters any
            return None
        fitting = (route for pattern, methods, route in self._patterns if method in methods and pattern.match(path))
        return next(fitting, None)


def is_page(path: str, pages: Iterable[str] = ADDRESSES) -> bool:
    """Whether a path is a page of the studio."""
    return path in pages


def is_linked(path: str) -> bool:
    """Whether a link elsewhere, such as in a mail, may lead to this path."""
    return is_page(path) or path == INVITATION or (path.startswith(SHARED) and path.count("/") == SHARED.count("/"))
