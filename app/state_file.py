"""Small JSON state files, written atomically and kept twice.

`NAME.before.json` is the state before the last write. An unreadable file is set aside as `NAME.damaged-TIME.json`, so
that nothing in it is lost, and the previous state takes its place.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from filelock import BaseFileLock, FileLock

from trainers.atomic_files import whole_file

T = TypeVar("T")
log = logging.getLogger(__name__)


class StateFile(Generic[T]):
    """A state file; `parse` converts its bytes to a value and raises ValueError if they are damaged.

    The previous value replaces a damaged one, or what `restore` makes of it; either may be None.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes], T],
        dump: Callable[[T], str],
        restore: Callable[[T | None], T | None] | None = None,
        lock: Path | None = None,
    ) -> None:
        self.path, self._parse, self._dump, self._restore_with = path, parse, dump, restore
        self._lock = lock or path.with_name(f".{path.name}.lock")

    @property
    def before(self) -> Path:
        """Path of the previous state."""
        return self.path.with_name(f"{self.path.stem}.before{self.path.suffix}")

    def lock(self) -> BaseFileLock:
        """The reentrant lock of writers."""
        return FileLock(self._lock, is_singleton=True)

    def read(self) -> T | None:
        """The state; None if it was never written or cannot be recovered. OSError if it cannot be read."""
        try:
            return self._parse(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            with self.lock():
                return self._restore()

    def write(self, value: T) -> None:
        """Replace the state, keeping the current one as previous. OSError if its folder is missing."""
        if not self.path.parent.is_dir():  # the lock would make it again
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path.parent))
        with self.lock():
            now = self._good(self.path)
            if now is not None and now == value:
                return
            if now is not None:
                with whole_file(self.before) as building:
                    _second_name(self.path, building)
            with whole_file(self.path) as building:
                building.write_text(self._dump(value), encoding="utf-8")

    # ---------------------------------------------------------------- within
    def _good(self, path: Path) -> T | None:
        try:
            return self._parse(path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def _restore(self) -> T | None:
        """Set the damaged file aside and write the recovered state."""
        try:
            return self._parse(self.path.read_bytes())  # somebody else was here first
        except FileNotFoundError:
            return None
        except ValueError as error:
            log.warning("%s is damaged and was set aside: %s", self.path, " ".join(str(error).split())[:200])
        last = self._good(self.before)
        value = last if self._restore_with is None else self._restore_with(last)
        moment = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        aside = self.path.with_name(f"{self.path.stem}.damaged-{moment}{self.path.suffix}")
        if value is None:
            self.path.replace(aside)
        else:  # nobody is to find no file meanwhile
            _second_name(self.path, aside)
            self.write(value)
        return value


def _second_name(path: Path, name: Path) -> None:
    try:
        os.link(path, name)
    except OSError:  # a file system without such links
        shutil.copyfile(path, name)
