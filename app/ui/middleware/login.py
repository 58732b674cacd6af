"""The login page, logging in and out, and the user of a request."""

from __future__ import annotations

from functools import partial

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.studio.accounts.people import plain_name
from app.studio.accounts.sessions import LOGIN_LASTS
from app.ui.components import text as words
from app.ui.document.document import bare_page
from app.ui.gradio_internals import API
from app.ui.login.authenticator import Authenticator
from app.ui.login.sender import USER, cookies_of
from app.ui.middleware.headers import PageResponse
from app.ui.middleware.not_found import is_visit
from app.ui.middleware.refusals import NO_STORE, refusal
from app.ui.middleware.routes import LOOK, SHARED
from app.ui.middleware.visitor import YEAR, cookie

LOGIN, DEVICE = "velatura-login", "velatura-device"
FOR_EVERYBODY = (f"{LOOK}/", SHARED, "/health", "/favicon.ico", "/robots.txt", f"{API}/startup-events")


class LoginMiddleware:
    """Requires a login if the studio has accounts; answers `/login` and `/logout`."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self.app, self.authenticator = app, authenticator
        self._turns: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(scope, receive) if scope["type"] == "http" else None
        await (answer or self.app)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        """The response to logging in or out or a missing login; None lets the request pass with a name."""
        if scope["path"] == "/login":
            return await self._log_in(Request(scope, receive))
        if scope["path"] == "/logout":
            return self._log_out(scope)
        if self.authenticator.open:
            return None
        name = self.authenticator.name_of(cookies_of(scope).get(LOGIN, ""))
        if name is None and not scope["path"].startswith(FOR_EVERYBODY):
            return PageResponse(login_page(), 401) if is_visit(scope) else refusal(scope, 401, words.LOG_IN_FIRST)
        scope[USER] = name
        return None

    async def _log_in(self, request: Request) -> Response:
        try:
            form = await request.form(max_files=0, max_fields=10)
        except HTTPException:
            return refusal(request.scope, 400, words.WRONG_PASSWORD)
        name, password = (str(form.get(key, "")) for key in ("username", "password"))
        success = JSONResponse({"success": True}, headers=NO_STORE)
        if self.authenticator.open:
            return success  # a client that names itself where nobody needs to
        who = plain_name(name), address_of(request.scope), request.cookies.get(DEVICE, "")
        if wait := self.authenticator.wait(*who):
            return refusal(request.scope, 429, words.too_many_wrong(wait))
        # One thread is enough for scrypt, and keeps those of the pages free whoever guesses.
        self._turns = self._turns or anyio.CapacityLimiter(1)
        log_in = partial(self.authenticator.log_in, who[0], password, *who[1:])
        login = await anyio.to_thread.run_sync(log_in, limiter=self._turns)
        if login is None:
            return refusal(request.scope, 400, words.WRONG_PASSWORD)
        success.headers.append("set-cookie", cookie(request.scope, LOGIN, login.token, LOGIN_LASTS))
        success.headers.append("set-cookie", cookie(request.scope, DEVICE, login.device, YEAR))
        return success

    def _log_out(self, scope: Scope) -> Response:
        """End the login; a followed link asks first, since another site may have set it."""
        if scope["method"] != "POST":
            return PageResponse(logout_page())
        self.authenticator.log_out(cookies_of(scope).get(LOGIN, ""))
        answer = RedirectResponse("./", 303, NO_STORE)
        answer.headers.append("set-cookie", cookie(scope, LOGIN, "", 0))
        return answer


def address_of(scope: Scope) -> str:
    """The client's address; "" if unknown."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def login_page() -> str:
    """The login document, with a form that shows errors in place."""
    return bare_page("login/login.html")


def logout_page() -> str:
    """The logout document, with one button."""
    return bare_page("login/logout.html")
