"""`/account`: a person's tokens; for admins also the people, their roles and limits, and the audit log.

Middleware refuses forms from other sites, and this page refuses tokens: a token cannot make another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.errors import as_sentence
from app.jobs.accounts.audit import LONGEST, AuditLog, details_of
from app.jobs.accounts.limits import STORAGE, WAITING, Limits, check_limit
from app.jobs.permissions import ADMIN, Actor
from app.jobs.store import Store
from app.studio.accounts.people import People
from app.studio.accounts.tokens import METRICS, Token, Tokens
from app.ui.account import text
from app.ui.components import text as shared
from app.ui.document.templates import render
from app.ui.login.sender import ROLE, TOKEN, USER, address_of
from app.ui.middleware.headers import PageResponse
from app.ui.middleware.not_found import not_found_page
from app.ui.middleware.refusals import refusal
from trainers.errors import VelaturaError
from trainers.messages import Message

GB = 10**9
LINES = 100
"""Entries of the audit log that the page shows."""
UNITS = {WAITING: 1, STORAGE: GB}


@dataclass(frozen=True)
class Outcome:
    """The result of a form: a message or a problem, and the secret of a new token."""

    said: Message | str = ""
    problem: Message | str = ""
    secret: str = field(default="", repr=False)


@dataclass(frozen=True)
class PersonRow:
    """A person's role and limits as typed; without a name, the limits of everybody."""

    name: str
    role: str
    waiting: str
    storage: str


@dataclass(frozen=True)
class TokenRow:
    """A token of the list."""

    id: str
    owner: str
    label: str
    facts: list[Message]


