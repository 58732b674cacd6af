"""The number of threads of a training, and how long idle threads spin.

One thread and two sum in a different order and give different bits, so a run keeps the number it began with
(`trainers.runs.threads`). A new run shares the cores with the other trainings of this machine: two that each use every
core slow each other down several times over. Importing this module does not import torch.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path

SPINS = 10_000
"""Spins of a GNU OpenMP thread before it sleeps.

`python -m benchmarks.two_runs --spins 10000,30000,100000,300000` on two cores: a single run is equally fast with each;
two runs together get slower with more spins (3.5, 3.1, 2.75 and 2.6 steps per second).
"""
BLOCK_TIME = 1
"""Milliseconds that an LLVM or Intel OpenMP thread spins before it sleeps."""
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables with which users set the number."""


def limit_spinning(environment: MutableMapping[str, str] | None = None) -> None:
    """Let idle threads sleep early instead of occupying a core.

    The OpenMP libraries read the environment once, when torch is loaded. Variables that are set stay unchanged.
    """
    environment = os.environ if environment is None else environment
    if "OMP_WAIT_POLICY" in environment:
        return
    environment.setdefault("GOMP_SPINCOUNT", str(SPINS))
    environment.setdefault("KMP_BLOCKTIME", str(BLOCK_TIME))


@contextmanager
def passing_threads(processes: int = 1) -> Iterator[None]:
    """Use as many threads as a new run would while the block runs, for work such as an estimate."""
    with among_trainings() as others, computing_with(choose_threads(others, processes)):
        yield


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Set torch's number of threads while the block runs."""
    import torch

    before = torch.get_num_threads()
    if threads != before:  # setting a number also fixes what MKL would choose by itself
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads != before:
            torch.set_num_threads(before)


def choose_threads(others: int, processes: int = 1) -> int:
    """Threads of each of `processes` beside `others` other trainings: a fair share of torch's default, at least 1.

    Torch's default is one thread per core that this process may use. A number set by the user has precedence.
    """
    import torch

    usual = torch.get_num_threads()
    if any(os.environ.get(name) for name in COUNTS):
        return usual
    return max(1, usual // (1 + others) // processes)


@contextmanager
def among_trainings() -> Iterator[int]:
    """Count as one of this user's trainings on this machine while the block runs; yield the number of others.

    Each holds a lock on its own file, which the system releases when the process dies.
    """
    from filelock import FileLock

    folder = _register()
    if folder is None:
        yield 0
        return
    lock = FileLock(folder / f"{os.getpid()}-{threading.get_ident()}.lock", is_singleton=True)
    with suppress(OSError):  # train even if it cannot be counted
        lock.acquire()
    path = Path(lock.lock_file)
    try:
        yield sum(_is_held(other) for other in folder.glob("*.lock") if other != path)
    finally:
        lock.release()
        if not lock.is_locked:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # unless others train
            folder.rmdir()


def _register() -> Path | None:
    """This user's folder of locks among the machine's temporary files; None if it cannot be used."""
    folder = Path(tempfile.gettempdir()) / f"velatura-trainings-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        trusted = not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()
    except OSError:
        return None
    return folder if trusted else None


def _is_held(path: Path) -> bool:
    """Whether a training holds this lock; removes the file of a dead process."""
    import psutil
    from filelock import FileLock, Timeout

    try:
        with FileLock(path, timeout=0):
            pass
    except Timeout:
        return True
    except OSError:
        return False
    number = path.stem.partition("-")[0]
    if number.isdecimal() and not psutil.pid_exists(int(number)):
        path.unlink(missing_ok=True)
    return False
