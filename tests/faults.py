"""Faults at the border to the system: the n-th change of a disk fails, the process ends there, or the power is cut.

    for cut in each_cut(Fault.KILL, tmp_path, before, lambda place: save(place)):
        assert looks(cut.place) in (old, new), cut

The last cut of all comes after the last change, so that it also says whether what was acknowledged stays.
"""

from __future__ import annotations

import builtins
import errno
import io
import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

CHANGES = ("mkdir", "rename", "replace", "link", "symlink", "unlink", "remove", "rmdir", "fsync", "sendfile")
"""Functions of `os` that change what is on a disk, or wait for it; beside them, opening to write, and writing."""
NEED_NO_ROOM = ("unlink", "remove", "rmdir", "rename", "replace")


class Fault(StrEnum):
    FULL = "full disk"
    """No room: the change fails, and so does every later one that needs some."""
    BROKEN = "broken change"
    """This one change fails, and no other."""
    KILL = "kill"
    """The process ends before the change, or in the middle of a write; nothing tidies up."""
    POWER = "power cut"
    """As a kill, and what nobody has waited for is lost: content without `fsync`, names without their folder's."""


class Ended(BaseException):
    """The process is taken to be gone: whatever it does from here on changes nothing."""


@dataclass
class Cut:
    """One attempt, and what became of it."""

    place: Path
    change: str = ""
    """What was cut; empty where there were fewer changes than were let through."""
    error: BaseException | None = None
    changes: list[str] = field(default_factory=list)
    """What was done before."""


def each_cut(fault: Fault, folder: Path, start: Path | None, act: Callable[[Path], object]) -> Iterator[Cut]:
    """Let `act` change a copy of `start`, or an empty folder, cut at its first change, its second … and at none."""
    for number in itertools.count():
        place = folder / f"{fault.replace(' ', '-')}-{number}"
        place.mkdir() if start is None else shutil.copytree(start, place)
        cut = Cut(place)
        with faulty(fault, number, cut):
            act(place)
        yield cut
        if not cut.change:
            return


@contextmanager
def faulty(fault: Fault, number: int, cut: Cut) -> Iterator[None]:
    """Let this thread's n-th change of what is in the cut's folder fail, counted from 0."""
    disk = _Disk(fault, number, cut)
    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, disk.changing(name, getattr(os, name)))
        opening = disk.opening(io.open)
        patch.setattr(io, "open", opening)
        patch.setattr(builtins, "open", opening)
        try:
            yield
        except Ended as error:
            cut.error = error
        except Exception as error:
            cut.error = error
            if not cut.change:
                raise
    if fault == Fault.POWER:
        disk.lose()


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes: the system then refuses to write, in SQLite's own code too."""
    resource = pytest.importorskip("resource", reason="only POSIX systems limit the size of files")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def in_use_once(patch: pytest.MonkeyPatch) -> list[Path]:
    """Let the first file that is put in another's place be refused as Windows does while that is read; what was tried.

    Whoever tries again does not wait.
    """
    replace, tries = Path.replace, list[Path]()

    def refuse(path: Path, target: Path) -> Path:
        tries.append(path)
        if len(tries) == 1:
            error = PermissionError(errno.EACCES, "in use")
            error.winerror = 32
            raise error
        return replace(path, target)

    patch.setattr(Path, "replace", refuse)
    patch.setattr("trainers.atomic_files.PAUSES", (0.0,))
    return tries


