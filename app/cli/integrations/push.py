"""`velatura push`: publish a style on the hub."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from app.cli.common.console import print_json, say
from app.cli.common.options import Json, Overwrite, RunFolder
from app.cli.export import tell_step
from app.units import readable_size
from trainers.errors import VelaturaError

commands = typer.Typer()

WHO_SEES_IT = "May everybody on the hub see it? If not, only you can, and you may change that there later"


@commands.command(epilog="Example: velatura push outputs/dusk --to hub:ann/dusk --licence cc-by-4.0")
def push(
    run: RunFolder,
    to: Annotated[str, typer.Option("--to", metavar="hub:USER/NAME", help="Repository on the hub.")],
    public: Annotated[
        bool | None, typer.Option("--public/--private", help="Who may see it; asked if not given, else private.")
    ] = None,
    licence: Annotated[
        str, typer.Option("--licence", metavar="ID", help="Licence, such as cc-by-4.0; default the style file's.")
    ] = "",
    update: Annotated[bool, typer.Option("--update", help="Publish to a repository that exists.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Upload nothing; write the folder.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for --dry-run; default NAME-hub.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Publish a run's style, its pictures and a model card on the hub, private unless you say otherwise."""
    from app.studio.publishing.card import check_repository
    from app.studio.publishing.content import PublishChoices, write_folder
    from app.studio.publishing.hub import Upload, upload_folder
    from app.studio.runs.chosen import starred_step
    from trainers.atomic_files import plain_disk_errors
    from trainers.runs.run import open_run

    choice = PublishChoices(check_repository(to), licence.strip())
    folder = open_run(run).folder
    if dry_run:
        place = _free_folder(out or Path(f"{folder.resolve().name}-hub"), overwrite)
        with plain_disk_errors(place / "README.md"):
            _report(place, write_folder(folder, choice, place), json)
        if not json:
            tell_step(folder)
        return
    with tempfile.TemporaryDirectory(prefix="velatura-push-") as temporary:
        place = Path(temporary)
        with plain_disk_errors(place / "README.md"):
            files = write_folder(folder, choice, place)
        upload = Upload(choice.repository, _is_public(public, update), update)
        address = upload_folder(place, upload, f"Publish {folder.resolve().name} with Velatura")
        if json:
            facts = {"repository": choice.repository, "address": address, "files": len(files)}
            print_json({**facts, "step": starred_step(folder)})
            return
        seen = "as visible as before" if update else "public" if upload.public else "private"
        say(("published", "bold green"), f"  {address} ({seen})")
        tell_step(folder)


def _is_public(chosen: bool | None, update: bool) -> bool:
    if chosen is not None or update or not sys.stdin.isatty():
        return bool(chosen)
    return typer.confirm(WHO_SEES_IT, default=False)


def _free_folder(place: Path, overwrite: bool) -> Path:
    """The folder to write to, emptied if an earlier `push` wrote it; VelaturaError for other folders."""
    import shutil

    from app.studio.publishing.content import is_publication

    if overwrite and not place.is_symlink() and is_publication(place):
        shutil.rmtree(place)
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise VelaturaError(
            "{place} already exists; choose another --out, or replace what an earlier push wrote with --overwrite",
            place=place,
        )
    return place


def _report(place: Path, files: list[Path], json: bool) -> None:
    if json:
        print_json({"folder": place, "files": [path.relative_to(place).as_posix() for path in files]})
        return
    for path in files:
        say(f"{readable_size(path.stat().st_size):>10}  {path.relative_to(place).as_posix()}")
    say(("written", "bold green"), f"  {place}; nothing was uploaded")
