"""Output of the command line: data on standard output, everything else on standard error."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

READABLE = {"\n", "\t"}


def write_what_fits() -> None:
    """Write `?` for characters that a terminal or pipe cannot encode, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def answers() -> Console:
    """The console for data on standard output; users' text is not parsed as markup."""
    return Console(highlight=False, markup=False, emoji=False)


def notes() -> Console:
    """The console for messages on standard error."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def say(*pieces: str | tuple[str, str]) -> None:
    """Print one message from pieces of text, each plain or with a style."""
    notes().print(line(*pieces))


def warn_of_starter() -> None:
    """Warn if VELATURA_STARTER points to no starter; commands without it go on."""
    from trainers.errors import VelaturaError
    from trainers.models.bases.find import find_starter

    try:
        find_starter()
    except VelaturaError as error:
        say(("warning:", "bold yellow"), f" {error.message}")


def line(*pieces: str | tuple[str, str]) -> Text:
    """Pieces of text, each plain or with a style, as one `Text`."""
    safe = ((printable(piece), "") if isinstance(piece, str) else (printable(piece[0]), piece[1]) for piece in pieces)
    return Text.assemble(*safe)


def printable(text: str) -> str:
    """Text without control characters; file names and metadata are untrusted."""
    return "".join(letter if letter.isprintable() or letter in READABLE else "�" for letter in text)


def print_json(data: Any) -> None:
    """Print one JSON value as a line on standard output, in ASCII so that it survives any encoding."""
    sys.stdout.write(json.dumps(data, default=str) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on standard output; long cells wrap, within a word only if necessary."""
    cells = [[line(str(cell)) for cell in row] for row in rows]
    console, table = answers(), Table(header_style="bold")
    heads = [line(column) for column in columns]
    widths = _widths(list(zip(heads, *cells, strict=True)), console.width - 3 * len(heads) - 1)
    for head, width in zip(heads, widths, strict=True):
        table.add_column(head, overflow="fold", width=width)
    for row in cells:
        table.add_row(*row)
    console.print(table)


def print_paragraphs(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a wide table row by row: the first cell, the last, then the others with their headings."""
    console = answers()
    for first, *middle, last in rows:
        console.print(line(first), style="bold")
        facts = " · ".join(f"{head}: {cell}" for head, cell in zip(heads[1:-1], middle, strict=True))
        for words in (last, facts):
            console.print(Padding(line(words), (0, 0, 0, 4)))


def _widths(columns: Sequence[Sequence[Text]], room: int) -> list[int | None]:
    """Column widths that wrap only between words, if `room` is large enough for that."""
    least = [max(cell_len(word) for cell in column for word in (cell.plain.split() or [""])) for column in columns]
    most = [max(cell.cell_len for cell in column) for column in columns]
    spare, wanted = room - sum(least), sum(most) - sum(least)
    if spare < 0 or spare >= wanted:
        return [None] * len(columns)
    return [low + spare * (high - low) // wanted for low, high in zip(least, most, strict=True)]
