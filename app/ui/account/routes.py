"""`/account`: a person's password and tokens; for admins also invitations, people with their limits, the audit log.

Middleware refuses forms from other sites, and this page refuses tokens: a token cannot make another one.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.errors import as_sentence
from app.jobs.accounts.audit import LONGEST, AuditLog, details_of
from app.jobs.accounts.limits import STORAGE, WAITING, Limits, check_limit
from app.jobs.permissions import ADMIN, Actor
from app.jobs.store import Store
from app.language import Date
from app.studio.accounts.invitations import DAYS, Invitation, link_of, taken
from app.studio.accounts.people import LEAST_PASSWORD, People, check_repeated, check_role, no_account, plain_name
from app.studio.accounts.tokens import METRICS, Token, Tokens
from app.ui.account import text
from app.ui.account.invitation import InvitationRoute
from app.ui.components import text as shared
from app.ui.document.templates import render
from app.ui.login.authenticator import GIVEN, Authenticator, Login
from app.ui.login.form import Form, read_form, value_of
from app.ui.login.sender import ROLE, TOKEN, USER, address_of
from app.ui.middleware.headers import PageResponse
from app.ui.middleware.login import client_of, with_login
from app.ui.middleware.not_found import not_found_page
from app.ui.middleware.refusals import refusal
from app.ui.middleware.routes import ACCOUNT
from app.ui.pages import PAGES
from trainers.errors import VelaturaError
from trainers.messages import Message

GB = 10**9
LINES = 100
"""Entries of the audit log that the page shows."""
UNITS = {WAITING: 1, STORAGE: GB}
COLUMNS = ("name", "role", WAITING, STORAGE, "was")
"""Fields of a row of the table of people; `was` is the row as it was sent, so that only changes are applied."""
MOST_FIELDS = 2000


@dataclass(frozen=True)
class Outcome:
    """The result of a form: a message or a problem, a secret or a link that the page displays once, and a new login."""

    said: Message | str = ""
    problem: Message | str = ""
    secret: str = field(default="", repr=False)
    link: str = field(default="", repr=False)
    login: Login | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PersonRow:
    """A person's role and limits as typed; without a name, the limits of everybody."""

    name: str
    role: str
    waiting: str
    storage: str

    @property
    def was(self) -> str:
        """The row, to be sent with what is typed into it."""
        return f"{self.role}/{self.waiting}/{self.storage}"


@dataclass(frozen=True)
class TokenRow:
    """A token of the list."""

    id: str
    owner: str
    label: str
    facts: list[Message]


