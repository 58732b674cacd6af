"""Reads and validates the trash's files; no other module checks them again.

Files may be written by a person, a failing disk or a newer Velatura.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from app.jobs.job import read_folder, read_moment, read_place, read_text, read_whole
from trainers.errors import VelaturaError

MOST = 2**63
"""Bound of an item's bytes and of the numbers in a row."""
ITEM_KEYS = frozenset({"id", "kind", "name", "owner", "deleted", "size", "parts", "row", "names"})
PLAN_KEYS = frozenset({"moves", "change", "done"})
CHANGES = (frozenset({"remove"}), frozenset({"put"}), frozenset({"wait", "wants"}))
"""The keys of each change of a row that `Store.change_row` makes."""


class NewerJournalError(VelaturaError):
    """A newer Velatura has left an unfinished action in the trash."""


@dataclass(frozen=True)
class Plan:
    """The moves and changes of one action on the trash."""

    moves: tuple[tuple[str, str], ...]
    """Source and target, as stored."""
    change: dict[str, Any] | None
    """A change of a row of the queue."""
    done: tuple[str, ...]
    """Ids of items that no longer exist afterwards."""


def read_item(content: str, id: str, content_part: str) -> tuple[dict[str, Any], bool]:
    """The values of the item in the folder `id`, and whether it has unknown keys.

    Raises ValueError if a value is missing, of another type or out of bounds.
    """
    kept = _table(content, ITEM_KEYS - {"row", "names"})
    if kept["id"] != id:  # or the other item would be deleted
        raise ValueError("it is another item's")
    size = kept["size"]
    if not isinstance(size, int) or not 0 <= size < MOST:
        raise ValueError("its size is not a number of bytes")
    parts = {read_id(part): read_place(place) for part, place in _items(kept["parts"])}
    if content_part not in parts:
        raise ValueError("its original place is missing")
    values = {
        "id": id,
        **{key: read_text(kept[key]) for key in ("kind", "name", "owner")},
        "deleted": _moment_with_a_future(kept["deleted"]),
        "size": size,
        "parts": parts,
        "row": None if kept.get("row") is None else _row(kept["row"]),
        "names": tuple(read_text(name) for name in _list(kept.get("names", []))),
    }
    return values, not ITEM_KEYS.issuperset(kept)


def read_plan(content: str, journal: str) -> Plan:
    """The plan in the journal. Raises ValueError if it is damaged, NewerJournalError if it has unknown keys."""
    plan = _table(content)
    change = plan.get("change")
    if not PLAN_KEYS.issuperset(plan) or (isinstance(change, dict) and change and set(change) not in CHANGES):
        raise NewerJournalError(
            "{journal} was written by a newer Velatura, and only that can finish its action; nothing was "
            "changed. Update Velatura",
            journal=journal,
        )
    plan = _table(content, PLAN_KEYS)
    moves = tuple((read_place(source), read_place(target)) for source, target in map(_list, _list(plan["moves"])))
    return Plan(moves, _change(plan["change"]), tuple(read_id(id) for id in _list(plan["done"])))


def is_id(text: str) -> bool:
    """Whether a word can be the id of an item or the name of a part; none leads out of the trash."""
    return text.replace("-", "").isalnum()


def read_id(value: Any) -> str:
    """The id of an item or the name of a part; ValueError for other values."""
    if not is_id(read_text(value)):
        raise ValueError("it names no item")
    return str(value)


# ---------------------------------------------------------------- within
def _table(content: str, needed: frozenset[str] = frozenset()) -> dict[str, Any]:
    try:
        table = dict(_items(json.loads(content)))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if missing := needed - set(table):
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    return table


def _items(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise ValueError("it is not a table")
    return list(value.items())


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("it is not a list")
    return value


def _moment_with_a_future(value: Any) -> float:
    """Unix seconds, with room for the days that an item is kept, or its expiry could not be shown."""
    moment = read_moment(value)
    read_moment(moment + 366 * 86_400)
    return moment


def _change(value: Any) -> dict[str, Any] | None:
    """The change of a row; None if it is empty."""
    if not value:
        return None
    change = dict(_items(value))
    if "put" in change:
        return {"put": _row(change["put"])}
    if "wait" in change:
        return {"wait": read_whole(change["wait"]), "wants": read_text(change["wants"])}
    return {"remove": read_whole(change["remove"])}


def _row(value: Any) -> dict[str, Any]:
    """The columns of a row that SQLite can store; `read_job` checks the rest."""
    row = dict(_items(value))
    for each in row.values():
        if isinstance(each, str):
            each.encode()
        elif not isinstance(each, int | float) or not -MOST < each < MOST:
            raise ValueError("its row has an invalid value")
    read_folder(row.get("folder"))
    read_whole(row.get("id", 0))
    return row
