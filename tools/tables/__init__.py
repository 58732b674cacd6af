"""Tables of the documentation that repeat the code, written by `python -m tools.tables`.

A page marks the place of a table with `<!-- table: NAME -->` above it and `<!-- end -->` below.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tools.tables.bases import families, known_bases, other_bases, recommended
from tools.tables.commands import commands, queue_commands
from tools.tables.generation import generation_options
from tools.tables.kohya import kohya_names
from tools.tables.methods import methods, presets, techniques
from tools.tables.programs import programs
from tools.tables.settings import settings
from tools.tables.styles import ways
from trainers.errors import VelaturaError

DOCS = Path(__file__).parents[2] / "docs"
MARKED = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
COMMAND = "python -m tools.tables"

TABLES: Mapping[str, Callable[[], list[str]]] = {
    "methods": methods,
    "techniques": techniques,
    "presets": presets,
    "settings": settings,
    "commands": commands,
    "queue-commands": queue_commands,
    "generation-options": generation_options,
    "ways": ways,
    "kohya": kohya_names,
    "families": families,
    "known-bases": known_bases,
    "recommended-settings": recommended,
    "other-bases": other_bases,
    "programs": programs,
}


def write_tables(folder: Path = DOCS) -> list[Path]:
    """Rewrite the tables of all pages in a folder; returns the pages that changed."""
    changed = list(_outdated(folder))
    for page, text in changed:
        page.write_text(text, encoding="utf-8")
    return [page for page, _ in changed]


def stale_pages(folder: Path = DOCS) -> list[Path]:
    """The pages in a folder with a table that differs from the code."""
    return [page for page, _ in _outdated(folder)]


def fill(text: str) -> str:
    """A page with its tables as the code has them; VelaturaError for a table that does not exist."""
    return MARKED.sub(lambda block: f"{block[1]}\n{_table(block['name'])}\n\n{block[3]}", text)


def _outdated(folder: Path) -> Iterator[tuple[Path, str]]:
    for page in sorted(folder.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (current := fill(text)) != text:
            yield page, current


def _table(name: str) -> str:
    if name not in TABLES:
        raise VelaturaError("there is no table {name!r}; available are {known}", name=name, known=", ".join(TABLES))
    return "\n".join(TABLES[name]()).strip()
