"""The trash: deleted, restarted and replaced things, kept for 30 days in the folder of runs.

    .trash/ID/item.json   kind, owner, original place of each part, and the row of the queue
    .trash/ID/PART        its parts: the folder of a run, the file of a style …
    .trash/journal.json   the moves of an action, from its decision until it is complete

Each move within a file system is atomic. The journal makes several moves and the change of the queue's row one action:
after a kill, the next process completes it (`recover`). Nothing is copied into the trash.
"""

from __future__ import annotations

import json
import logging
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from app.jobs.job import as_kept
from app.jobs.permissions import Actor
from app.jobs.store import Store
from app.jobs.trash.disk import missing
from app.jobs.trash.reading import NewerJournalError, is_id, read_item, read_plan
from trainers.atomic_files import sync_folder, sync_tree, whole_file
from trainers.errors import VelaturaError

FOLDER = ".trash"
DAYS = 30
"""Days after which what is in the trash is gone."""
RUN, RESTARTED, REPLACED = "run", "restarted", "replaced"
STYLE, DRAWING, PICTURES, DAMAGED, NEWER = "style", "drawing", "pictures", "damaged", "newer"
"""What an item can be: a run; a run as it was before it was restarted or restored; a run that another one of its
name has replaced; a style; a drawing; pictures that were taken out of a draft; something of which nothing is known;
something that a newer Velatura has put there."""
RUNS = (RUN, RESTARTED, REPLACED)
KINDS = (*RUNS, STYLE, DRAWING, PICTURES)
CONTENT, NEXT = "content", "next"
ITEM, JOURNAL, LOCK, GONE = "item.json", "journal.json", ".lock", ".gone-"
JOURNAL_ASIDE = "journal.damaged-{}.json"
PATIENCE = 20.0
"""Seconds to wait for an action on the trash that is under way."""

log = logging.getLogger(__name__)
Move = tuple[Path, Path]
RowChange = Mapping[str, Any]
"""What becomes of a row of the queue: `{"remove": number}`, `{"put": row}` or `{"wait": number, "wants": device}`."""


@dataclass(frozen=True)
class TrashItem:
    """One thing in the trash."""

    id: str
    kind: str
    name: str
    owner: str
    """The login of whose it is; empty if it is the machine's owner's."""
    deleted: float
    """Unix seconds."""
    size: int
    """Bytes that emptying it frees, about: a part that a run still has counts by its share."""
    parts: dict[str, str]
    """Where each part lay, relative to the runs, by its name in the item's folder."""
    row: dict[str, Any] | None = None
    """Of the queue, as it was."""
    names: tuple[str, ...] = ()
    """What the run in it has been called."""

    @property
    def expires(self) -> float:
        """When it is gone, in Unix seconds."""
        return self.deleted + DAYS * 86_400

    def plain(self) -> dict[str, Any]:
        """What programs are told of it: times in Unix seconds, its size in bytes."""
        told = {"id": self.id, "kind": self.kind, "name": self.name, "owner": self.owner}
        return told | {"deleted": self.deleted, "expires": self.expires, "bytes": self.size}


