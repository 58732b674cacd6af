"""Drawings: a picture that somebody has asked for is a folder, first with a job in the queue, then with its pictures.

What was asked for stands in the folder; how a drawing that has ended came out is added to that, and its job leaves the
queue. The pictures are kept until fifty newer ones of the same person, or 500 of everybody, have pushed them out.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER, Actor
from app.jobs.small_jobs import EACH, PICTURE, PLAIN, add_drawing
from app.jobs.states import ENDED, State
from app.jobs.trash.trash import CONTENT, DRAWING, Trash, new_item
from app.jobs.views import View
from app.state_file import StateFile
from app.studio.accounts.people import PROGRAM, key_of_login, login_of_key
from app.studio.base_models import Bases
from app.studio.generation.compatibility import Fit, find_fit
from app.studio.generation.generate import Request
from app.studio.generation.generation import Drawing, Record, how_far, names_of, who_could_make_way, why_not
from app.studio.generation.request import Wish, WishError, wish_from
from app.studio.names import safe_name
from app.studio.public_files import link_or_copy, put_web_copy
from app.studio.queue import Queue, share
from app.studio.styles.library import StyleLibrary
from app.ui.playground import text as words
from app.ui.runs import text
from trainers.errors import VelaturaError

__all__ = ["Drawing", "Drawings", "Wish", "WishError", "wait_for", "wish_from"]

KEPT, KEPT_IN_ALL = 50, 500
"""Drawings that are kept of one person, and of everybody together."""
MOST_WAITING = 60
"""Drawings that one person may have in line."""
NAME = "drawing-"
LONGEST_TITLE = 80
FILE = "drawing.json"
SETTLING = 30.0
"""Seconds in which a drawing without a job is taken for one that is being put in line."""
LOOK_EVERY = 0.3


class Drawings:
    """One a server. What stands in the folders is read once; safe to use from many threads."""

    def __init__(self, queue: Queue, library: StyleLibrary, bases: Bases) -> None:
        self.queue, self.library, self.bases = queue, library, bases
        self.root = queue.paths.root.absolute() / "drawings"
        self._lock = threading.RLock()
        self._records: dict[str, Record] = {}

    # ---------------------------------------------------------------- asking
    def ask(self, wish: Wish, owner: str = "", whose: str = "") -> int:
        """Put a drawing in line; the number of its job. `owner` is shown to everybody, `whose` finds it again.

        Raises WishError, with a sentence for each field, where it cannot be drawn as it is.
        """
        items = {item.id: item for item in self.library.entries()}
        fit = find_fit(wish, items, self.bases)
        if fit.problems:
            raise WishError(fit.problems)
        whose = whose or key_of_login(owner)
        record = Record(
            wish=wish,
            whose=whose,
            made=time.time(),
            names=tuple(item.name for item in fit.items if item),
            base=fit.base.title,
            size=fit.size,
            guidance=fit.guidance if wish.guidance is None else wish.guidance,
        )
        request = _request(record, fit)
        with self._lock:
            self._check_room(whose)
            folder = self._new_folder()
            try:
                self._write(folder.name, record)
                job = add_drawing(self.queue.store, request, wish.compare and bool(wish.styles), owner, folder)
                self._write(folder.name, record.model_copy(update={"number": job.id}))
            except BaseException:
                self._records.pop(folder.name, None)
                shutil.rmtree(folder, ignore_errors=True)
                raise
            with suppress(OSError, VelaturaError):  # it is asked for; what is old goes the next time
                self._tidy(whose)
        return job.id

    # ---------------------------------------------------------------- looking
    def look(self, number: int) -> Drawing:
        """The drawing whose job has this number; VelaturaError where there is none."""
        with self._lock:
            for id in self._ids():
                record = self._read(id)
                if record is not None and record.number == number:
                    found = self._drawing(id, record, self._views([record]))
                    if found is not None:
                        return found
        raise VelaturaError(words.GONE)

    def history(self, whose: str) -> list[Drawing]:
        """Somebody's drawings, newest first, with those that wait or go on."""
        with self._lock:
            mine = [(id, record) for id in self._ids() if (record := self._read(id)) and record.whose == whose]
            views = self._views([record for _, record in mine])
            found = (self._drawing(id, record, views) for id, record in mine)
            return [drawing for drawing in found if drawing is not None]

    # ---------------------------------------------------------------- sooner, or not at all
    def hurry(self, id: str, whose: str, actor: Actor) -> None:
        """Let the training that a drawing waits for pause until it is drawn; VelaturaError where that is not theirs."""
        waiting = next((drawing for drawing in self.history(whose) if drawing.id == id), None)
        if waiting is None:
            raise VelaturaError(words.GONE)
        if waiting.behind is None:  # it has begun, or is about to
            return
        actions.make_way(self.queue.store, waiting.behind.id, actor=actor)

    def remove(self, id: str, whose: str) -> None:
        """Cancel a drawing, or forget what went wrong with it; VelaturaError where it is not theirs, or gone."""
        with self._lock:
            record = self._read(id) if id in self._ids() else None
            if record is None or record.whose != whose:
                raise VelaturaError(words.GONE)
            job = self.queue.store.job_in(self.root / id)
            if job is not None and self.queue.watcher.view(job.id).state not in ENDED:
                actions.stop(self.queue.store, job.id, "cancel", actor=MACHINE_OWNER)  # it is theirs: see above
            elif _pictures(self.root / id, record):
                self._write(id, record.model_copy(update={"line": ""}))
            else:
                self._delete(id)

    # ---------------------------------------------------------------- pictures out
    def public(self, drawing: Drawing) -> Path:
        """The folder of what browsers may see of a drawing."""
        return self.queue.public_of(drawing.folder)

    def shown(self, drawing: Drawing, place: int, small: bool) -> Path:
        """A copy for pages of one of the pictures, the first being 0."""
        name = f"{'small' if small else 'whole'}-{place}.webp"
        with self._lock:
            return put_web_copy(drawing.pictures[place], self.public(drawing) / name, small)

    def offered(self, drawing: Drawing) -> list[Path]:
        """The pictures with their parameters in them, where browsers may download them from."""
        called = f"{safe_name(drawing.wish.prompt) or words.RESULT} {drawing.wish.seed}"
        ends = {PICTURE: "", PLAIN: f" {words.PLAIN.lower()}"}
        if drawing.wish.each:
            ends |= {EACH.format(n): f" {n} {safe_name(name)}" for n, name in enumerate(drawing.record.names, 1)}
        paths = [self.public(drawing) / f"{called}{ends[picture.name]}.png" for picture in drawing.pictures]
        with self._lock:
            for picture, place in zip(drawing.pictures, paths, strict=True):
                if not place.exists():
                    link_or_copy(picture, place)
        return paths

    # ---------------------------------------------------------------- within
    def _check_room(self, whose: str) -> None:
        """Raise VelaturaError where somebody has enough in line; looked at closely only where it may be so."""
        begun = [record for id in self._ids() if (record := self._read(id)) and record.whose == whose]
        if sum(not record.state for record in begun) >= MOST_WAITING:
            waiting = sum(not drawing.ended for drawing in self.history(whose))
            if waiting >= MOST_WAITING:
                raise VelaturaError(words.TOO_MANY_WAIT.format(waiting))

    def _new_folder(self) -> Path:
        folder = self.root / f"{NAME}{time.time_ns() // 1000:020d}-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700, parents=True)
        return folder

    def _ids(self) -> list[str]:
        """The newest first."""
        if not self.root.is_dir():
            return []
        return sorted((path.name for path in self.root.iterdir() if path.name.startswith(NAME)), reverse=True)

    def _read(self, id: str) -> Record | None:
        if id not in self._records:
            record = self._file(id).read()
            if record is None:  # being made or deleted, or nothing of it can be read
                return None
            self._records[id] = record
        return self._records[id]

    def _write(self, id: str, record: Record) -> None:
        self._file(id).write(record)
        self._records[id] = record

    def _file(self, id: str) -> StateFile[Record]:
        return StateFile(self.root / id / FILE, Record.model_validate_json, Record.model_dump_json)

    def _views(self, records: list[Record]) -> dict[Path, View]:
        """The jobs of the queue by folder, where one of these drawings may be among them."""
        if all(record.state for record in records):
            return {}
        return {view.job.folder: view for view in self.queue.jobs()}

    def _drawing(self, id: str, record: Record, views: dict[Path, View]) -> Drawing | None:
        """A drawing as it is now; None for one that was cancelled before it had a picture, which is then gone."""
        folder = self.root / id
        pictures = _pictures(folder, record)
        view = views.get(folder)
        if record.state:
            return Drawing(id, folder, record, State(record.state), record.line, 1.0, pictures)
        if view is None and self.queue.problem() is not None:  # it may well have its job
            return Drawing(id, folder, record, State.QUEUED, text.QUEUE_PROBLEM, 0.0, pictures)
        if view is None:
            return self._without_job(Drawing(id, folder, record, State.QUEUED, words.SOON, 0.0, pictures))
        if view.state not in ENDED:
            line, behind = how_far(record, view, views), who_could_make_way(view, views)
            return Drawing(id, folder, record, view.state, line, share(view), pictures, behind)
        if view.state == State.CANCELLED and not pictures:
            with suppress(VelaturaError):  # its process is just letting go: at the next look
                self._delete(id)
            return None
        line = "" if view.state in (State.FINISHED, State.CANCELLED) else why_not(view)
        ended = record.model_copy(update={"state": str(view.state), "line": line, "seconds": view.summary.seconds})
        if self.queue.store.remove(view.job):
            self._write(id, ended)
        return Drawing(id, folder, ended, view.state, line, 1.0, pictures)

    def _without_job(self, drawing: Drawing) -> Drawing:
        """One whose job somebody has cleared away, or whose job is being made at this moment."""
        if not drawing.pictures and time.time() - drawing.record.made < SETTLING:
            return drawing
        state, line = (State.FINISHED, "") if drawing.pictures else (State.INTERRUPTED, words.INTERRUPTED)
        record = drawing.record.model_copy(update={"state": str(state), "line": line})
        self._write(drawing.id, record)
        return Drawing(drawing.id, drawing.folder, record, state, line, 1.0, drawing.pictures)

    def _tidy(self, whose: str) -> None:
        """Let go of what has ended and is older than the newest ones: a person's pictures go to the trash."""
        known = [(id, record) for id in self._ids() if (record := self._read(id))]
        mine = [id for id, record in known if record.whose == whose]
        old = {*mine[KEPT:], *(id for id, _ in known[KEPT_IN_ALL:])}
        for id, record in known:
            if id in old and record.state:
                if not record.whose.startswith(PROGRAM) and _pictures(self.root / id, record):
                    self._throw_away(id, record)
                self._delete(id)

    def _throw_away(self, id: str, record: Record) -> None:
        public, store = self.queue.public_of(self.root / id), self.queue.store
        owner = login_of_key(record.whose)
        name = record.wish.prompt[:LONGEST_TITLE] or words.RESULT
        Trash(store).put(new_item(DRAWING, name, owner, {CONTENT: self.root / id}, store.runs))
        shutil.rmtree(public, ignore_errors=True)

    def _delete(self, id: str) -> None:
        folder = self.root / id
        if not folder.is_dir():
            self._records.pop(id, None)
            return
        public, job = self.queue.public_of(folder), self.queue.store.job_in(folder)
        if job is not None:
            actions.delete(self.queue.store, job.id, actor=MACHINE_OWNER)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(public, ignore_errors=True)
        self._records.pop(id, None)