class AccountRoute:
    """The Account page and its forms."""

    def __init__(self, people: People, store: Store) -> None:
        self.people, self.tokens = people, Tokens(people.database)
        self.limits, self.audit = Limits(store.settings), AuditLog(store.runs)

    def routes(self) -> list[BaseRoute]:
        """The route of the page."""
        return [Route("/account", self.answer, methods=["GET", "POST"])]

    async def answer(self, request: Request) -> Response:
        """Apply the form, if the request has one, and return the page."""
        scope = request.scope
        if not scope.get(USER):  # a studio without accounts
            return PageResponse(not_found_page(scope["path"]), 404)
        if scope.get(TOKEN):
            return refusal(scope, 403, shared.NOT_WITH_A_TOKEN)
        actor = Actor(scope[USER], scope.get(ROLE) == ADMIN, address_of(scope))
        outcome = Outcome()
        if request.method == "POST":
            try:
                form = await request.form(max_files=0, max_fields=10)
            except HTTPException:
                return refusal(scope, 400, shared.BAD_CALL)
            fields = {key: value for key, value in form.items() if isinstance(value, str)}
            outcome = await run_in_threadpool(self.act, actor, fields)
        page = await run_in_threadpool(self.page, actor, outcome)
        return PageResponse(page, 400 if outcome.problem else 200)

    def act(self, actor: Actor, fields: Mapping[str, str]) -> Outcome:
        """Apply a form of this person."""
        acts = {"make": self._make, "revoke": self._revoke, "person": self._change_person}
        try:
            if (act := acts.get(fields.get("act", ""))) is None:
                raise VelaturaError(shared.BAD_CALL)
            return act(actor, fields)
        except VelaturaError as error:
            return Outcome(problem=as_sentence(error))

    def page(self, actor: Actor, outcome: Outcome) -> str:
        """The document for this person."""
        # The form may have changed the role of the person who sent it.
        person = self.people.find(actor.name)
        is_admin = actor.is_admin and (person is None or person.role == ADMIN)
        tokens = self.tokens.all(None if is_admin else actor.name)
        values: dict[str, Any] = {"people": [], "others": [], "log": [], "usual": self.limits.waiting("")}
        if is_admin:
            values |= {
                "people": self._people(),
                "others": [_row(token) for token in tokens if token.owner != actor.name],
                "log": [_cells(line) for line in islice(self.audit.lines(), LINES)],
            }
        return render(
            "account/account.html",
            base="./",
            login=actor.name,
            role=ADMIN if is_admin else "member",
            admin=is_admin,
            said=outcome.said,
            problem=outcome.problem,
            secret=outcome.secret,
            tokens=[_row(token) for token in tokens if token.owner == actor.name],
            **values,
        )

    # ---------------------------------------------------------------- forms
    def _make(self, actor: Actor, fields: Mapping[str, str]) -> Outcome:
        token, secret = self.tokens.make(actor.name, fields.get("label", ""), _whole(fields.get("days", "")) or 0)
        self.audit.note("token_made", actor, token.label, owner=actor.name, id=token.id, scope=token.scope)
        return Outcome(text.SHOWN_ONCE.format(name=token.label), secret=secret)

    def _revoke(self, actor: Actor, fields: Mapping[str, str]) -> Outcome:
        token = self.tokens.revoke(fields.get("id", ""), None if actor.is_admin else actor.name)
        self.audit.note("token_revoked", actor, token.label, owner=token.owner, id=token.id)
        return Outcome(text.REVOKED.format(name=token.label))

    def _change_person(self, actor: Actor, fields: Mapping[str, str]) -> Outcome:
        """Set the role and limits of a person, or the limits of everybody."""
        if not actor.is_admin:
            self.audit.note("limit", actor, fields.get("name", ""), refused=True)
            raise VelaturaError(shared.ADMINS_ONLY)
        name = fields.get("name", "")
        person = self.people.find(name) if name else None
        if name and person is None:
            raise VelaturaError("there is no account {name}", name=name)
        typed = {kind: _whole(fields.get(kind, "")) for kind in UNITS}
        wanted = {kind: None if number is None else number * UNITS[kind] for kind, number in typed.items()}
        for kind, value in wanted.items():  # before any of them is changed
            check_limit(kind, value)
        if person is not None and (role := fields.get("role", person.role)) != person.role:
            self.people.set_role(name, role)
            self.audit.note("role", actor, name, role=role)
        for kind, value in wanted.items():
            if value != self.limits.of(kind, name):
                self.limits.set(kind, value, name)
                self.audit.note("limit", actor, name, **{kind: "usual" if value is None else value})
        return Outcome(text.SAVED)

    def _people(self) -> list[PersonRow]:
        def shown(kind: str, name: str) -> str:
            value = self.limits.of(kind, name)
            return "" if value is None else f"{value // UNITS[kind]}"

        everybody = [("", ""), *((person.name, person.role) for person in self.people.all())]
        return [PersonRow(name, role, shown(WAITING, name), shown(STORAGE, name)) for name, role in everybody]


def _whole(typed: str) -> int | None:
    """A whole number; None for an empty field. VelaturaError for anything else."""
    typed = typed.strip()
    if not typed:
        return None
    if not typed.isascii() or not typed.isdecimal() or len(typed) > 9:
        raise VelaturaError(text.NOT_WHOLE.format(value=typed))
    return int(typed)


def _row(token: Token) -> TokenRow:
    facts = [text.USED.format(day=_day(token.used)) if token.used else text.NEVER_USED]
    facts += [text.ENDS.format(day=_day(token.ends))] if token.ends else []
    facts += [text.FOR_METRICS] if token.scope == METRICS else []
    return TokenRow(token.id, token.owner, token.label, facts)


def _day(moment: float) -> str:
    from datetime import datetime

    return f"{datetime.fromtimestamp(moment):%Y-%m-%d}"


def _cells(line: Mapping[str, Any]) -> tuple[str, ...]:
    who = line.get("who")
    name = text.UNKNOWN if who is None else str(who) or text.OWNER
    cells = (str(line.get("time")), name, str(line.get("what")), str(line.get("about")), details_of(line))
    return tuple(
        cell[:LONGEST].encode("utf-8", "replace").decode() for cell in cells
    )  # a damaged line may hold anything
