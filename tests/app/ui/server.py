"""`velatura ui` as a process."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Process:
    """A studio that runs by itself until it is stopped; `url` is where it answers.

    `before` is code that its process runs first.
    """

    def __init__(self, out: Path, *options: str, before: str = "", **variables: str) -> None:
        self.out, self.options, self.variables = out, options, variables
        self.begin = ("-c", f"{before}\nfrom app.cli.main import main\nmain()") if before else ("-m", "app.cli")
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self, port: int | None = None) -> None:
        """Start it, at the port it had if that is given, and wait until it says where it is.

        Its first port is one that the system gives, not the first that is free: another test's studio would take that
        while this one is down.
        """
        self.log = self.out.with_suffix(".log")
        command = [sys.executable, *self.begin, "ui", "--out", str(self.out), *self.options]
        command += ["--port", str(port or free_port())]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | self.variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + 120
        while not (found := re.search(r"http://\S+:(\d+)/", self.said())):
            assert self.process.poll() is None and time.monotonic() < end, self.said()
            time.sleep(0.1)
        self.url, self.port = found[0].replace("0.0.0.0", "127.0.0.1"), int(found[1])

    def said(self) -> str:
        """What it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self, hard: bool = False) -> None:
        """Stop it as a system does, or kill it."""
        self.process.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
        self.process.wait(timeout=60)
        assert hard or self.process.returncode == 0, self.said()