class AccountRoute:
    """The Account page and its forms."""

    def __init__(self, authenticator: Authenticator, people: People, store: Store) -> None:
        self.authenticator, self.people, self.tokens = authenticator, people, Tokens(people.database)
        self.invitations = authenticator.invitations
        self.limits, self.audit = Limits(store.settings), AuditLog(store.runs)

    def routes(self) -> list[BaseRoute]:
        """The routes of the page and of invitations."""
        own = Route(ACCOUNT, self.answer, methods=["GET", "POST"])
        return [own, *InvitationRoute(self.authenticator, self.audit).routes()]

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
            form = await read_form(request, MOST_FIELDS)
            if form is None:
                return refusal(scope, 400, shared.BAD_CALL)
            outcome = await run_in_threadpool(self.act, actor, form, client_of(scope))
        page = await run_in_threadpool(self.page, actor, outcome)
        answer = PageResponse(page, 400 if outcome.problem else 200)
        return with_login(answer, scope, outcome.login) if outcome.login else answer

    def act(self, actor: Actor, form: Form, client: tuple[str, ...]) -> Outcome:
        """Apply a form of this person; `client` is what wrong passwords are counted by."""
        acts: dict[str, Callable[[Actor, Form], Outcome]] = {
            "make": self._make,
            "revoke": self._revoke,
            "password": partial(self._change_password, client=client),
            "people": self._change_people,
            "invite": self._invite,
            "withdraw": self._withdraw,
        }
        try:
            if (act := acts.get(value_of(form, "act"))) is None:
                raise VelaturaError(shared.BAD_CALL)
            return act(actor, form)
        except VelaturaError as error:
            return Outcome(problem=as_sentence(error))

    def page(self, actor: Actor, outcome: Outcome) -> str:
        """The document for this person."""
        # The form may have changed the role of the person who sent it.
        person = self.people.find(actor.name)
        is_admin = actor.is_admin and (person is None or person.role == ADMIN)
        tokens = self.tokens.all(None if is_admin else actor.name)
        values: dict[str, Any] = {"people": [], "invited": [], "others": [], "log": []}
        if is_admin:
            values |= {
                "people": self._people(),
                "invited": [_invited(invitation) for invitation in self.invitations.all()],
                "others": [_row(token) for token in tokens if token.owner != actor.name],
                "log": [_cells(line) for line in islice(self.audit.lines(), LINES)],
            }
        return render(
            "account/account.html",
            base="./",
            user=actor.name,
            pages=PAGES,
            fixed=as_sentence(VelaturaError(GIVEN)) if self.authenticator.is_given(actor.name) else "",
            least=LEAST_PASSWORD,
            usual=self.limits.waiting(""),
            role=ADMIN if is_admin else "member",
            admin=is_admin,
            said=outcome.said,
            problem=outcome.problem,
            secret=outcome.secret,
            link=outcome.link,
            tokens=[_row(token) for token in tokens if token.owner == actor.name],
            **values,
        )

    # ---------------------------------------------------------------- forms
    def _make(self, actor: Actor, form: Form) -> Outcome:
        days = _whole(value_of(form, "days")) or 0
        token, secret = self.tokens.make(actor.name, value_of(form, "label"), days)
        self.audit.note("token_made", actor, token.label, owner=actor.name, id=token.id, scope=token.scope)
        return Outcome(text.SHOWN_ONCE.format(name=token.label), secret=secret)

    def _revoke(self, actor: Actor, form: Form) -> Outcome:
        token = self.tokens.revoke(value_of(form, "id"), None if actor.is_admin else actor.name)
        self.audit.note("token_revoked", actor, token.label, owner=token.owner, id=token.id)
        return Outcome(text.REVOKED.format(name=token.label))

    def _change_password(self, actor: Actor, form: Form, client: tuple[str, ...]) -> Outcome:
        check_repeated(value_of(form, "password"), value_of(form, "again"))
        if wait := self.authenticator.wait(actor.name, *client):
            raise VelaturaError(shared.too_many_wrong(wait))
        current, password = value_of(form, "current"), value_of(form, "password")
        login = self.authenticator.change_password(actor.name, current, password, *client)
        self.audit.note("password", actor, actor.name, refused=True if login is None else None)
        if login is None:
            raise VelaturaError(text.WRONG_CURRENT)
        return Outcome(text.PASSWORD_CHANGED, login=login)

    def _invite(self, actor: Actor, form: Form) -> Outcome:
        self._check_admin(actor, "invited", name := value_of(form, "name"))
        if self.authenticator.is_given(plain_name(name)):
            raise taken(name)
        invitation, secret = self.invitations.make(name, value_of(form, "role"), actor.name)
        self.audit.note("invited", actor, invitation.name, role=invitation.role)
        return Outcome(text.INVITED.format(name=invitation.name, days=DAYS), link=link_of(secret))

    def _withdraw(self, actor: Actor, form: Form) -> Outcome:
        self._check_admin(actor, "invitation_withdrawn", name := value_of(form, "name"))
        self.invitations.withdraw(name)
        self.audit.note("invitation_withdrawn", actor, name)
        return Outcome(text.WITHDRAWN.format(name=name))

    def _change_people(self, actor: Actor, form: Form) -> Outcome:
        """Set what was changed of roles and limits; a row without a name holds the limits of everybody."""
        self._check_admin(actor, "limit", "")
        roles, limits = self._changes(form)  # refused before any of them is applied
        for name, role in sorted(roles.items(), key=lambda change: change[1]):  # new admins first
            self.people.set_role(name, role)
            self.audit.note("role", actor, name, role=role)
        for name, kind, value in limits:
            self.limits.set(kind, value, name)
            self.audit.note("limit", actor, name, **{kind: "usual" if value is None else value})
        return Outcome(text.SAVED)

    def _changes(self, form: Form) -> tuple[dict[str, str], list[tuple[str, str, int | None]]]:
        columns = [form.get(column, []) for column in COLUMNS]
        roles: dict[str, str] = {}
        limits: list[tuple[str, str, int | None]] = []
        known = {person.name: person.role for person in self.people.all()}
        try:
            rows = [(name, [*typed], was.split("/")) for name, *typed, was in zip(*columns, strict=True)]
            changes = [(name, list(zip(("role", *UNITS), typed, was, strict=True))) for name, typed, was in rows]
        except ValueError as error:
            raise VelaturaError(shared.BAD_CALL) from error
        for name, fields in changes:
            if name and name not in known:
                raise no_account(name)
            for key, value, before in fields:
                if value.strip() == before:
                    continue
                if key == "role":
                    check_role(value if name else "")
                    roles[name] = value
                else:
                    number = _whole(value)
                    limits.append((name, key, None if number is None else number * UNITS[key]))
                    check_limit(key, limits[-1][2])
        if roles and ADMIN not in (known | roles).values():
            raise VelaturaError(text.NO_ADMIN_LEFT)
        return roles, limits

    def _check_admin(self, actor: Actor, what: str, about: str) -> None:
        if not actor.is_admin:
            self.audit.note(what, actor, about, refused=True)
            raise VelaturaError(shared.ADMINS_ONLY)

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


def _invited(invitation: Invitation) -> tuple[Invitation, Message]:
    return invitation, text.UNTIL.format(role=text.ROLES[invitation.role], day=_day(invitation.ends))


def _day(moment: float) -> Date:
    return Date(Date.DATE, datetime.date.fromtimestamp(moment))


def _cells(line: Mapping[str, Any]) -> tuple[str, ...]:
    # A damaged line may hold anything.
    time, who, what, about, details = (
        str(cell)[:LONGEST].encode("utf-8", "replace").decode()
        for cell in (*(line.get(key) for key in ("time", "who", "what", "about")), details_of(line))
    )
    action = text.ACTIONS.get(what, what)
    return (
        time[:19].replace("T", " "),
        text.UNKNOWN if line.get("who") is None else who or text.OWNER,
        text.REFUSED.format(action=action) if line.get("refused") else action,
        about,
        details,
    )
