"""`velatura caption`: captions written by a model, beside the images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import print_json, say
from app.cli.options import Json
from app.studio.progress import Tell, in_steps, teller
from trainers.errors import VelaturaError


def caption(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images.")],
    model: Annotated[str, typer.Option(metavar="NAME", help="blip, florence-2 or wd14; downloaded once.")] = "blip",
    every: Annotated[bool, typer.Option("--all", help="Also where there is a caption already.")] = False,
    json: Json = False,
) -> None:
    """Write a caption for each image that has none, as a .txt file beside it."""
    written = write_captions(folder, model, every, teller(context))
    if json:
        print_json(written)
        return
    for name, words in written.items():
        say(f"{name}: {words}")
    say(f"wrote {len(written)} caption{'' if len(written) == 1 else 's'}")


def write_captions(folder: Path, model: str, every: bool, tell: Tell) -> dict[str, str]:
    """Write captions with a model, telling of each as an event `caption`; the captions by the images' names."""
    from trainers.data.captioning import fetch_captioner, load_captioner
    from trainers.data.captions import own_caption
    from trainers.data.decode import flatten, open_image
    from trainers.data.ingest import look
    from trainers.models.quiet import quietly
    from trainers.runs.run import whole_file

    if not folder.is_dir():
        raise VelaturaError(f"there is no folder {folder}")
    images = [image for image in look(folder).images if every or not own_caption(image)]
    if not images:
        return {}
    found = fetch_captioner(
        model, in_steps(lambda done, of: tell("working", message="Downloading the model …", done=done, of=of))
    )
    tell("working", message="Reading the model …")
    written = {}
    with quietly():
        write = load_captioner(model, found)
        for number, image in enumerate(images, 1):
            said = f"Writing caption {number} of {len(images)} …"
            tell("working", message=said, done=number - 1, of=len(images))
            words = written[image.name] = write(flatten(open_image(image)))
            with whole_file(image.with_suffix(".txt")) as building:
                building.write_text(words + "\n", encoding="utf-8")
            tell("caption", image=image.name, caption=words)
    return written
