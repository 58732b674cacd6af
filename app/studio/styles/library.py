"""The style library: all trained and imported styles, and their files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from app.jobs.accounts.audit import AuditLog, check_owner
from app.jobs.actions import style_item
from app.jobs.permissions import Actor
from app.jobs.run_trash import ALIAS
from app.jobs.states import ENDED, IN_WORDS
from app.jobs.trash.trash import CONTENT, STYLE, Trash, TrashItem, new_item
from app.jobs.view import View
from app.state_file import StateFile
from app.studio.dataset.uploads import MOST_BYTES_A_FILE, forget
from app.studio.names import plain, safe_name
from app.studio.programs.install import Form, choose_form
from app.studio.programs.targets import DIFFUSERS_TARGET, TITLES, Target
from app.studio.public_files import link_or_copy, offer_version, put_packed
from app.studio.runs.chosen import choice_of, chosen_step, chosen_style, is_snapshot
from app.studio.runs.notes import read_notes
from app.studio.studio_queue import StudioQueue
from app.studio.styles.entry import NO_NAME, StyleEntry, check_numbers, read_entry, read_found, unreadable
from trainers.atomic_files import plain_disk_errors, whole_file
from trainers.config.techniques import TEXTUAL_INVERSION
from trainers.errors import VelaturaError
from trainers.formats.embedding import EMBEDDING_SUFFIX, embedding_of
from trainers.formats.read import read_outline
from trainers.formats.write import peft
from trainers.messages import Message as _
from trainers.regular_files import read_inside
from trainers.runs.run import Run

FORMATS = ("safetensors", "diffusers", "peft", "embedding", "toml")
SUFFIX = ".safetensors"
GONE = _("this style no longer exists")
HUGE = _("it would be huge; use a lower rank, or LoKr with factor 8")
"""Why a trained style has no file for diffusers."""
OWNERS = ".owners.json"
"""File with owners of imported styles."""
OFFERED = "styles"
"""Public folder with one folder per style."""
COPYING = 10.0
"""Seconds after its last change for which an unreadable file counts as being copied."""
COPY = _("“{file}” holds the same style as “{name}”")
Stamp = tuple[int, int]


class StyleLibrary:
    """All styles of a server. Files are read once; thread-safe."""

    def __init__(self, queue: StudioQueue) -> None:
        self.queue, self.paths = queue, queue.paths
        self._lock, self._writing = threading.RLock(), threading.Lock()
        self._read: dict[Path, tuple[Stamp, StyleEntry | _]] = {}
        self._begun, self._entries, self._unlisted = 0.0, list[StyleEntry](), list[_]()
        self._ids: frozenset[str] | None = None
        self._served: dict[tuple[str, float, Target], bool] = {}
        self._owned = StateFile(self.paths.styles / OWNERS, _parse_owners, json.dumps)
        self._secret = hashlib.sha256(b"shelf" + self.paths.secret()).digest()

    # ---------------------------------------------------------------- what there is
    def entries(self) -> list[StyleEntry]:
        """Every style, newest first. Concurrent calls share one look at the files."""
        asked = time.monotonic()
        with self._lock:
            if self._begun <= asked:  # else another thread has looked meanwhile
                self._begun = time.monotonic()
                self._entries = self._look()
            return list(self._entries)

    def unlisted(self) -> list[_]:
        """Why files in the folder are not listed: they are unreadable or copies."""
        with self._lock:
            return list(self._unlisted)

    def read_ahead(self) -> None:
        """Read the files in a thread, ahead of the first page."""

        def read() -> None:
            with suppress(OSError, VelaturaError):  # shown by the first page
                self.entries()

        if imported_files(self.paths.styles):
            threading.Thread(target=read, name="styles", daemon=True).start()

    def _look(self) -> list[StyleEntry]:
        runs = dict[Path, tuple[View, int | None]]()
        for view in self.queue.runs():
            choice = choice_of(view)
            if (chosen := chosen_style(view.job.folder, choice)) is not None:
                runs[chosen] = view, chosen_step(view, choice)
        others = imported_files(self.paths.styles)
        items = [self._trained(path, *of) for path, of in runs.items()]
        owners = self._owners() if others else {}
        items += [self._found(path, owners) for path in others]
        self._read = {path: self._read[path] for path in (*runs, *others) if path in self._read}
        styles, files = dict[str, StyleEntry](), [self._read[path] for path in others if path in self._read]
        now = time.time_ns()
        self._unlisted = [
            why for (changed, _size), why in files if isinstance(why, _) and abs(now - changed) > COPYING * 1e9
        ]
        for item in sorted(filter(None, items), key=lambda item: item.made):
            if styles.setdefault(item.id, item) is not item:  # a copy under another name
                self._unlisted.append(COPY.format(file=plain(item.path.name), name=styles[item.id].name))
        if styles.keys() != self._ids:
            self._ids = frozenset(styles)
            self._served = {key: served for key, served in self._served.items() if key[0] in styles}
            self._sweep()
        return sorted(styles.values(), key=lambda item: -item.made)

    def entry(self, id: str) -> StyleEntry | None:
        """The style with this untrusted id; None if there is none."""
        return next((item for item in self.entries() if item.id == id), None)

    def imported(self, owner: str) -> int:
        """Bytes of an owner's imported styles."""
        with self._lock:
            owners = self._owners()
            items = [self._found(path, owners) for path in imported_files(self.paths.styles)] if owners else []
        return sum(item.size for item in items if item is not None and item.owner == owner)

    def of_run(self, name: str) -> StyleEntry | None:
        """The style of a run; None if it has none."""
        return next((item for item in self.entries() if item.run == name), None)

    # ---------------------------------------------------------------- files out
    def download(self, item: StyleEntry, format: str) -> Path:
        """The style as `safetensors`, for `diffusers`, `peft` or a program, its word as `embedding`, or its settings.

        The file is public. VelaturaError if it cannot be exported.
        """
        if format not in (*FORMATS, *TITLES):
            raise VelaturaError(
                "there is no format {format!r}; available are {formats}", format=format, formats=", ".join(FORMATS)
            )
        put: Callable[[Path, Path], None] = link_or_copy
        title = item.stem
        source, name = item.path, f"{title}{SUFFIX}"
        if format == "toml":
            source, name = self._settings(item), f"{item.name}.toml"
        elif format == "peft":
            source, name, put = self._peft(item), f"{title}{peft.PEFT_SUFFIX}.zip", put_packed
        elif format == "embedding":
            source, name = self._word(item), f"{item.name}{EMBEDDING_SUFFIX}{SUFFIX}"
        elif format in TITLES:
            form = self._form(item, format)
            source, put = form.path, self._put_plain if form.converted else link_or_copy
            if format == DIFFUSERS_TARGET and not item.plain:
                name = f"{title}-diffusers{SUFFIX}"
            elif form.converted:
                name = f"{title}-plain{SUFFIX}"
        try:
            with plain_disk_errors(self.paths.public / name):
                return offer_version(source, self.public(item), name, put)
        except FileNotFoundError as error:
            raise VelaturaError(GONE) from error

    def serves(self, item: StyleEntry, target: Target) -> bool:
        """Whether a program opens some form of a style."""
        if item.starter or item.only_here or target not in TITLES:
            return False
        key = (item.id, item.made, target)
        with self._lock:
            if key not in self._served:
                try:
                    self._form(item, target)
                    self._served[key] = True
                except (OSError, VelaturaError):
                    self._served[key] = False
            return self._served[key]

    def for_diffusers(self, item: StyleEntry) -> Path | None:
        """The style's file for diffusers; None if it must be written first.

        VelaturaError if it cannot be written.
        """
        twin = item.path.with_name(f"{item.path.stem}-diffusers{SUFFIX}")
        if item.plain or (item.run and twin.is_file()):
            return item.path if item.plain else twin
        reason = item.not_plain or (HUGE if item.run and not item.kept else "")  # a kept step has no other forms
        if reason:
            raise VelaturaError(
                "“{name}” cannot be exported for diffusers, which reads only plain LoRA: {reason}",
                name=item.name,
                reason=reason,
            )
        return None

    def word_of(self, item: StyleEntry) -> Path | None:
        """The file of the word trained with a style; None if there is none."""
        return embedding_of(item.path) if item.run else None

    def peft_of(self, item: StyleEntry) -> Path | None:
        """The PEFT folder of a style; None if its method has none."""
        return peft.peft_folder_of(item.path) if item.run else None

    def public(self, item: StyleEntry) -> Path:
        """The public folder of a style, with an unguessable name."""
        folder = self.paths.public / OFFERED / self._public_name(item.id)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    # ---------------------------------------------------------------- files in
    def take_in(self, upload: Path, name: str, folder: Path | None = None, owner: str = "") -> StyleEntry:
        """Import a style of `owner` called `name`; the upload is deleted.

        `folder` is the sender's upload folder, by default that of all uploads. The file is validated completely first.
        VelaturaError if it is refused.
        """
        uploads = (folder or self.paths.uploads).resolve()
        if not (upload.resolve().is_relative_to(uploads) and upload.is_file()):
            raise VelaturaError("this file did not arrive; add it again")
        coming = Path(tempfile.mkdtemp(dir=upload.parent))
        try:
            called = PurePosixPath(name.replace("\\", "/"))
            shown = plain(called.name) or _("this file")
            if called.suffix.lower() != SUFFIX:
                raise VelaturaError(no_safetensors(shown))
            if upload.stat().st_size > MOST_BYTES_A_FILE:
                raise VelaturaError(too_large(shown))
            checked = coming / f"{safe_name(called.stem) or NO_NAME}{SUFFIX}"
            upload.replace(checked)
            return self._put(checked, shown, owner)
        finally:
            shutil.rmtree(coming, ignore_errors=True)
            forget(upload, uploads)

    def rename(self, item: StyleEntry, typed: str, *, actor: Actor) -> StyleEntry:
        """Rename a style, within the rules for file names; its run keeps its name."""
        check_owner(self.paths.runs, "rename", actor, "style", item.name, item.owner)
        name = safe_name(typed)
        if not name:
            raise VelaturaError("a name needs at least one letter or digit")
        with self._lock, plain_disk_errors(item.path):
            if self._is_taken(name, item):
                raise VelaturaError("there is already a style named “{name}”; choose another name", name=name)
            if item.run:
                with whole_file(self._run(item).job.folder / ALIAS) as building:
                    building.write_text(name, encoding="utf-8")
            elif name != item.path.stem:
                item.path.rename(item.path.with_name(f"{name}{SUFFIX}"))
        AuditLog(self.queue.store.runs).note("rename", actor, item.name, kind="style", owner=item.owner, to=name)
        shutil.rmtree(self.public(item), ignore_errors=True)
        return self._again(item.id)

    def remove(self, item: StyleEntry, with_run: bool = False, *, actor: Actor) -> TrashItem | None:
        """Move a style's files to the trash, with `with_run` its run, too.

        VelaturaError if the run is active, or if the actor may not delete it.
        """
        check_owner(self.paths.runs, "delete", actor, "style", item.name, item.owner)
        if item.run and with_run:
            thrown = self.queue.delete(self.queue.number(item.run, actor=actor), actor=actor)
        elif item.run:
            view = self._run(item)
            if view.state not in ENDED:
                state = IN_WORDS[view.state]
                raise VelaturaError(
                    "“{name}” cannot be deleted now: {state}; stop its run first", name=item.name, state=state
                )
            with Run(view.job.folder).training():  # raises BusyError while a process trains it
                thrown = style_item(self.queue.store, view.job.folder, item.name, item.owner)
                Trash(self.queue.store).put(thrown)
            self.queue.withdraw(view.job.folder)
        else:
            runs = self.queue.store.runs
            thrown = Trash(self.queue.store).put(new_item(STYLE, item.name, item.owner, {CONTENT: item.path}, runs))
        AuditLog(self.queue.store.runs).note("delete", actor, item.name, kind="style", owner=item.owner)
        shutil.rmtree(self.public(item), ignore_errors=True)
        return thrown

    # ---------------------------------------------------------------- within
    def _public_name(self, id: str) -> str:
        return hashlib.blake2b(id.encode(), key=self._secret, digest_size=16).hexdigest()

    def _sweep(self) -> None:
        """Delete public files of styles that no longer exist."""
        names = {self._public_name(id) for id in self._ids or ()}
        for folder in (self.paths.public / OFFERED).glob("*"):
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)

    def _form(self, item: StyleEntry, target: str) -> Form:
        """The form of a style that a program opens. VelaturaError if it opens none."""
        if target == DIFFUSERS_TARGET:
            file = self.for_diffusers(item)
            return Form(file or item.path, converted=file is None)
        if item.method == TEXTUAL_INVERSION:
            return Form(item.path)
        return choose_form(read_outline(item.path), item.name, TITLES[target], item.family)

    def _trained(self, path: Path, view: View, step: int | None) -> StyleEntry | None:
        item = self._known(path, view)
        if item is None:
            return None
        alias, about = renamed_style(view.job.folder), read_notes(view.job.folder)
        return replace(item, name=alias or item.name, about=about, step=step, kept=is_snapshot(view.job.folder, path))

    def _found(self, path: Path, owners: Mapping[str, str]) -> StyleEntry | None:
        item = self._known(path, None)
        return replace(item, owner=owners[item.id]) if item is not None and item.id in owners else item

    def _owners(self) -> dict[str, str]:
        """Owners of imported styles, by id."""
        return self._owned.read() or {}

    def _keep_owner(self, id: str, owner: str) -> None:
        with self._owned.lock():
            self._owned.write(self._owners() | {id: owner})

    def _known(self, path: Path, view: View | None) -> StyleEntry | None:
        """A file's style, read again after a change; None if it is not a readable style."""
        try:
            seen = path.stat()
            stamp = (seen.st_mtime_ns, seen.st_size)
            known = self._read.get(path)
            if known is None or known[0] != stamp:
                known = self._read[path] = stamp, read_entry(path, view, seen.st_mode)
        except OSError as error:
            if not os.path.lexists(path):  # deleted meanwhile
                return None
            known = self._read[path] = (0, 0), unreadable(path, error)
        return known[1] if isinstance(known[1], StyleEntry) else None

    def _put(self, checked: Path, shown: str, owner: str) -> StyleEntry:
        """Validate an uploaded file and move it to its place."""
        try:
            with self._writing:  # one at a time: the largest allowed file takes a gigabyte of memory
                check_numbers(checked)
        except VelaturaError as error:  # with the name that the sender knows
            sentence = error.message.changed(lambda text: text.replace(checked.name, f"“{shown}”"))
            raise VelaturaError(sentence) from error.__cause__
        item = read_found(checked)
        with self._lock, plain_disk_errors(self.paths.styles / checked.name):
            existing = self.entry(item.id)
            if existing is not None:
                raise VelaturaError("this style already exists as “{name}”", name=existing.name)
            names = (item.name if number == 1 else f"{item.name} {number}" for number in range(1, 10_000))
            name = next(each for each in names if not self._is_taken(each))
            os.utime(checked)
            if owner:
                self._keep_owner(item.id, owner)
            checked.replace(self.paths.styles / f"{name}{SUFFIX}")
        return self._again(item.id)

    def _put_plain(self, source: Path, place: Path) -> None:
        """Write a style as plain LoRA for diffusers; one at a time, since it may need much memory."""
        from trainers.formats.read import read_style
        from trainers.formats.write.convert import write_plain

        with self._writing:
            if not place.is_file():
                write_plain(place, read_style(source))

    def _is_taken(self, name: str, item: StyleEntry | None = None) -> bool:
        """Whether another style has this name, ignoring case."""
        others = {each.name.casefold() for each in self.entries() if item is None or each.id != item.id}
        own = item is not None and not item.run and item.path.stem.casefold() == name.casefold()
        return name.casefold() in others or (not own and (self.paths.styles / f"{name}{SUFFIX}").exists())

    def _again(self, id: str) -> StyleEntry:
        item = self.entry(id)
        if item is None:
            raise VelaturaError(GONE)
        return item

    def _run(self, item: StyleEntry) -> View:
        view = self.queue.run(item.run)
        if view is None:
            raise VelaturaError(GONE)
        return view

    def _word(self, item: StyleEntry) -> Path:
        file = self.word_of(item)
        if file is None:
            raise VelaturaError("“{name}” has no word of its own", name=item.name)
        return file

    def _peft(self, item: StyleEntry) -> Path:
        folder = self.peft_of(item)
        if folder is None:
            raise VelaturaError(
                "“{name}” has no PEFT file, which exists only for OFT on the inputs of linear layers", name=item.name
            )
        return folder

    def _settings(self, item: StyleEntry) -> Path:
        if not item.run:
            raise VelaturaError("“{name}” was imported, so its settings are unknown", name=item.name)
        return self._run(item).job.folder / "config.toml"


def imported_files(styles: Path) -> list[Path]:
    """The files in the folder of imported styles, including those copied there by hand."""
    return sorted(path for path in styles.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def renamed_style(run: Path) -> str:
    """The name of a run's renamed style; empty if it was not renamed."""
    try:
        return safe_name(read_inside(run, ALIAS).decode("utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""


def no_safetensors(name: str) -> _:
    """The error for files of another kind, which the page shows before the upload."""
    return _(
        "“{name}” does not end in .safetensors; other files are refused because they can run code when opened",
        name=name,
    )


def too_large(name: str) -> _:
    """The error for too large files, which the page shows before the upload."""
    return _("“{name}” is larger than {most} MB, the limit for an upload", name=name, most=MOST_BYTES_A_FILE // 2**20)


def _parse_owners(content: bytes) -> dict[str, str]:
    kept = json.loads(content)
    if not isinstance(kept, dict) or not all(isinstance(owner, str) for owner in kept.values()):
        raise ValueError("its owners are missing")
    return kept
