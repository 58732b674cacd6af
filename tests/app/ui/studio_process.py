"""The process of a studio: `python -m tests.app.ui.studio_process BEFORE WORD …` is `velatura WORD …` after some code.

Where it was forked with everything imported, the server of its jobs is forked from it in turn.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress

import psutil

from app.cli.main import main
from app.jobs.processes import fork_server_process
from app.jobs.processes.fork_server import IDLE, ForkServer, Server
from app.studio import studio_queue
from tests.app.ui.slow_answers import answer_slowly_if_asked
from tests.quick_exit import run_and_exit
from tests.quick_passwords import hash_quickly


def fork_a_server() -> ForkServer:
    """A server of jobs that need not import anything; to be made while this process has one thread."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if not pid:
        os.setsid()
        ours.close()
        # It comes back as the server, or as a job that was forked from it.
        run_and_exit(lambda: fork_server_process.main(str(theirs.detach()), str(IDLE)))
    theirs.close()
    return ForkServer(server=Server(ours, _Process(pid)))


class _Process(psutil.Process):
    """A forked child, as `subprocess.Popen` shows one."""

    def poll(self) -> int | None:
        try:
            return int(self.wait(0) or 0)
        except psutil.TimeoutExpired:
            return None

    def kill(self) -> None:
        with suppress(psutil.NoSuchProcess):
            super().kill()


if __name__ == "__main__":
    before, *words = sys.argv[1:]
    exec(before)
    answer_slowly_if_asked()
    if "trainers.training.train" in sys.modules:
        hash_quickly()
        server = fork_a_server()
        vars(studio_queue)["job_server"] = lambda: server
    main(words)
