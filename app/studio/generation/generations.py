"""Generations: folders, first with a job in the queue, then with their pictures.

A folder holds the request and, at the end, the result; then its job leaves the queue. A person's fifty newest
generations are kept, and everybody's 500 newest.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from app.errors import FieldErrors
from app.jobs import actions
from app.jobs.accounts.limits import MOST_WORK, TOO_MUCH_TOGETHER
from app.jobs.job import EXPECTED
from app.jobs.permissions import MACHINE_OWNER, Actor
from app.jobs.small_jobs import OVERVIEW, ROUGH, add_small_job
from app.jobs.states import ENDED, State
from app.jobs.store import GENERATE
from app.jobs.trash.trash import CONTENT, DRAWING, Trash, new_item
from app.jobs.view import View
from app.state_file import StateFile
from app.studio.accounts.people import PROGRAM, key_of_login, login_of_key
from app.studio.base_models import Bases
from app.studio.generation.cells import cells_of
from app.studio.generation.compatibility import NO_PROBLEMS, Compatibility, check_compatibility
from app.studio.generation.contact_sheet import file_ending
from app.studio.generation.form import MOST_STYLES
from app.studio.generation.record import Record, picture_names, read_older_record
from app.studio.generation.request import GenerateRequest, Resolved, style_field
from app.studio.generation.state import (
    INTERRUPTED,
    Generation,
    GenerationProgress,
    Stage,
    find_could_yield,
    find_progress,
    read_notes,
    reason_of_failure,
)
from app.studio.generation.values import pixels_in_words
from app.studio.names import safe_name
from app.studio.public_files import link_or_copy, put_web_copy
from app.studio.studio_queue import StudioQueue
from app.studio.styles.library import StyleLibrary
from app.units import counted
from trainers.atomic_files import whole_file
from trainers.errors import VelaturaError
from trainers.messages import Message as _

KEPT, KEPT_IN_ALL = 50, 500
"""Maximum number of stored generations per person, and in total."""
MOST_WAITING = 60
"""Maximum number of queued generations per person."""
NAME = "drawing-"
OF_RUN = "run:"
"""Prefix of the storage keys of runs, whose drawings anybody who may change them can ask for again."""
LONGEST_TITLE = 80
FILE, OLDER_FILE = "generation.json", "drawing.json"
SETTLING = 30.0
"""Seconds for which a generation without a job counts as entering the queue."""
LOOK_EVERY = 0.3
UNTITLED = "Picture"
TOO_MANY_STYLES = _("At most {} styles can be combined in one picture.")
TOO_MUCH_WORK = _("In this studio, a picture of {} can have at most {:,} steps; you wrote {:,}.")
TOO_MANY_WAIT = _("You already have {} pictures waiting. Wait for some of them first.")
GONE = _("This picture no longer exists.")


class Generations:
    """One per server. Folders are read once; thread-safe."""

    def __init__(self, queue: StudioQueue, library: StyleLibrary, bases: Bases) -> None:
        self.queue, self.library, self.bases = queue, library, bases
        self.root = queue.paths.root.absolute() / "drawings"
        self._lock = threading.RLock()
        self._records: dict[str, Record] = {}

    # ---------------------------------------------------------------- asking
    def add(self, request: GenerateRequest, owner: str = "", key: str = "") -> int:
        """Queue a generation of an `owner`, stored under their `key`, and return its job number.

        Raises FieldErrors, with one sentence per invalid field.
        """
        return self.add_checked(self.check(request), owner, key)

    def check(self, request: GenerateRequest, problems: Mapping[str, str] = NO_PROBLEMS) -> Compatibility:
        """Match a request with the available styles and bases; `problems` are those of the form."""
        library = {entry.id: entry for entry in self.library.entries()}
        return check_compatibility(request, library, self.bases, problems)

    def add_checked(self, checked: Compatibility, owner: str = "", key: str = "") -> int:
        """Queue a checked request, like `add`."""
        resolved = checked.resolve()
        _check_policy(resolved, owner)
        key = key or key_of_login(owner)
        axes = tuple(axis.without_paths() for axis in resolved.axes)
        request = checked.request.model_copy(update={"axes": axes})
        record = Record(request=request, resolved=resolved, whose=key, made=time.time(), base=checked.base.title)
        with self._lock:
            self._check_room(key)
            folder = self._new_folder()
            try:
                self._write(folder.name, record)
                job = add_small_job(self.queue.store, GENERATE, resolved, owner, folder=folder)
                self._write(folder.name, record.model_copy(update={"number": job.id}))
            except BaseException:
                self._records.pop(folder.name, None)
                shutil.rmtree(folder, ignore_errors=True)
                raise
            with suppress(OSError, VelaturaError):  # old ones are removed the next time
                self._tidy(key)
        return job.id

    # ---------------------------------------------------------------- looking
    def find(self, number: int) -> Generation:
        """The generation whose job has this number; VelaturaError if there is none."""
        with self._lock:
            for id in self._ids():
                record = self._read(id)
                if record is not None and record.number == number:
                    generation = self._generation(id, record, self._views([record]))
                    if generation is not None:
                        return generation
        raise VelaturaError(GONE)

    def history(self, key: str) -> list[Generation]:
        """The generations of a key, newest first, including waiting and running ones."""
        with self._lock:
            mine = [(id, record) for id in self._ids() if (record := self._read(id)) and record.whose == key]
            views = self._views([record for _, record in mine])
            generations = (self._generation(id, record, views) for id, record in mine)
            return [generation for generation in generations if generation is not None]

    # ---------------------------------------------------------------- sooner, or not at all
    def preempt(self, id: str, key: str, actor: Actor) -> None:
        """Pause the training that a generation waits for; VelaturaError if it is another key's."""
        waiting = next((other for other in self.history(key) if other.id == id), None)
        if waiting is None:
            raise VelaturaError(GONE)
        if waiting.could_yield is None:  # it has begun or is about to
            return
        actions.preempt(self.queue.store, waiting.could_yield.id, waiting.record.number, actor=actor)

    def remove(self, id: str, key: str) -> None:
        """Cancel a generation, or dismiss its error; VelaturaError if it is another key's or gone."""
        with self._lock:
            record = self._read(id) if id in self._ids() else None
            if record is None or record.whose != key:
                raise VelaturaError(GONE)
            job = self.queue.store.job_in(self.root / id)
            if job is not None and self.queue.watcher.view(job.id).state not in ENDED:
                actions.stop(self.queue.store, job.id, "cancel", actor=MACHINE_OWNER)  # the actor owns it
            elif _pictures(self.root / id, record):
                self._write(id, record.model_copy(update={"error": "", "error_message": None}))
            else:
                self._delete(id)

    # ---------------------------------------------------------------- pictures out
    def public(self, generation: Generation) -> Path:
        """The public folder of a generation."""
        return self.queue.public_of(generation.folder)

    def web_copy(self, generation: Generation, place: int, small: bool) -> Path:
        """A preview of a picture, by index."""
        name = f"{'small' if small else 'whole'}-{place}.webp"
        with self._lock:
            return put_web_copy(generation.pictures[place], self.public(generation) / name, small)

    def rough_copy(self, generation: Generation, place: int) -> Path | None:
        """The current preview of a picture by index; None without one."""
        rough = generation.folder / ROUGH.format(place)
        public = self.public(generation)
        try:
            copy = public / f"rough-{place}-{rough.stat().st_mtime_ns}.webp"
            if not copy.exists():
                for older in public.glob(f"rough-{place}-*.webp"):
                    older.unlink(missing_ok=True)
                link_or_copy(rough, copy)
        except OSError:  # replaced by the picture meanwhile
            return None
        return copy

    def expect(self, request: GenerateRequest) -> None:
        """Announce an expected drawing, so that a dispatcher can load its base."""
        with suppress(OSError, VelaturaError):  # without an announcement the drawing only starts later
            resolved = self.check(request).resolve()
            with whole_file(self.queue.store.runs / EXPECTED) as building:
                building.write_text(resolved.model_dump_json(), encoding="utf-8")

    def downloads(self, generation: Generation) -> list[Path]:
        """The public files of the pictures, with their parameters as metadata."""
        names = [*_endings(generation), *([" without"] if generation.request.compared else [])]
        sources = [(path, names[place]) for place, path in generation.pictures.items()]
        return [self._offer(generation, path, ending) for path, ending in sources]

    def download(self, generation: Generation, place: int) -> Path:
        """The public file of a picture, by index."""
        return dict(zip(generation.pictures, self.downloads(generation), strict=True))[place]

    def overview(self, generation: Generation) -> Path | None:
        """The public file of the contact sheet; None without one."""
        sheet = generation.folder / OVERVIEW
        return self._offer(generation, sheet, " sheet") if generation.ended and sheet.exists() else None

    def _offer(self, generation: Generation, source: Path, ending: str) -> Path:
        request = generation.request
        called = f"{safe_name(request.prompt) or UNTITLED} {request.seed}"
        place = self.public(generation) / f"{called}{ending}.png"
        with self._lock:
            if not place.exists():
                link_or_copy(source, place)
        return place

    # ---------------------------------------------------------------- within
    def _check_room(self, key: str) -> None:
        """Raise VelaturaError if a key has too many generations in the queue."""
        begun = [record for id in self._ids() if (record := self._read(id)) and record.whose == key]
        if sum(not record.state for record in begun) >= MOST_WAITING:
            waiting = sum(not generation.ended for generation in self.history(key))
            if waiting >= MOST_WAITING:
                raise VelaturaError(TOO_MANY_WAIT.format(waiting))

    def _new_folder(self) -> Path:
        folder = self.root / f"{NAME}{time.time_ns() // 1000:020d}-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700, parents=True)
        return folder

    def _ids(self) -> list[str]:
        """All ids, newest first."""
        if not self.root.is_dir():
            return []
        return sorted((path.name for path in self.root.iterdir() if path.name.startswith(NAME)), reverse=True)

    def _read(self, id: str) -> Record | None:
        if id not in self._records:
            record = self._file(id).read() or self._older_file(id).read()
            if record is None:  # being created or deleted, or unreadable
                return None
            self._records[id] = record
        return self._records[id]

    def _write(self, id: str, record: Record) -> None:
        self._file(id).write(record)
        self._records[id] = record

    def _file(self, id: str) -> StateFile[Record]:
        return StateFile(self.root / id / FILE, Record.model_validate_json, Record.model_dump_json)

    def _older_file(self, id: str) -> StateFile[Record]:
        """The record of an older version, read and left unchanged."""
        return StateFile(self.root / id / OLDER_FILE, read_older_record, Record.model_dump_json)

    def _views(self, records: list[Record]) -> dict[Path, View]:
        """The queue's jobs by folder, if any of these generations may have one."""
        if all(record.state for record in records):
            return {}
        return {view.job.folder: view for view in self.queue.jobs()}

    def _generation(self, id: str, record: Record, views: dict[Path, View]) -> Generation | None:
        """A generation's current state; None if it was cancelled without a picture, which deletes it."""
        folder = self.root / id
        pictures = _pictures(folder, record)
        view = views.get(folder)
        ended = GenerationProgress(Stage.ENDED)
        if record.state:
            return Generation(id, folder, record, State(record.state), ended, pictures)
        if view is None and self.queue.problem() is not None:  # it may have a job
            return Generation(id, folder, record, State.QUEUED, GenerationProgress(Stage.UNKNOWN), pictures)
        if view is None:
            waiting = GenerationProgress(Stage.WAITING)
            return self._without_job(Generation(id, folder, record, State.QUEUED, waiting, pictures))
        if view.state not in ENDED:
            progress, could_yield = find_progress(view, views), find_could_yield(view, views)
            return Generation(id, folder, record, view.state, progress, pictures, could_yield)
        if view.state == State.CANCELLED and not pictures:
            with suppress(VelaturaError):  # its process is just ending: removed the next time
                self._delete(id)
            return None
        error = "" if view.state in (State.FINISHED, State.CANCELLED) else reason_of_failure(view)
        notes, marked = read_notes(folder)
        record = record.ended(str(view.state), error, notes)
        record = record.model_copy(update={"seconds": view.summary.seconds, "marked": marked})
        if self.queue.store.remove(view.job):
            self._write(id, record)
        return Generation(id, folder, record, view.state, ended, pictures)

    def _without_job(self, generation: Generation) -> Generation:
        """A generation whose job was cleared, or is just being created."""
        pictures, record = generation.pictures, generation.record
        if not pictures and time.time() - record.made < SETTLING:
            return generation
        state, error = (State.FINISHED, "") if pictures else (State.INTERRUPTED, INTERRUPTED)
        record = record.ended(str(state), error)
        self._write(generation.id, record)
        ended = GenerationProgress(Stage.ENDED)
        return Generation(generation.id, generation.folder, record, state, ended, pictures)

    def _tidy(self, key: str) -> None:
        """Move the oldest ended generations beyond the limit to the trash."""
        known = [(id, record) for id in self._ids() if (record := self._read(id))]
        mine = [id for id, record in known if record.whose == key]
        old = {*mine[KEPT:], *(id for id, _ in known[KEPT_IN_ALL:])}
        for id, record in known:
            if id in old and record.state:
                if not record.whose.startswith((PROGRAM, OF_RUN)) and _pictures(self.root / id, record):
                    self._throw_away(id, record)
                self._delete(id)

    def _throw_away(self, id: str, record: Record) -> None:
        public, store = self.queue.public_of(self.root / id), self.queue.store
        owner = login_of_key(record.whose)
        name = record.request.prompt[:LONGEST_TITLE] or UNTITLED
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


