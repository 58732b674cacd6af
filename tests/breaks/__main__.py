"""python -m tests.breaks [--only NAME]: break a copy of the tree again and again, and write docs/breaks.md."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from tests.breaks.breaks import Break, Copy, NotRunError, copied
from tests.breaks.page import NOTHING, PAGE, read_page, write_page
from tests.breaks.rows import BREAKS

ROOT = Path(__file__).parents[2]


def main(
    only: Annotated[list[str] | None, typer.Option("--only", help="Try only this break; repeatable.")] = None,
) -> None:
    """Try breaks and write what was found into the page. Exits with 1 if a break is not found."""
    unknown = set(only or ()) - {one.name for one in BREAKS}
    if unknown:
        sys.exit(f"there is no break {', '.join(sorted(unknown))}; docs/breaks.md lists them")
    breaks = [one for one in BREAKS if not only or one.name in only]
    with tempfile.TemporaryDirectory(prefix="velatura-breaks-") as folder, copied(ROOT, Path(folder, "tree")) as copy:
        try:
            check_unbroken(copy, breaks)
            found = {one.name: finder_of(copy, one) for one in breaks}
        except NotRunError as error:
            sys.exit(str(error))
    page = ROOT / PAGE
    known = read_page(page.read_text(encoding="utf-8"))
    finders = {name: finder for name, (_, finder) in known.items() if finder != NOTHING} | found
    page.write_text(write_page({one.name: finders.get(one.name, "") for one in BREAKS}), encoding="utf-8")
    missed = [name for name, finder in found.items() if not finder]
    print(f"{len(found) - len(missed)} of {len(found)} found" + (f"; not found: {', '.join(missed)}" if missed else ""))
    sys.exit(bool(missed))


def check_unbroken(copy: Copy, breaks: list[Break]) -> None:
    """Run the tests of all breaks once on the copy as it is. Raises NotRunError if one fails."""

    def place(test: str) -> tuple[str, int]:
        """Where it stands: tests of a module may build on one another."""
        path, name = test.split("::")
        return path, (ROOT / path).read_text(encoding="utf-8").find(f"def {name.partition('[')[0]}(")

    tests = sorted({test for one in breaks for test in one.tests}, key=place)
    if failed := copy.first_failure(tests, keeps_bytecode=True):
        raise NotRunError(f"{failed} fails without any break; mend that first")


def finder_of(copy: Copy, one: Break) -> str:
    """The test that finds a break, "" if none does; also printed."""
    began = time.monotonic()
    with copy.broken(one):
        found = copy.first_failure(one.tests)
    print(f"{one.name:24} {time.monotonic() - began:5.1f} s  {found or 'NOT FOUND'}", flush=True)
    return found


if __name__ == "__main__":
    typer.run(main)
