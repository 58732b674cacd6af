"""The page on the breaks: what each would cost, and the test that found it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.breaks.rows import BREAKS, GROUPS
from tools.markdown import table

PAGE = Path("docs") / "breaks.md"
NOTHING = "nothing"
HEAD = """# Deliberate breaks

`make breaks` puts each of these defects into a copy of the tree, one at a time, and runs the tests that `tests/breaks`
names for it until one fails, so `make test` would find each defect, too; *Slow* ones take a browser or a process.
`python -m tests.breaks --only NAME` tries one and updates its row."""


def write_page(found: Mapping[str, str]) -> str:
    """The page, from the test that found each break, by its name; "" where none did."""
    lines = [HEAD, "", f"Written by `make breaks`: {sum(map(bool, found.values()))} of {len(BREAKS)} found."]
    for title, group in GROUPS.items():
        rows = [(f"`{one.name}`", one.cost, f"`{found[one.name]}`" if found[one.name] else NOTHING) for one in group]
        lines += ["", f"## {title}", "", *table(("break", "what somebody would lose", "found by"), rows)]
    return "\n".join(lines) + "\n"


def read_page(text: str) -> dict[str, tuple[str, str]]:
    """Cost and finder of each break on a page, by its name."""
    rows = re.findall(r"^\| `([\w-]+)` \| (.+) \| `?([^`|]+?)`? \|$", text, re.MULTILINE)
    return {name: (cost, finder) for name, cost, finder in rows}