def _request(record: Record, fit: Fit) -> Request:
    """What the job is to draw."""
    wish = record.wish
    styles = zip(fit.items, (strength for _, strength in wish.styles), strict=True)
    return Request(
        prompts=(wish.prompt,),
        styles=tuple(f"{item.path.absolute()}:{strength:.2f}" for item, strength in styles if item),
        negative=wish.negative,
        seed=wish.seed,
        steps=wish.steps,
        size="x".join(map(str, fit.size)),
        guidance=record.guidance,
        sampler=wish.sampler,
        base=fit.base.model,
        compose=wish.compose,
        each=wish.each,
    )


def _pictures(folder: Path, record: Record) -> tuple[Path, ...]:
    """The pictures of a drawing that are there."""
    return tuple(path for name in names_of(record.wish) if (path := folder / name).exists())


def wait_for(drawings: Drawings, wish: Wish, owner: str) -> list[Path]:
    """Have a program's wish drawn; its pictures, where they may be had from. VelaturaError says why there are none.

    They are no drawings of whoever it logs in as: a page shows, and keeps fifty of, what was asked for there.
    """
    number = drawings.ask(wish, owner, f"{PROGRAM}{owner}")
    while not (drawing := drawings.look(number)).ended:
        time.sleep(LOOK_EVERY)
    if drawing.line or not drawing.pictures:
        raise VelaturaError(drawing.line or words.GONE)
    return drawings.offered(drawing)
