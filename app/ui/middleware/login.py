"""The login page, logging in and out, and the user of a request."""

from __future__ import annotations

import math
from functools import partial

import anyio
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.jobs.accounts.audit import AuditLog
from app.jobs.permissions import Actor
from app.studio.accounts.people import plain_name
from app.studio.accounts.sessions import LOGIN_LASTS
from app.studio.accounts.tokens import METRICS
from app.ui.components import text as words
from app.ui.document.document import bare_page
from app.ui.gradio_internals import API
from app.ui.login.authenticator import Authenticator, Login
from app.ui.login.form import read_form, value_of
from app.ui.login.sender import FORWARDED_FOR, ROLE, TOKEN, USER, address_of, cookies_of
from app.ui.manifest import MANIFEST
from app.ui.middleware.headers import PageResponse
from app.ui.middleware.not_found import is_visit
from app.ui.middleware.refusals import NO_STORE, refusal
from app.ui.middleware.routes import INVITATION, LOOK, SHARED
from app.ui.middleware.visitor import YEAR, cookie

LONGEST_PAUSE = 2.0
"""Maximum seconds that the server delays a login after wrong passwords; longer waits are refused."""
LOGIN, DEVICE = "velatura-login", "velatura-device"
FOR_EVERYBODY = (
    *(f"{LOOK}/", SHARED, INVITATION, MANIFEST, f"{API}/startup-events"),
    *("/health", "/favicon.ico", "/robots.txt"),
)
"""Path prefixes without a login; browsers request the manifest without cookies."""


class LoginMiddleware:
    """Requires a login if the studio has accounts; handles `/login` and `/logout`."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator, audit: AuditLog) -> None:
        self.app, self.authenticator, self.audit = app, authenticator, audit
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
        if secret := bearer_of(scope):
            return self._with_token(scope, secret)
        name = self.authenticator.name_of(cookies_of(scope).get(LOGIN, ""))
        if name is None and not scope["path"].startswith(FOR_EVERYBODY):
            return PageResponse(login_page(), 401) if is_visit(scope) else refusal(scope, 401, words.LOG_IN_FIRST)
        scope[USER] = name
        scope[ROLE] = self.authenticator.role_of(name) if name is not None else ""
        return None

    def _with_token(self, scope: Scope, secret: str) -> Response | None:
        """As `_answer`, for a program."""
        token = self.authenticator.token_of(secret)
        if token is None:
            if wait := self.authenticator.note_wrong_token(address_of(scope)):
                headers = {"retry-after": str(math.ceil(wait))}
                return refusal(scope, 429, words.too_many_wrong_tokens(wait), headers)
            self.audit.note("token_failed", None, address=address_of(scope))
            return refusal(scope, 401, words.WRONG_TOKEN, {"www-authenticate": "Bearer"})
        if token.scope == METRICS and scope["path"] != "/metrics":
            return refusal(scope, 403, words.TOKEN_FOR_METRICS)
        scope[USER], scope[TOKEN] = token.owner, token.id
        scope[ROLE] = self.authenticator.role_of(token.owner)
        return None

    async def _log_in(self, request: Request) -> Response:
        form = await read_form(request)
        if form is None:
            return refusal(request.scope, 400, words.WRONG_PASSWORD)
        name, password = value_of(form, "username"), value_of(form, "password")
        success = JSONResponse({"success": True}, headers=NO_STORE)
        if self.authenticator.open:
            return success  # a client that logs in although nobody has to
        peer, who = address_of(request.scope), (plain_name(name), *client_of(request.scope))
        if (wait := self.authenticator.wait(*who)) and wait <= LONGEST_PAUSE:  # a second try after a typo is no attack
            await anyio.sleep(wait)
            wait = self.authenticator.wait(*who)
        if wait:
            return refusal(request.scope, 429, words.too_many_wrong(wait))
        # One thread is enough for scrypt, and guesses leave the threads of the pages free.
        self._turns = self._turns or anyio.CapacityLimiter(1)
        log_in = partial(self.authenticator.log_in, who[0], password, *who[1:])
        login = await anyio.to_thread.run_sync(log_in, limiter=self._turns)
        # An unknown name may be a password typed into the wrong field.
        known = Actor(who[0], address=peer) if self.authenticator.knows(who[0]) else None
        if login is None:
            self.audit.note("login_failed", known, address=peer)
            return refusal(request.scope, 400, words.WRONG_PASSWORD)
        self.audit.note("login", known)
        return with_login(success, request.scope, login)

    def _log_out(self, scope: Scope) -> Response:
        """End the login; a link shows a confirmation first, since it may come from another site."""
        if scope["method"] != "POST":
            return PageResponse(logout_page())
        login = cookies_of(scope).get(LOGIN, "")
        if name := self.authenticator.name_of(login):
            self.audit.note("logout", Actor(name, address=address_of(scope)))
        self.authenticator.log_out(login)
        answer = RedirectResponse("./", 303, NO_STORE)
        answer.headers.append("set-cookie", cookie(scope, LOGIN, "", 0))
        return answer


def client_of(scope: Scope) -> tuple[str, str, str]:
    """The address, device and untrusted proxy of a client, by which wrong passwords are counted."""
    peer, forwarded = address_of(scope), str(scope.get(FORWARDED_FOR, ""))
    return forwarded or peer, cookies_of(scope).get(DEVICE, ""), peer if forwarded else ""


def with_login(response: Response, scope: Scope, login: Login) -> Response:
    """A response with the cookies of a new login."""
    response.headers.append("set-cookie", cookie(scope, LOGIN, login.token, LOGIN_LASTS))
    response.headers.append("set-cookie", cookie(scope, DEVICE, login.device, YEAR))
    return response


def bearer_of(scope: Scope) -> str:
    """The token in a request's Authorization header; "" without one. Addresses never contain tokens."""
    scheme, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def login_page() -> str:
    """The login document, with a form that shows errors in place."""
    return bare_page("login/login.html")


def logout_page() -> str:
    """The logout document, with one button."""
    return bare_page("login/logout.html")
