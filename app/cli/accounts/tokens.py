"""`velatura tokens …`: tokens by which programs act for a person of a shared studio."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from app.cli.accounts.people import people_of
from app.cli.common.console import print_json, print_table, say
from app.cli.common.options import Json, Out, is_alone, runs_folder
from app.jobs.accounts.audit import AuditLog
from app.jobs.permissions import ADMIN, MACHINE_OWNER
from app.studio.accounts.people import People
from app.studio.accounts.tokens import API, METRICS, MOST_DAYS, Token, Tokens
from trainers.errors import VelaturaError

tokens_app = typer.Typer(help="Tokens for programs.")
commands = typer.Typer()
commands.add_typer(tokens_app, name="tokens", invoke_without_command=True, epilog="Example: velatura tokens")


@tokens_app.callback()
def tokens(context: typer.Context, out: Out = None, json: Json = False) -> None:
    """Show the tokens of all accounts, without their secrets."""
    if is_alone(context, "tokens", out, json):
        _show(runs_folder(out), json)


@tokens_app.command("list", epilog="Example: velatura tokens list --json")
def list_tokens(out: Out = None, json: Json = False) -> None:
    """Show the tokens of all accounts, without their secrets."""
    _show(runs_folder(out), json)


@tokens_app.command(epilog='Example: velatura tokens add ann "night script" --days 90')
def add(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="Account for which the program acts.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for.")],
    days: Annotated[int, typer.Option(metavar="N", min=0, max=MOST_DAYS, help="Days until it ends; 0: never.")] = 0,
    metrics: Annotated[bool, typer.Option("--metrics", help="It may only read /metrics; for an admin.")] = False,
    out: Out = None,
) -> None:
    """Make a token and print it, this once, on standard output."""
    runs = runs_folder(out)
    with _opened(runs) as (people, kept):
        known = people.find(person)
        if known is None:
            raise VelaturaError("there is no account {name}", name=person)
        if metrics and known.role != ADMIN:
            raise VelaturaError("{name} is no admin, and only an admin's token opens /metrics", name=person)
        token, secret = kept.make(person, name, days, METRICS if metrics else API)
    AuditLog(runs).note("token_made", MACHINE_OWNER, token.label, owner=person, id=token.id, scope=token.scope)
    say("keep it safe: it is shown only now")
    sys.stdout.write(f"{secret}\n")


@tokens_app.command(epilog="Example: velatura tokens revoke 1f2e3d4c")
def revoke(
    token: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `velatura tokens` shows it.")],
    out: Out = None,
) -> None:
    """End a token at once."""
    runs = runs_folder(out)
    with _opened(runs) as (_, kept):
        ended = kept.revoke(token)
    AuditLog(runs).note("token_revoked", MACHINE_OWNER, ended.label, owner=ended.owner, id=ended.id)
    say(f"the token “{ended.label}” of {ended.owner} no longer works")


# ---------------------------------------------------------------- within
@contextmanager
def _opened(runs: Path) -> Iterator[tuple[People, Tokens]]:
    with people_of(runs) as people:
        yield people, Tokens(people.database)


def _show(runs: Path, json: bool) -> None:
    with _opened(runs) as (_, kept):
        tokens = kept.all()
    if json:
        print_json([vars(token) for token in tokens])
    else:
        print_table(("id", "person", "name", "for", "made", "ends", "used"), map(_row, tokens))


def _row(token: Token) -> tuple[str, ...]:
    times = (_day(token.made), _day(token.ends) or "never", _day(token.used) or "never")
    return (token.id, token.owner, token.label, token.scope, *times)


def _day(moment: float) -> str:
    return f"{datetime.datetime.fromtimestamp(moment):%Y-%m-%d %H:%M}" if moment else ""
