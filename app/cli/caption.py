"""`velatura caption`: captions written by a model, beside the images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import print_json, say
from app.cli.options import Json
from app.studio.dataset.captions import write_captions
from app.studio.progress import progress_of


def caption(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images.")],
    model: Annotated[str, typer.Option(metavar="NAME", help="blip, florence-2 or wd14; downloaded once.")] = "blip",
    every: Annotated[bool, typer.Option("--all", help="Also where there is a caption already.")] = False,
    json: Json = False,
) -> None:
    """Write a caption for each image that has none, as a .txt file beside it."""
    written = write_captions(folder, model, every, progress_of(context))
    if json:
        print_json(written)
        return
    for name, words in written.items():
        say(f"{name}: {words}")
    say(f"wrote {len(written)} caption{'' if len(written) == 1 else 's'}")
