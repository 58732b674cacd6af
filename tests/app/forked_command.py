"""A command forked with everything imported: `python -m tests.app.forked_command OPTIONS WORD …` is `velatura WORD …`.

`OPTIONS` is a JSON table: the folder that it works in, the files for its output, and where the library lies if it is
another one than this. The server of a worker's jobs is forked from it in turn.
"""

from __future__ import annotations

import json
import os
import signal
import sys


def replace_output(number: int, path: str) -> None:
    """Let standard output or error be a file, in the encoding that Python would take at its start."""
    stream = (sys.stdin, sys.stdout, sys.stderr)[number]
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, number)
    os.close(file)
    encoding, errors = os.environ.get("PYTHONIOENCODING", "utf-8"), ("strict", "backslashreplace")[number - 1]
    stream.reconfigure(encoding=encoding, errors=errors, line_buffering=True)  # type: ignore[union-attr]


def forget_library(place: str) -> None:
    """Let `app` and `trainers` be imported anew, from another folder first."""
    sys.path.insert(0, place)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("app", "trainers")]:
        del sys.modules[name]


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell takes it from what it runs in the background
    os.chdir(options["cwd"])
    replace_output(1, options["out"])
    replace_output(2, options["err"])
    if options["library"]:
        forget_library(options["library"])
    elif "worker" in sys.argv:
        from app.studio import job_modules
        from tests.forked import fork_a_server

        server = fork_a_server()
        vars(job_modules)["job_server"] = lambda: server
    from app.cli.main import main

    main(sys.argv[2:])
