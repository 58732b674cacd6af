"""`velatura audit`: what was done on a shared studio."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from app.cli.common.console import print_json, print_table
from app.cli.common.options import Json, Out, runs_folder
from app.jobs.accounts.audit import AuditLog, details_of

commands = typer.Typer()


@commands.command(epilog="Example: velatura audit --who ann --what delete")
def audit(
    who: Annotated[
        str | None, typer.Option(metavar="NAME", help='Only what this person did; "" for the machine\'s owner.')
    ] = None,
    what: Annotated[
        str | None, typer.Option(metavar="ACTION", help="Only this, such as login_failed, start or delete.")
    ] = None,
    about: Annotated[str | None, typer.Option(metavar="NAME", help="Only what was done to this.")] = None,
    since: Annotated[str, typer.Option(metavar="DATE", help="Not before this, such as 2026-11-28.")] = "",
    last: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many lines, the newest.")] = 50,
    out: Out = None,
    json: Json = False,
) -> None:
    """Show who did what on a shared studio, newest first."""
    wanted = {"who": who, "what": what, "about": about}
    fitting = (
        line
        for line in AuditLog(runs_folder(out)).lines()
        if all(value is None or line.get(key) == value for key, value in wanted.items())
        and str(line.get("time", "")) >= since
    )
    lines = list(islice(fitting, last))
    if json:
        print_json(lines)
        return
    rows = [
        (line.get("time"), _who(line.get("who")), line.get("what"), line.get("about"), details_of(line))
        for line in lines
    ]
    print_table(("time (UTC)", "who", "what", "about", "details"), rows)


def _who(name: object) -> str:
    return "(unknown)" if name is None else str(name) or "(owner)"
