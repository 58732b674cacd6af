"""`velatura queue trash …`: list, restore or permanently delete items in the trash."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common.console import print_json, print_table, say
from app.cli.common.options import Json, Out, is_alone, runs_folder
from app.jobs.permissions import MACHINE_OWNER
from app.units import counted, readable_size
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from app.jobs.trash.trash import Trash, TrashItem

KINDS = {
    "run": "run",
    "restarted": "run before its restart",
    "replaced": "replaced run",
    "style": "style",
    "drawing": "picture",
    "pictures": "pictures from Train",
    "damaged": "cannot be read",
    "newer": "made by a newer Velatura",
}

Thing = Annotated[str, typer.Argument(metavar="ITEM", help="Item id, or a name for the newest item of that name.")]

trash_app = typer.Typer(help="The trash: deleted, restarted and replaced things, kept for 30 days.")


@trash_app.callback()
def trash(context: typer.Context, out: Out = None, json: Json = False) -> None:
    """List the trash, newest first."""
    if is_alone(context, "queue trash", out, json):
        _show(_open(out), json)


@trash_app.command("list", epilog="Example: velatura queue trash list --json")
def list_items(out: Out = None, json: Json = False) -> None:
    """List the trash, newest first."""
    _show(_open(out), json)


@trash_app.command(epilog="Example: velatura queue trash restore dusk")
def restore(item: Thing, out: Out = None, json: Json = False) -> None:
    """Restore an item, under another name if its own was taken."""
    from app.jobs.actions import restore as restore_item

    trash = _open(out)
    name = restore_item(trash.store, _find(trash, item).id, actor=MACHINE_OWNER)
    if json:
        print_json({"name": name})
    else:
        say((name, "bold"), " is restored")


@trash_app.command(epilog="Example: velatura queue trash empty --yes")
def empty(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Permanently delete everything in the trash."""
    trash = _open(out)
    items = trash.items(MACHINE_OWNER)
    if items and not yes:
        things = f"{counted(len(items), 'item')}, {readable_size(trash.size(MACHINE_OWNER))}"
        typer.confirm(f"Permanently delete {things}?", abort=True, err=True)
    freed = trash.remove(items)
    if json:
        print_json({"deleted": len(items), "bytes": freed})
    else:
        say(f"the trash is empty; {readable_size(freed)} freed")


def tell_replaced(item: TrashItem, out: Path | None) -> None:
    """Print where a replaced run is."""
    where = f" --out {out}" if out else ""
    say(f"the previous {item.name} is in the trash; restore it with: velatura queue trash restore {item.id}{where}")


# ---------------------------------------------------------------- within
def _open(out: Path | None) -> Trash:
    from app.jobs.store import Store
    from app.jobs.trash.trash import Trash

    trash = Trash(Store(runs_folder(out)))
    trash.recover()
    return trash


def _find(trash: Trash, words: str) -> TrashItem:
    item = next((item for item in trash.items(MACHINE_OWNER) if words in (item.id, item.name)), None)
    if item is None:
        raise VelaturaError("there is no {words!r} in the trash; `velatura queue trash` lists the items", words=words)
    return item


def _show(trash: Trash, as_json: bool) -> None:
    items = trash.items(MACHINE_OWNER)
    if as_json:
        print_json([item.plain() for item in items])
    elif items:
        days = [f"{max(0, round((item.expires - time.time()) / 86_400))} days left" for item in items]
        rows = [
            (item.id, item.name, KINDS.get(item.kind, item.kind), readable_size(item.size), left)
            for item, left in zip(items, days, strict=True)
        ]
        print_table(("id", "name", "what", "size", ""), rows)
    else:
        say(f"the trash in {trash.runs} is empty")
