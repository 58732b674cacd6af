"""`velatura …`: the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import typer

from app.cli import dataset, export, generate, installation, methods, models, queue, styles, train, ui, worker
from app.cli.accounts import audit, tokens
from app.cli.accounts import commands as people
from app.cli.common.command import use_command_class
from app.cli.common.console import say, write_what_fits
from app.cli.integrations import import_settings, install, launch, push
from app.cli.sweeps import sweep
from app.errors import sentence
from app.startup import prepare_process
from trainers.errors import VelaturaError

app = typer.Typer(
    name="velatura",
    help="Train a style for Stable Diffusion from a few images.",
    epilog="Example: velatura train --images my-paintings --name dusk --preset lora",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


for group in (
    *(train, import_settings, dataset, generate, styles, models, methods, export, push, install, launch),
    *(queue, sweep, worker, ui, installation, people, tokens, audit),
):
    app.add_typer(group.commands)
use_command_class(app)


def show_version(wanted: bool) -> None:
    """Print the version and exit, if requested."""
    if wanted:
        from importlib.metadata import version

        print(f"velatura {version('velatura')}")
        raise typer.Exit


@app.callback()
def settings_for_all(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the full traceback of errors (anywhere on the line).")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """`main` removes `--debug` before parsing; it is declared here for the help text."""


@cache
def command_tree() -> Any:
    """Every command with its options, which typer reads from the functions' signatures; cached."""
    return typer.main.get_command(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; an error is one sentence on standard error, and an exit code other than 0."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    prepare_process()
    write_what_fits()
    try:
        words = [word for word in words if word != "--debug"]
        command_tree()(words, prog_name="velatura", obj=words)  # which `velatura ui --background` says again
    except Exception as error:  # unexpected errors become a sentence, too
        if debug:
            raise
        say(("error:", "bold red"), f" {sentence(error)}")
        sys.exit(1 if isinstance(error, VelaturaError) else 2)
