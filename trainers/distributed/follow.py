"""Every process of a run but the first, which starts `python -m trainers.distributed.follow TARGET DEVICE MEETING`.

They take the same steps on their shares of every batch, and write nothing but caches.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, NoReturn

from trainers.distributed import DISCONNECTED
from trainers.lazy_module import load_rarely_used

if TYPE_CHECKING:
    from trainers.config.config import Config
    from trainers.distributed.devices import ProcessGroup
    from trainers.distributed.launch import Work

    TakePart = Callable[[ProcessGroup, Callable[[Work], None]], None]

ORPHANED = "the first process of this run has ended; continue from its last checkpoint with: velatura resume {}"


def follow_launched(config: Config, take_part: TakePart) -> NoReturn:
    """Train as one of the other processes that a launcher started, and exit with the run."""
    from trainers.distributed.devices import forget_devices, is_disconnect
    from trainers.distributed.launch import join_launched

    _leave_signals_to_first()
    group = join_launched(config)
    try:
        take_part(group, lambda _: None)
    except Exception as error:
        if not is_disconnect(error):
            raise
        sys.exit(1)
    finally:
        group.leave()
        forget_devices()
    sys.exit(0)


def main(target: str, device: str, meeting: str) -> int:
    """Train by the function at `target` (`module:name`), and return the exit code."""
    _leave_signals_to_first()
    watch = _WatchOfFirst(int(os.environ["RANK"]))
    load_rarely_used()
    from trainers.distributed.devices import is_disconnect, join, read_rank
    from trainers.distributed.launch import ready_file, write_failure
    from trainers.errors import VelaturaError, failure_code
    from trainers.models.load import import_libraries

    take_part: TakePart = resolve_name(target)
    import_libraries()
    rank = read_rank()
    assert rank is not None
    ready_file(Path(meeting), rank.index).touch()
    try:
        take_part(join(rank, device == "cuda", Path(meeting)), watch.note)
    except Exception as error:
        if is_disconnect(error):
            return DISCONNECTED
        write_failure(Path(meeting), rank.index, str(error) or type(error).__name__, failure_code(error))
        if isinstance(error, VelaturaError):
            return 1
        raise
    return 0


class _WatchOfFirst:
    """Ends this process when the first one ends, which closes the pipe to the standard input."""

    def __init__(self, index: int) -> None:
        self._folder, self._prints = "", index == 1
        threading.Thread(target=self._wait, name="first", daemon=True).start()

    def note(self, work: Work) -> None:
        self._folder = "" if work.measured else work.folder

    def _wait(self) -> None:
        ended_in_order = bool(os.read(0, 1))
        if not ended_in_order and self._prints and self._folder:
            print(ORPHANED.format(shlex.quote(str(self._folder))), file=sys.stderr, flush=True)
        os._exit(DISCONNECTED)


def _leave_signals_to_first() -> None:
    """Ignore Ctrl-C, SIGTERM and SIGHUP, which may reach all processes; the first one handles them."""
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if number := getattr(signal, name, None):  # Windows has no SIGHUP
                signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
