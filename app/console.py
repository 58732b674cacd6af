"""What the command line shows: tables, words, sizes; data on standard output, all else on standard error."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

READABLE = {"\n", "\t"}


def write_what_fits() -> None:
    """Let a terminal or pipe that cannot show a letter show `?` instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def answers() -> Console:
    """Where tables and findings go; names and words of users are shown as they are, not read as markup."""
    return Console(highlight=False, markup=False, emoji=False)


def notes() -> Console:
    """Where words for people go."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def say(*pieces: str | tuple[str, str]) -> None:
    """One line for people from pieces of text, each plain or with a style."""
    notes().print(line(*pieces))


def line(*pieces: str | tuple[str, str]) -> Text:
    """Pieces of text, each plain or with a style, as one."""
    safe = ((printable(piece), "") if isinstance(piece, str) else (printable(piece[0]), piece[1]) for piece in pieces)
    return Text.assemble(*safe)


def printable(text: str) -> str:
    """Text without what a terminal would obey: file names and metadata come from strangers."""
    return "".join(letter if letter.isprintable() or letter in READABLE else "�" for letter in text)


def print_json(data: Any) -> None:
    """One JSON value on one line of standard output, in ASCII so that it survives any encoding."""
    sys.stdout.write(json.dumps(data, default=str) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on standard output; what is too long for its column is folded, never cut."""
    table = Table(header_style="bold")
    for column in columns:
        table.add_column(line(column), overflow="fold")
    for row in rows:
        table.add_row(*(line(str(cell)) for cell in row))
    answers().print(table)


def readable_size(count: int) -> str:
    """Bytes as people read them, in units of 1000 as file managers show."""
    value = float(count)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
