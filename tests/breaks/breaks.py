"""Deliberate breaks of a copy of the tree, and the test that finds each first."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MARKS = "not thorough"
"""The tests of `make test`."""
LEFT_OUT = (".git", ".venv", ".hypothesis", ".*_cache", "*.egg-info", "__pycache__", "outputs", "build", "dist")
LONGEST = 600
"""Seconds that tests may take."""
PASSED, FAILED = 0, 1
"""Exit codes of pytest. Anything else says that tests could not run."""


class NotRunError(Exception):
    """Tests could not run at all; the message is what pytest printed."""


@dataclass(frozen=True)
class Break:
    """A defect: a text in a source file, and the wrong one that takes its place."""

    name: str
    file: str
    """Path from the root of the tree."""
    old: str
    """Text that occurs once in the file."""
    new: str
    cost: str
    """What somebody would lose, as a clause."""
    tests: tuple[str, ...]
    """Node ids of which at least one must fail."""

    def put_into(self, text: str) -> str:
        """The file's text with the defect. Raises ValueError unless the old text occurs once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: its old text occurs {text.count(self.old)} times in {self.file}")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Copy:
    """A copy of the tree, in which defects do no harm."""

    root: Path

    @contextmanager
    def broken(self, one: Break) -> Iterator[None]:
        """The copy with one defect, temporarily."""
        path = self.root / one.file
        before, text = path.stat(), path.read_text(encoding="utf-8")
        path.write_text(one.put_into(text), encoding="utf-8")
        # Compiled modules know their source by its size and by the second of its last change.
        os.utime(path, (before.st_atime, before.st_mtime + 2))
        try:
            yield
        finally:
            path.write_text(text, encoding="utf-8")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # what was compiled of it is valid again

    def first_failure(self, tests: Sequence[str], keeps_bytecode: bool = False) -> str:
        """Run tests until one fails: its node id without parameters, or "" if all pass.

        Raises NotRunError if there are none, or they cannot be imported, or take too long.
        """
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider", "-m", MARKS, *tests]
        own = {"PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
        own["PYTHONDONTWRITEBYTECODE"] = "" if keeps_bytecode else "1"  # nothing compiled of a defect may stay
        try:
            done = subprocess.run(
                command,
                cwd=self.root,
                env=os.environ | own,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                timeout=LONGEST,
            )
        except subprocess.TimeoutExpired as error:
            raise NotRunError(f"the tests did not end within {LONGEST} s: {' '.join(tests)}") from error
        if done.returncode not in (PASSED, FAILED):
            raise NotRunError(done.stdout)
        return first_failed(done.stdout) if done.returncode == FAILED else ""


@contextmanager
def copied(tree: Path, place: Path) -> Iterator[Copy]:
    """A copy of a tree in a new folder, which is deleted at the end."""
    shutil.copytree(tree, place, ignore=shutil.ignore_patterns(*LEFT_OUT))
    try:
        yield Copy(place)
    finally:
        shutil.rmtree(place)


def first_failed(printed: str) -> str:
    """The node id, without parameters, of the first test in pytest's summary that failed."""
    found = re.search(r"^(?:FAILED|ERROR) (\S+\.py::[^\s\[]+)", printed, re.MULTILINE)
    if found is None:
        raise NotRunError(printed)
    return found[1]
