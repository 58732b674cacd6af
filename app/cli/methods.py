"""`velatura methods` and `velatura presets`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from app.cli.common.console import answers, print_json, print_paragraphs, print_table, say
from app.cli.common.options import Json, runs_folder

commands = typer.Typer()

LETTERS = (
    "in, out: widths of a layer; k: kernel size, 1 without a kernel; r: rank; u v: factors of the widths; b: block "
    "size; m: width of an adapter, number of factors in BOFT; n: number of tokens, each d or in_text wide"
)
WIDE = 130
"""Terminal width from which a table is easier to read than paragraphs."""


@commands.command(epilog="Example: velatura methods --json")
def methods(json: Json = False) -> None:
    """List the methods: paper, number of parameters, where they act, what they are good for."""
    from trainers.config.techniques import list_techniques

    techniques = list_techniques()
    if json:
        print_json([asdict(technique) for technique in techniques])
        return
    heads = ("method", "paper", "parameters per layer", "places", "good for")
    rows = [
        (technique.name, technique.paper, technique.parameters, ", ".join(technique.places), technique.summary)
        for technique in techniques
    ]
    if answers().width >= WIDE:
        print_table(heads, rows)
    else:
        print_paragraphs(heads, rows)
    say(LETTERS)
    say("use one with --preset METHOD; --json also gives the setting that turns it on")


@commands.command(epilog="Example: velatura presets")
def presets(json: Json = False) -> None:
    """List the presets and what each is good for; last those that were saved in the studio without logins."""
    from app.studio.paths import Paths
    from app.studio.settings.gather import RECOMMENDED
    from app.studio.settings.own_presets import OwnPresets
    from app.studio.settings.plan import choice_layers
    from trainers.config.presets import list_presets
    from trainers.config.tables import lay_over
    from trainers.config.techniques import techniques_in

    rows = [{"name": p.name, "method": techniques_in(p.settings), "summary": p.summary} for p in list_presets()]
    for own in OwnPresets(Paths(runs_folder(None))).list(""):
        method = "" if own.problem else techniques_in(lay_over(*choice_layers(own.choices(), {})))
        rows.append({"name": own.name, "method": method, "summary": own.problem or "One of your own"})
    if json:
        print_json(rows)
    else:
        print_table(("preset", "method", "good for"), [(*row.values(),) for row in rows])
        say(f"--preset {RECOMMENDED} takes the settings that others published for the base, where some are known")
