"""Waiting for processes that tests have started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from app.jobs.processes.process import Child, Identity, own_identity
from tests.waiting import wait_until


def identity_in(file: Path) -> Identity:
    """Who the `sleeper` is that writes into this file, as soon as it has."""
    wait_until(lambda: file.exists() and file.read_text().endswith("\n"), "the child said nothing")
    pid, started = file.read_text().split()[:2]
    return replace(own_identity(), pid=int(pid), started=float(started))


def end_of(child: Child) -> int:
    """A child's exit code, as soon as it has ended."""
    wait_until(lambda: child.exit_code() is not None, "the child does not end")
    code = child.exit_code()
    assert code is not None
    return code
