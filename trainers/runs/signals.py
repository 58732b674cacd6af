"""Ctrl-C and SIGTERM: in the loop they ask for an orderly end, before and after it they undo what is half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Handler = Callable[[int, Any], None]


@contextmanager
def asking_to_stop(ask: Callable[[str], bool]) -> Iterator[None]:
    """Call `ask` with the signal's name at Ctrl-C and SIGTERM; where it answers False, interrupt at once."""

    def handle(number: int, frame: Any) -> None:
        if not ask(signal.Signals(number).name):
            raise KeyboardInterrupt

    with _handling({signal.SIGINT: handle, signal.SIGTERM: handle}):
        yield


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt as Ctrl-C does, so that whatever is half written is taken away."""

    def handle(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    with _handling({signal.SIGTERM: handle}):
        yield


@contextmanager
def _handling(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may have handlers
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
