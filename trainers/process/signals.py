"""Ctrl-C, SIGTERM and SIGHUP: a stop request inside the training loop, an interrupt outside it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Handler = Callable[[int, Any], None]


@contextmanager
def asking_to_stop(ask: Callable[[str], bool]) -> Iterator[None]:
    """Call `ask` with the signal's name on Ctrl-C, SIGTERM and SIGHUP; interrupt if it returns False.

    SIGHUP stays ignored if it is, as under `nohup`.
    """

    def handle(number: int, frame: Any) -> None:
        if not ask(signal.Signals(number).name):
            raise KeyboardInterrupt

    handlers: dict[signal.Signals, Handler] = {signal.SIGINT: handle, signal.SIGTERM: handle}
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        handlers[signal.SIGHUP] = handle
    with _handling(handlers):
        yield


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Make SIGTERM raise KeyboardInterrupt like Ctrl-C, which removes partial files."""

    def handle(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    with _handling({signal.SIGTERM: handle}):
        yield


@contextmanager
def _handling(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