class _Disk:
    """Counts changes, and knows which of them a power cut would undo."""

    def __init__(self, fault: Fault, number: int, cut: Cut) -> None:
        self.fault, self.left, self.cut = fault, number, cut
        self.thread = threading.get_ident()
        self.unsynced: set[int] = set()
        """Inodes of files with content that may not be on the disk."""
        self.names: list[_Name] = []
        self.kept = cut.place.with_name(f".{cut.place.name}")

    # ---------------------------------------------------------------- what is counted
    def fails(self, name: str, path: Any) -> bool:
        """Count a change; whether it is not to be done. Raises what the caller finds."""
        if self.thread != threading.get_ident() or not self._is_inside(path):
            return False
        if self.cut.change:
            if self.fault in (Fault.KILL, Fault.POWER):
                raise Ended
            return self.fault == Fault.FULL and name not in NEED_NO_ROOM
        if self.left:
            self.left -= 1
            self.cut.changes.append(f"{name} {path}")
            return False
        self.cut.change = f"{name} {path}"
        return True

    def stop(self) -> OSError | Ended:
        if self.fault in (Fault.KILL, Fault.POWER):
            return Ended()
        code = errno.ENOSPC if self.fault == Fault.FULL else errno.EIO
        return OSError(code, os.strerror(code))

    def _is_inside(self, path: Any) -> bool:
        if isinstance(path, int):  # a file that is open, or a folder that is being deleted
            return True
        return Path(os.fsdecode(path)).absolute().is_relative_to(self.cut.place)

    # ---------------------------------------------------------------- what is put in the system's place
    def changing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*given: Any, **named: Any) -> Any:
            path = given[1] if name in ("link", "symlink") else given[0]
            path = named["dir_fd"] if isinstance(named.get("dir_fd"), int) else path
            if name == "mkdir" and Path(path).is_dir():  # nothing is changed
                return real(*given, **named)
            if self.fails(name, path):
                raise self.stop()
            if self.fault != Fault.POWER or not self._is_inside(path):
                return real(*given, **named)
            self.remember(name, given, named)
            result = real(*given, **named)
            if name == "fsync":
                self.settle(os.fstat(given[0]).st_ino)
            elif name == "sendfile":
                self.unsynced.add(os.fstat(given[0]).st_ino)
            return result

        return change

    def opening(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *given: Any, **named: Any) -> Any:
            if not set(mode) & set("wax+") or not self._is_inside(file):
                return real(file, mode, *given, **named)
            is_new = not isinstance(file, int) and not os.path.exists(file)  # noqa: PTH110 - of any kind
            if is_new or "w" in mode:
                if self.fails("open", file):
                    raise self.stop()
                if is_new and self.fault == Fault.POWER:
                    self.names.append(_Name(Path(file).absolute()))
            written = real(file, mode, *given, **named)
            if self.fault == Fault.POWER and set(mode) & set("wx"):
                self.unsynced.add(os.fstat(written.fileno()).st_ino)
            return _Written(written, self)

        return opened

    # ---------------------------------------------------------------- a power cut
    def remember(self, name: str, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Note how a change of names is undone."""
        if name in ("rename", "replace"):
            self.names.append(_Name(_absolute(given[1]), _absolute(given[0]), self._keep(_absolute(given[1]))))
        elif name in ("link", "symlink"):
            self.names.append(_Name(_absolute(given[1])))
        elif name == "mkdir":
            self.names.append(_Name(_absolute(given[0])))
        elif name in ("unlink", "remove") and "dir_fd" not in named:
            self.names.append(_Name(_absolute(given[0]), None, self._keep(_absolute(given[0])), gone=True))

    def _keep(self, path: Path) -> Path | None:
        """Another name for the file that is about to lose this one."""
        if not path.is_file():
            return None
        self.kept.mkdir(exist_ok=True)
        kept = self.kept / str(len(self.names))
        _LINK(path, kept)
        return kept

    def settle(self, inode: int) -> None:
        """Note that a file's content, or a folder's names, are on the disk."""
        self.unsynced.discard(inode)
        for name in self.names:
            name.settled |= name.path.parent.exists() and name.path.parent.stat().st_ino == inode

    def lose(self) -> None:
        """Undo the names and empty the files that nobody has waited for."""
        moved: list[tuple[Path, Path]] = []

        def now(path: Path) -> Path:
            for old, new in reversed(moved):
                path = new / path.relative_to(old) if path.is_relative_to(old) else path
            return path

        for name in reversed(self.names):
            if name.settled:
                if name.source is not None:
                    moved.append((name.source, name.path))
                continue
            path = now(name.path)
            with suppress(OSError):
                if name.source is not None:
                    path.rename(now(name.source))
                elif not name.gone:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            if name.kept is not None:
                with suppress(OSError):
                    name.kept.rename(path)
        for path in self.cut.place.rglob("*"):
            if path.is_file() and path.stat().st_ino in self.unsynced:
                os.truncate(path, 0)
        shutil.rmtree(self.kept, ignore_errors=True)


_LINK = os.link


@dataclass
class _Name:
    """A name that was given, moved from `source`, or taken away, where `kept` is what had it before."""

    path: Path
    source: Path | None = None
    kept: Path | None = None
    gone: bool = False
    settled: bool = False


def _absolute(path: Any) -> Path:
    return Path(os.fsdecode(path)).absolute()


class _Written:
    """A file that is written to: each write is a change that reaches the system at once, half of it where it fails."""

    def __init__(self, file: Any, disk: _Disk) -> None:
        self._file, self._disk = file, disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        disk = self._disk
        fails = disk.fails("write", self._file.name)
        if disk.fault == Fault.POWER:
            disk.unsynced.add(os.fstat(self._file.fileno()).st_ino)
        written = self._file.write(data[: len(data) // 2] if fails else data)
        self._file.flush()
        if fails:
            raise disk.stop()
        return int(written)


def check_old_or_new(
    fault: Fault, folder: Path, before: Path, act: Callable[[Path], object], look: Callable[[Path], object]
) -> None:
    """Cut `act` at every change: afterwards `look` finds what was there before or all that is new.

    Where it was not cut, what is new stays, and after a fault that the process sees no file is left over.
    """
    done = shutil.copytree(before, folder / "done")
    act(done)
    old, new, known = look(before), look(done), _files(before) | _files(done)
    assert old != new
    found = []
    for cut in each_cut(fault, folder, before, act):
        found.append(look(cut.place))
        assert found[-1] in (old, new), cut
        assert bool(cut.change) == (cut.error is not None) or found[-1] == new, f"it went on in silence: {cut}"
        if fault in (Fault.FULL, Fault.BROKEN):
            assert _files(cut.place) <= known, cut
    assert old in found and found[-1] == new


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.name.endswith("lock")}
