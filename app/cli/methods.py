"""What a style can be trained with: `velatura methods` and `velatura presets`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from app.cli.common.console import answers, print_json, print_paragraphs, print_table, say
from app.cli.common.options import Json

commands = typer.Typer()

LETTERS = (
    "in, out: a layer's widths; k: the side of its kernel, 1 where it has none; r: the rank; u v: the widths, each as "
    "a product of two; b: the block size; m: an adapter's width, of BOFT the number of its factors; n: tokens, each d "
    "or in_text numbers wide"
)
WIDE = 130
"""Columns from which on a table of five is easier to read than a paragraph for each of its rows."""


@commands.command(epilog="Example: velatura methods --json")
def methods(json: Json = False) -> None:
    """List the methods: where each comes from, how many numbers it trains, where it sits, what it is good at."""
    from trainers.config.techniques import list_techniques

    techniques = list_techniques()
    if json:
        print_json([asdict(one) for one in techniques])
        return
    heads = ("method", "paper", "numbers a layer", "places", "what for")
    rows = [(one.name, one.paper, one.parameters, ", ".join(one.places), one.summary) for one in techniques]
    if answers().width >= WIDE:
        print_table(heads, rows)
    else:
        print_paragraphs(heads, rows)
    say(LETTERS)
    say("use one with --preset METHOD; --json also says which setting turns it on")


@commands.command(epilog="Example: velatura presets")
def presets(json: Json = False) -> None:
    """List the presets and what each is good at."""
    from trainers.config.presets import list_presets
    from trainers.config.techniques import techniques_in

    rows = [{"name": p.name, "method": techniques_in(p.settings), "summary": p.summary} for p in list_presets()]
    if json:
        print_json(rows)
    else:
        print_table(("preset", "method", "what for"), [(*row.values(),) for row in rows])
