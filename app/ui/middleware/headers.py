"""Response headers, which let only the studio's pages run scripts and sandbox everything else."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.language import translate
from app.ui.components import text
from app.ui.document.assets import IMMUTABLE
from app.ui.document.document import is_html
from app.ui.gradio_internals import FILE
from app.ui.middleware.routes import FORMS, SHARED, is_page

POLICY = "content-security-policy"
# Gradio compiles templates, hence unsafe-eval; nothing can be loaded from or sent to other sites.
PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; worker-src 'self' blob:; "
    "frame-ancestors 'self'; base-uri 'self'; form-action 'self'; object-src 'none'"
)
SANDBOX = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"
FOR_ALL = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class PageResponse(HTMLResponse):
    """A standalone document, whose own script may run."""

    def __init__(self, page: str, status_code: int = 200) -> None:
        super().__init__(page, status_code, {POLICY: PAGE_POLICY, "cache-control": "no-store"})


class HeadersMiddleware:
    """Outermost: responses without their own policy are sandboxed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in {**FOR_ALL, POLICY: SANDBOX}.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, sending if scope["type"] == "http" else send)
        except Exception:
            if scope["type"] == "http" and not begun:  # Starlette would send its own response without these headers
                await PlainTextResponse(translate(text.UNEXPECTED), 500)(scope, receive, sending)
            raise  # into the log


class PolicyMiddleware:
    """Innermost: sets the policy of Gradio's responses, and lets browsers cache files."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                page = (is_page(scope["path"]) or scope["path"].startswith(SHARED)) and is_html(message)
                form = scope["path"] in FORMS and is_html(message)
                headers[POLICY] = PAGE_POLICY if page or form else SANDBOX
                if page:
                    headers["cache-control"] = "no-cache"
                elif scope["path"].startswith(FILE) and message["status"] < 400:
                    headers["cache-control"] = IMMUTABLE
            await send(message)

        await self.app(scope, receive, sending if scope["type"] == "http" else send)
