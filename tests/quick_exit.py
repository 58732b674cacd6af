"""Exits that cost tests nothing: `python -m tests.quick_exit MODULE WORD …` is `python -m MODULE WORD …`."""

from __future__ import annotations

import atexit
import os
import runpy
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn


def run_and_exit(run: Callable[[], Any]) -> NoReturn:
    """Run it and exit as Python does, but without taking all modules apart.

    That takes a forked process up to half a second, since it copies every page that it shares. What goes wrong in
    Python's own end shows in processes that are started `fresh` alone.
    """
    code = 0
    try:
        run()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except Exception:  # noqa: BLE001 (it is reported as Python does)
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _, module, *sys.argv[1:] = sys.argv
    run_and_exit(lambda: runpy.run_module(module, run_name="__main__", alter_sys=True))