class Trash:
    """The trash of a queue's runs; safe to use from many threads and processes."""

    def __init__(self, store: Store) -> None:
        self.store, self.runs = store, store.runs
        self.folder = self.runs / FOLDER

    # ---------------------------------------------------------------- looking
    def items(self, actor: Actor) -> list[TrashItem]:
        """What is in the trash that the actor may restore, newest first."""
        return [item for item in self._all() if actor.may_change(item.owner)]

    def own(self, actor: Actor) -> list[TrashItem]:
        """What is in the trash and is the actor's own, newest first."""
        return [item for item in self._all() if actor.owns(item.owner)]

    def recent(self, seconds: float) -> list[TrashItem]:
        """What went into the trash in the last `seconds`, whosever it is, newest first."""
        return self._all(since=f"{int((time.time() - seconds) * 1e6):020d}")

    def item(self, id: str, actor: Actor) -> TrashItem:
        """The item with this id, which comes from outside; VelaturaError if there is none that is the actor's."""
        found = self._here(id)
        actor.check(found.name, found.owner)
        return found

    def restarted(self, number: int) -> TrashItem | None:
        """What the job with this number was before it was restarted last."""
        found = (item for item in self._all() if item.kind == RESTARTED and (item.row or {}).get("id") == number)
        return next(found, None)

    def size(self, actor: Actor) -> int:
        """Bytes that the actor's items take."""
        return sum(item.size for item in self.items(actor))

    def path(self, item: TrashItem, part: str = CONTENT) -> Path:
        """Where a part of an item lies."""
        return self.folder / item.id / part

    # ---------------------------------------------------------------- in and out
    def put(
        self,
        item: TrashItem,
        change: RowChange | None = None,
        build: Callable[[Path], None] | None = None,
    ) -> TrashItem:
        """Move the parts of a new item into the trash; `build` makes what takes the first part's place meanwhile."""
        with self._held():
            moves = self._prepared(item)
            if build is not None:
                build(self.path(item, NEXT))
                sync_tree(self.folder / item.id)
                moves.append((self.path(item, NEXT), self.runs / item.parts[CONTENT]))
            self._carry_out(moves, change)
        return item

    def bring_back(
        self, item: TrashItem, place: Path, change: RowChange | None = None, aside: TrashItem | None = None
    ) -> None:
        """Move an item's first part to `place`, the others to where they lay, and what is there `aside` into the trash.

        VelaturaError if something is in the way and is not to go aside.
        """
        with self._held():
            self._here(item.id)  # nobody else has brought it back meanwhile
            moves = self._prepared(aside) if aside is not None else []
            places = {part: self.runs / where for part, where in item.parts.items()} | {CONTENT: place}
            for part, where in places.items():
                if where.exists() and not any(where == source for source, _ in moves):
                    raise VelaturaError("{name} already exists; move or delete it first", name=where.name)
                if not where.parent.is_dir():
                    raise VelaturaError(
                        "it belongs to “{name}”, which is not here; restore that first", name=where.parent.name
                    )
                if self.path(item, part).exists():
                    moves.append((self.path(item, part), where))
            self._carry_out(moves, change, (item.id,))

    # ---------------------------------------------------------------- for good
    def remove(self, items: Iterable[TrashItem]) -> int:
        """Permanently delete items; the bytes that they took."""
        freed = 0
        with self._held():
            for item in items:
                freed += item.size
                self._drop(item.id)
        return freed

    def empty(self, actor: Actor) -> int:
        """Permanently delete all that is the actor's own; the bytes that it took."""
        return self.remove(self.own(actor))

    def tidy(self, now: float | None = None) -> list[TrashItem]:
        """Permanently delete what is older than 30 days and, on a disk that is nearly full, the oldest; those items.

        NewerJournalError if a newer Velatura was at work in the trash.
        """
        if not self.folder.is_dir():
            return []
        self.recover()
        with self._held():
            for left in self.folder.glob(f"{GONE}*"):
                shutil.rmtree(left, ignore_errors=True)
            for left in self.folder.glob("[0-9]*"):  # of an action that was killed before it was decided
                if left.is_dir() and not any(path.name not in (ITEM, NEXT) for path in left.iterdir()):
                    self._drop(left.name)
        now = time.time() if now is None else now
        gone = [item for item in self._all() if item.expires <= now]
        self.remove(gone)
        return gone + self.make_room()

    def make_room(self) -> list[TrashItem]:
        """Permanently delete the oldest items until the disk has its reserve again; those items."""
        gone: list[TrashItem] = []
        for item in reversed(self._all() if self.folder.is_dir() and missing(self.runs) else []):
            if not missing(self.runs):
                break
            self.remove([item])
            gone.append(item)
        return gone

    # ---------------------------------------------------------------- after a kill
    def recover(self) -> bool:
        """Do what a killed action has decided and not done; whether there was one, or another is under way.

        One of a newer Velatura is left as it is, for that to finish: the queue goes on, and what acts on the trash says
        why it does not.
        """
        if not (self.folder / JOURNAL).exists():
            return False
        try:
            with FileLock(self.folder / LOCK, timeout=0):
                return self._recover()
        except (Timeout, NewerJournalError):  # it is not killed, but under way
            return True

    def _recover(self) -> bool:
        journal = self.folder / JOURNAL
        try:
            plan = read_plan(journal.read_text(encoding="utf-8"), str(journal))
        except FileNotFoundError:
            return False
        except ValueError as error:  # what it decided cannot be known; the queue must go on
            aside = journal.with_name(JOURNAL_ASIDE.format(new_id()))
            journal.replace(aside)
            log.warning("%s is damaged and was set aside as %s: %s", journal, aside.name, error)
            return False
        moves = [(self.runs / source, self.runs / target) for source, target in plan.moves]
        self._perform(moves, plan.change, plan.done)
        return True

    # ---------------------------------------------------------------- within
    @contextmanager
    def _held(self) -> Iterator[None]:
        """Keep other actions out, and finish what one that was killed has left."""
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(self.runs)
        try:
            with FileLock(self.folder / LOCK, timeout=PATIENCE):
                self._recover()
                yield
        except Timeout:
            raise VelaturaError("the trash is busy with another action; try again in a moment") from None

    def _prepared(self, item: TrashItem) -> list[Move]:
        """The moves of an item's parts into its folder, which is made with what is known of it."""
        parts = {part: place for part, place in item.parts.items() if (self.runs / place).exists()}
        sized = replace(item, parts=parts, size=sum(_size(self.runs / place) for place in parts.values()))
        (self.folder / item.id).mkdir(mode=0o700)
        self.write(sized)
        return [(self.runs / place, self.path(item, part)) for part, place in parts.items()]

    def write(self, item: TrashItem) -> None:
        """Keep what is known of an item."""
        _write_safely(self.folder / item.id / ITEM, asdict(item))

    def _carry_out(self, moves: Sequence[Move], change: RowChange | None, done: Sequence[str] = ()) -> None:
        """Decide on moves and the change of a row, then do all of it; `done` are items that no longer exist
        afterwards."""
        plan = {
            "moves": [[as_kept(path, self.runs) for path in move] for move in moves],
            "change": dict(change) if change else None,
            "done": list(done),
        }
        _write_safely(self.folder / JOURNAL, plan)
        try:
            self._perform(moves, change, done)
        except OSError as error:
            if moves and not moves[0][1].exists():  # nothing has happened yet, and nothing is to happen later
                (self.folder / JOURNAL).unlink(missing_ok=True)
                raise VelaturaError(
                    "{name} cannot be moved ({reason})", name=moves[0][0].name, reason=error.strerror or error
                ) from error
            raise

    def _perform(self, moves: Sequence[Move], change: RowChange | None, done: Sequence[str]) -> None:
        """Make the moves that are not made yet, change the row, and forget the journal; may be done more than once."""
        for source, target in moves:
            if source.exists() and not target.exists():
                source.rename(target)
        for folder in dict.fromkeys(path.parent for move in moves for path in move):
            if folder.is_dir():
                sync_folder(folder)  # the row must not be on the disk before them
        if change:
            self.store.change_row(change)
        for id in done:
            self._drop(id)
        (self.folder / JOURNAL).unlink(missing_ok=True)

    def _drop(self, id: str) -> None:
        hidden = self.folder / f"{GONE}{id}"
        if (self.folder / id).exists():
            (self.folder / id).rename(hidden)  # out of sight at once
        shutil.rmtree(hidden, ignore_errors=True)

    def _all(self, since: str = "") -> list[TrashItem]:
        """What is in the trash, whosever it is, newest first; only ids from `since` on, as they sort by time."""
        found = (self._read(path) for path in self.folder.glob("[0-9]*") if path.name >= since)
        return sorted((item for item in found if item is not None), key=lambda item: item.id, reverse=True)

    def _here(self, id: str) -> TrashItem:
        found = self._read(self.folder / id) if is_id(id) else None
        if found is None:
            raise VelaturaError("this is no longer in the trash")
        return found

    def _read(self, folder: Path) -> TrashItem | None:
        """The item in a folder; None if it has no parts.

        It is of kind `DAMAGED` where nothing can be read of it, and of `NEWER` where not all of it is known here.
        """
        if not (folder / CONTENT).exists():
            return None
        try:
            values, says_more = read_item((folder / ITEM).read_text(encoding="utf-8"), folder.name, CONTENT)
        except (OSError, ValueError):
            moved = folder.stat().st_mtime
            return TrashItem(folder.name, DAMAGED, "damaged item", "", moved, _size(folder), {})
        return TrashItem(**values | ({"kind": NEWER} if says_more or values["kind"] not in KINDS else {}))


def new_item(
    kind: str, name: str, owner: str, parts: Mapping[str, Path], runs: Path, row: dict[str, Any] | None = None
) -> TrashItem:
    """An item of now, with the parts that lie at these places."""
    places = {part: as_kept(path, runs) for part, path in parts.items()}
    names = (name,) if kind in RUNS else ()
    return TrashItem(new_id(), kind, name, owner, time.time(), 0, places, row, names)


def new_id() -> str:
    """An id that sorts by time."""
    return f"{time.time_ns() // 1000:020d}-{secrets.token_hex(4)}"


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    seen = [file.stat() for file in files]
    return sum(one.st_size // max(1, one.st_nlink) for one in seen)


def _write_safely(path: Path, value: Any) -> None:
    with whole_file(path) as building:
        building.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
