"""The command line as tests use it: in this process where that is quick, as a real process where that is the point."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from app.cli import main

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


def process(*arguments: object, cwd: Path, python: tuple[str, ...] = (), **variables: str) -> Outcome:
    """Run a command as a process of its own, with more environment variables if given."""
    done = subprocess.run(
        command_line(*arguments, python=python),
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=240,
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def command_line(*arguments: object, python: tuple[str, ...] = ()) -> list[str]:
    """The arguments of a process that is a command."""
    return [sys.executable, *python, "-m", "app.cli", *map(str, arguments)]


def commands() -> dict[str, Any]:
    """Every command by what is typed after `velatura`."""

    def below(group: Any, words: str) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            yield f"{words}{name}", command
            if hasattr(command, "commands"):
                yield from below(command, f"{words}{name} ")

    return dict(below(typer.main.get_command(main.app), ""))


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
