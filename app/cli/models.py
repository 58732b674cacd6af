"""Base models: `velatura models` and `velatura models get`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from app.cli.common.console import notes, print_json, print_table, say
from app.cli.common.options import Json
from app.units import readable_size

commands = typer.Typer()
models_app = typer.Typer(help="List the base models on this machine, or download one.", invoke_without_command=True)
commands.add_typer(models_app, name="models", epilog="Example: velatura models")


@models_app.callback()
def models(context: typer.Context, json: Json = False) -> None:
    """List the base models on this machine."""
    if context.invoked_subcommand is None:
        show_models(json)


@models_app.command("get", epilog="Example: velatura models get stable-diffusion-v1-5/stable-diffusion-v1-5")
def get_model(identifier: Annotated[str, typer.Argument(metavar="ID", help="Hub id: owner/name.")]) -> None:
    """Download a base model from the hub."""
    download(identifier)


def show_models(as_json: bool) -> None:
    """Print the base models found on this machine."""
    from trainers.models.files.find import find_models

    rows = [
        {"name": found.name, "family": found.family.name, "kind": found.kind, "path": str(found.path)}
        for found in find_models()
    ]
    if as_json:
        print_json(rows)
        return
    # A model found by its path has the path as its name: show it once.
    shown = [(*list(row.values())[:3], "" if row["path"] == row["name"] else row["path"]) for row in rows]
    print_table(("model", "family", "kind", "path"), shown)
    say("use one with --base MODEL; download one with: velatura models get OWNER/NAME")


def download(identifier: str) -> None:
    """Download a base model from the hub, with a progress bar."""
    from trainers.models.files.download import download_model

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = notes()
    if not console.is_terminal:
        say(f"downloading {identifier}")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(identifier, total=None)
        path = download_model(identifier, lambda done, total: bar.update(task, completed=done, total=total))
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    say(f"{identifier} is downloaded ({readable_size(size)}): train on it with --base {identifier}")
