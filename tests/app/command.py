"""The command line as tests use it: in this process where that is quick, as a real process where that is the point."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.cli import main
from tests.forked import ForkedProcess

FEW_STEPS = ("--steps", "2", "--set", "sample.steps=2")


@dataclass(frozen=True)
class Outcome:
    """How a command ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def call(*arguments: object) -> Outcome:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main.main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
    return Outcome(int(code or 0), out.getvalue(), err.getvalue())


def process(*arguments: object, cwd: Path, library: Path | None = None, **variables: str) -> Outcome:
    """Run a command as a process of its own, with more environment variables if given, or another `trainers`.

    It is forked with everything imported, which takes seconds each time.
    """
    with begun(*arguments, cwd=cwd, library=library, **variables) as command:
        return command.outcome()


def fresh_process(*arguments: object, cwd: Path, python: tuple[str, ...] = ()) -> Outcome:
    """Run a command as a process that imports its libraries itself, as those of people do."""
    done = subprocess.run(
        [sys.executable, *python, "-m", "app.cli", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=240,
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


class Command:
    """A command that runs in a process of its own; its output lies in a folder."""

    def __init__(self, words: list[str], folder: Path, variables: dict[str, str]) -> None:
        self._folder = folder
        self._process = ForkedProcess("tests.app.forked_command", words, folder / "log", variables)

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.is_running()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def outcome(self) -> Outcome:
        """How it ends, as soon as it does."""
        return Outcome(self._process.wait(), self._read("out"), self._read("err"))

    def close(self) -> None:
        """End it if it has not ended."""
        self._process.close()

    def _read(self, name: str) -> str:
        files = [self._folder / each for each in (name, "log")]  # what went wrong before the command is in its log
        return "".join(file.read_bytes().decode() for file in files if file.exists())


@contextlib.contextmanager
def begun(*arguments: object, cwd: Path, library: Path | None = None, **variables: str) -> Iterator[Command]:
    """A command that runs in a process of its own, as in `process`; ended at the end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = {"cwd": f"{cwd}", "library": f"{library or ''}", "out": f"{folder}/out", "err": f"{folder}/err"}
        words = [json.dumps(options), *map(str, arguments)]
        command = Command(words, folder, variables)
        try:
            yield command
        finally:
            command.close()


def commands() -> dict[str, Any]:
    """Every command by what is typed after `velatura`."""

    def below(group: Any, words: str) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            yield f"{words}{name}", command
            if hasattr(command, "commands"):
                yield from below(command, f"{words}{name} ")

    return dict(below(main.command_tree(), ""))


def parse(words: list[str]) -> str:
    """Check the words after `velatura` against the options there are; the name of the command they call.

    Raises typer's usage error where an option or command does not exist, or something is missing.
    """
    known = commands()
    name = max((name for name in known if words[: len(name.split())] == name.split()), key=len, default="")
    assert name, f"there is no command {words[:1]}"
    command = known[name]
    command.make_context(name, words[len(name.split()) :])
    return name


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file of a folder with its bytes, and every sub-folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
