"""`/invitation`: whoever has an invitation's link chooses a password there and is logged in.

The secret is in the fragment of the link; the page's script sends it in a form.
"""

from __future__ import annotations

import math

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from app.errors import as_sentence
from app.jobs.accounts.audit import AuditLog
from app.jobs.permissions import Actor
from app.language import translate
from app.studio.accounts.people import LEAST_PASSWORD, check_repeated
from app.ui.account import text
from app.ui.components import text as shared
from app.ui.document.document import bare_page
from app.ui.login.authenticator import Authenticator
from app.ui.login.form import read_form, value_of
from app.ui.login.sender import address_of
from app.ui.middleware.headers import PageResponse
from app.ui.middleware.login import LONGEST_PAUSE, client_of, with_login
from app.ui.middleware.not_found import not_found_page
from app.ui.middleware.refusals import NO_STORE, refusal
from app.ui.middleware.routes import INVITATION
from trainers.errors import VelaturaError


class InvitationRoute:
    """The page behind an invitation's link, and its form."""

    def __init__(self, authenticator: Authenticator, audit: AuditLog) -> None:
        self.authenticator, self.audit = authenticator, audit

    def routes(self) -> list[BaseRoute]:
        """The route of the page."""
        return [Route(INVITATION, self.answer, methods=["GET", "POST"])]

    async def answer(self, request: Request) -> Response:
        """The page; for its script, whom the link invites, or the login once a password is chosen."""
        if self.authenticator.open:  # nobody needs an account
            return PageResponse(not_found_page(INVITATION), 404)
        if request.method != "POST":
            return PageResponse(bare_page("account/invitation.html"))
        form = await read_form(request)
        if form is None:
            return refusal(request.scope, 400, shared.BAD_CALL)
        secret, password, again = (value_of(form, key) for key in ("secret", "password", "again"))
        try:
            if "password" not in form:
                return await self._told(request, secret)
            check_repeated(password, again)
            accepted = await run_in_threadpool(self.authenticator.accept, secret, password)
        except VelaturaError as error:
            return refusal(request.scope, 400, as_sentence(error))
        if accepted is None:
            return await self._refused(request)
        invitation, login = accepted
        actor = Actor(invitation.name, address=address_of(request.scope))
        self.audit.note("person_added", actor, invitation.name, role=invitation.role)
        return with_login(JSONResponse({"success": True}, headers=NO_STORE), request.scope, login)

    async def _told(self, request: Request, secret: str) -> Response:
        invitation = self.authenticator.invitations.find(secret)
        if invitation is None:
            return await self._refused(request)
        lead = translate(text.YOU_ARE_INVITED.format(name=invitation.name, least=LEAST_PASSWORD))
        return JSONResponse({"name": invitation.name, "lead": lead}, headers=NO_STORE)

    async def _refused(self, request: Request) -> Response:
        """The same for a wrong, used, withdrawn or old link."""
        address, *_ = client_of(request.scope)
        wait = self.authenticator.note_wrong_token(address)
        if wait > LONGEST_PAUSE:
            headers = {"retry-after": str(math.ceil(wait))}
            return refusal(request.scope, 429, shared.too_many_wrong_links(wait), headers)
        await anyio.sleep(wait)
        self.audit.note("invitation_failed", None, address=address_of(request.scope))
        return refusal(request.scope, 400, text.NOT_INVITED)