def _endings(generation: Generation) -> list[str]:
    """Endings of the file names of pictures with styles."""
    request = generation.record.resolved
    if request.each:
        return [f" {number} {safe_name(style.name)}" for number, style in enumerate(request.styles, 1)]
    if request.count > 1:
        return [f" {number}" for number in range(1, request.count + 1)]
    if not request.axes:
        return [""]
    return [f" {safe_name(file_ending(request, cell.values))}" for cell in cells_of(request)]


def _check_policy(request: Resolved, owner: str) -> None:
    """Raise FieldErrors if a resolved request exceeds its owner's limits."""
    if len(request.styles) > MOST_STYLES:
        raise FieldErrors({style_field(MOST_STYLES): TOO_MANY_STYLES.format(MOST_STYLES)})
    cells = cells_of(request)
    pictures, steps = len(cells) + request.compared, sum(cell.request.steps for cell in cells) / len(cells)
    most = max(1, MOST_WORK // (request.size[0] * request.size[1] * pictures))
    if owner and steps > most:
        size = pixels_in_words(request.size)
        if len(cells) > 1:
            sentence = TOO_MUCH_TOGETHER.format(pictures=counted(pictures, "picture"), size=size, most=most)
        else:
            sentence = TOO_MUCH_WORK.format(size, most, request.steps)
        raise FieldErrors({"steps": sentence})


def _pictures(folder: Path, record: Record) -> dict[int, Path]:
    """The existing pictures of a generation, by index."""
    paths = enumerate(folder / name for name in picture_names(record.request))
    return {place: path for place, path in paths if path.exists()}


def wait_for(generations: Generations, request: GenerateRequest, owner: str, overview: bool = False) -> list[Path]:
    """Generate an API request and return its public files, with `overview` a contact sheet last.

    Raises VelaturaError if there are none. API generations are not in the history of the login's pages.
    """
    number = generations.add(request, owner, f"{PROGRAM}{owner}")
    while not (generation := generations.find(number)).ended:
        time.sleep(LOOK_EVERY)
    if generation.error or not generation.pictures:
        raise VelaturaError(generation.error or GONE)
    sheet = generations.overview(generation) if overview else None
    return [*generations.downloads(generation), *([sheet] if sheet is not None else [])]
