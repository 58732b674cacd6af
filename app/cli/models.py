"""Base models: `velatura models` and `velatura models get`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from app.cli.common.console import notes, print_json, print_table, say, warn_of_starter
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
def get_model(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Hub id: owner/name.")],
    t5: Annotated[bool, typer.Option("--t5", help="Also get what a base can do without: T5 of SD 3, 10 GB.")] = False,
) -> None:
    """Download a base model from the hub."""
    download(identifier, t5)


def show_models(as_json: bool) -> None:
    """Print the base models model on this machine."""
    from trainers.models.bases.find import find_models, find_other_models
    from trainers.models.bases.recognise import describe

    models = find_models()
    warn_of_starter()
    rows = [
        {
            "name": model.name,
            "family": model.family.name,
            "known_as": model.known.named.title if model.known.named is not None else None,
            "known_by": model.known.named_by,
            "distilled": model.known.distilled or None,
            "distilled_by": model.known.distilled_by,
            "kind": model.kind,
            "path": str(model.path),
        }
        for model in models
    ]
    if as_json:
        print_json(rows)
        return
    # A model model by its path has the path as its name: show it once.
    shown = [
        (model.name, model.family.name, describe(model.known), model.kind, "" if path == model.name else path)
        for model, path in ((model, str(model.path)) for model in models)
    ]
    print_table(("model", "family", "known as", "kind", "path"), shown)
    say("use one with --base MODEL; download one with: velatura models get OWNER/NAME")
    for reason in find_other_models().values():
        say(reason)


def is_base(path: Path) -> bool:
    """Whether a file or folder looks like a base model; does not import torch."""
    from trainers.errors import VelaturaError
    from trainers.models.bases.detect import is_style
    from trainers.models.families import FAMILIES
    from trainers.models.files.header import read_header
    from trainers.models.files.hub import DENOISERS
    from trainers.models.files.other_bases import INDEXES, other_in_file

    if path.is_dir():
        return any((path / name).is_file() for name in INDEXES) or any((path / name).is_dir() for name in DENOISERS)
    try:
        shapes = read_header(path).shapes if path.is_file() else {}
    except VelaturaError:
        return False
    if any(family.owns_file(shapes) for family in FAMILIES):
        return True
    return not is_style(shapes) and other_in_file(shapes) is not None


def show_base(path: Path, as_json: bool) -> None:
    """Print the family, prediction type and recognised name of a base model, with the evidence."""
    from trainers.models.bases.recognise import describe, licence_of, recognise, warning_of
    from trainers.models.families import get_family

    known = recognise(path)
    family, named = get_family(known.family), known.named
    if as_json:
        facts = {"base": path, "family": family.name, "prediction": known.prediction}
        if known.variant is not None and known.variant.licence is not None:
            facts["licence"] = known.variant.licence.name
        facts |= {"known_as": named.title if named is not None else None, "known_by": known.named_by}
        print_json(facts | {"distilled": known.distilled or None, "distilled_by": known.distilled_by})
        return
    rows = {
        "family": family.title,
        "known as": describe(known) or "–",
        "predicts": known.prediction or "not in the file: its network is tested before training",
        "size": readable_size(sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")))),
    }
    print_table(("", path.name), rows.items())
    if licence := licence_of(known):
        say(licence)
    if warning := warning_of(known):
        say((warning, "yellow"))


def download(identifier: str, complete: bool = False) -> None:
    """Download a base model from the hub, with a progress bar; with `complete`, optional files, too."""
    from trainers.models.files.download import check_id, download_model

    check_id(identifier)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = notes()
    if not console.is_terminal:
        say(f"downloading {identifier}")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(identifier, total=None)
        path = download_model(
            identifier, lambda done, total: bar.update(task, completed=done, total=total), complete=complete
        )
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    say(f"{identifier} is downloaded ({readable_size(size)}): train on it with --base {identifier}")
