"""`velatura people …`: the accounts of a shared studio, their roles and limits, for the machine's owner."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from app.cli.accounts import people as accounts
from app.cli.common.console import print_json, print_table, say
from app.cli.common.options import Json, Out, is_alone, runs_folder
from app.jobs.accounts.audit import AuditLog
from app.jobs.accounts.limits import STORAGE, USUAL_WAITING, WAITING, Limits
from app.jobs.permissions import ADMIN, MACHINE_OWNER, MEMBER
from app.studio.accounts.invitations import Invitations
from app.units import readable_size

GB = 10**9
PersonName = Annotated[str, typer.Argument(metavar="NAME", help="Name of an account.")]

people_app = typer.Typer(help="The accounts of a shared studio.")
commands = typer.Typer()
commands.add_typer(people_app, name="people", invoke_without_command=True, epilog="Example: velatura people")


@people_app.callback()
def people(context: typer.Context, out: Out = None, json: Json = False) -> None:
    """Show the accounts with their roles and limits."""
    if is_alone(context, "people", out, json):
        _show(runs_folder(out), json)


@people_app.command("list", epilog="Example: velatura people list --json")
def list_people(out: Out = None, json: Json = False) -> None:
    """Show the accounts with their roles and limits."""
    _show(runs_folder(out), json)


@people_app.command(epilog="Example: velatura people add ann")
def add(
    name: PersonName,
    admin: Annotated[bool, typer.Option("--admin", help="Make them an admin; the first account always is.")] = False,
    out: Out = None,
) -> None:
    """Add an account or change its password, which is asked for or read from standard input."""
    accounts.add_person(runs_folder(out), name)
    if admin:
        _set_role(runs_folder(out), name, ADMIN)


@people_app.command(epilog="Example: velatura people invite bob --studio https://studio.example")
def invite(
    name: PersonName,
    admin: Annotated[bool, typer.Option("--admin", help="Make them an admin.")] = False,
    studio: Annotated[str, typer.Option(metavar="URL", help="Address of the studio, for a complete link.")] = "",
    out: Out = None,
) -> None:
    """Print a link, this once, with which somebody chooses a password and gets an account; it works for 7 days."""
    accounts.invite(runs_folder(out), name, ADMIN if admin else MEMBER, studio)


@people_app.command(epilog="Example: velatura people withdraw bob")
def withdraw(name: PersonName, out: Out = None) -> None:
    """End an invitation that nobody has used."""
    accounts.withdraw(runs_folder(out), name)


@people_app.command(epilog="Example: velatura people invitations --json")
def invitations(out: Out = None, json: Json = False) -> None:
    """Show the open invitations, without their links."""
    with accounts.people_of(runs_folder(out)) as people:
        rows = [vars(invitation) for invitation in Invitations(people.database).all()]
    if json:
        print_json(rows)
    else:
        lines = [(row["name"], row["role"], f"{datetime.datetime.fromtimestamp(row['ends']):%Y-%m-%d}") for row in rows]
        print_table(("name", "role", "until"), lines)


@people_app.command(epilog="Example: velatura people remove ann")
def remove(name: PersonName, out: Out = None) -> None:
    """Remove an account, its logins, tokens and limits; its runs stay."""
    accounts.remove_person(runs_folder(out), name)


@people_app.command(epilog="Example: velatura people role ann admin")
def role(
    name: PersonName,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="admin or member.")],
    out: Out = None,
) -> None:
    """Make somebody an admin, who may change everybody's runs, or a member, who may change their own."""
    _set_role(runs_folder(out), name, role)


@people_app.command(epilog="Example: velatura people limit ann --waiting 5 --storage 20")
def limit(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Name of an account; none for everybody.")] = None,
    waiting: Annotated[int | None, typer.Option(metavar="N", min=0, help="Max. queued runs.")] = None,
    storage: Annotated[int | None, typer.Option(metavar="GB", min=0, help="Storage, trash included.")] = None,
    usual: Annotated[bool, typer.Option("--usual", help="First forget the limits that were set.")] = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Show or set the limits of one person, or of everybody who has none of their own."""
    from app.jobs.store import Store

    runs = runs_folder(out)
    person = accounts.check_person(runs, name) if name is not None else ""
    limits = Limits(Store(runs).settings)
    if usual:
        for kind in (WAITING, STORAGE):
            limits.set(kind, None, person)
    if waiting is not None:
        limits.set(WAITING, waiting, person)
    if storage is not None:
        limits.set(STORAGE, storage * GB, person)
    if usual or waiting is not None or storage is not None:
        AuditLog(runs).note("limit", MACHINE_OWNER, person, waiting=waiting, storage=storage, usual=usual or None)
    may_wait, space = limits.waiting(person), limits.storage(person, -1)
    if json:
        print_json({"name": person, "waiting": may_wait, "storage": space if space >= 0 else None})
    else:
        kept = readable_size(space) if space >= 0 else "what `velatura ui --quota` says"
        say(f"{person or 'everybody'}: {may_wait} waiting trainings; storage: {kept}")


# ---------------------------------------------------------------- within
def _set_role(runs: Path, name: str, role: str) -> None:
    with accounts.people_of(runs) as people:
        people.set_role(name, role, keep_one=False)
        admins = [person.name for person in people.all() if person.role == ADMIN]
    AuditLog(runs).note("role", MACHINE_OWNER, name, role=role)
    say(f"{name} is {'an admin' if role == ADMIN else 'a member'} now")
    if not admins:
        say("there is no admin now; `velatura people role NAME admin` makes one")


def _show(runs: Path, json: bool) -> None:
    from app.jobs.store import Store

    limits = Limits(Store(runs).settings)
    with accounts.people_of(runs) as people:
        persons = people.all()
    rows = [
        {
            "name": person.name,
            "role": person.role,
            "since": f"{datetime.datetime.fromtimestamp(person.added):%Y-%m-%d}",
            "waiting": limits.of(WAITING, person.name),
            "storage": limits.of(STORAGE, person.name),
        }
        for person in persons
    ]
    if json:
        print_json(rows)
        return
    usual = limits.of(WAITING)
    everybody = USUAL_WAITING if usual is None else usual
    shown = [
        (
            row["name"],
            row["role"],
            row["since"],
            everybody if row["waiting"] is None else row["waiting"],
            "as usual" if row["storage"] is None else readable_size(int(str(row["storage"]))),
        )
        for row in rows
    ]
    print_table(("name", "role", "since", "may wait", "storage"), shown)
