"""Writing captions with a model, next to the images."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from app.studio.progress import OnProgress, in_steps, quiet
from trainers.errors import VelaturaError
from trainers.messages import Message as _

DOWNLOADING = _("Downloading the model …")


class CaptionRequest(BaseModel):
    """Captions to write beside the images of a folder."""

    images: Path
    model: str
    every: bool = False
    """Whether also where there is a caption already."""


def write_captions(folder: Path, model: str, every: bool, on_progress: OnProgress = quiet) -> dict[str, str]:
    """Write captions with a model, telling of each as an event `caption`; the captions by the images' names."""
    from trainers.atomic_files import whole_file
    from trainers.data.captioning import fetch_captioner, load_captioner
    from trainers.data.captions import own_caption
    from trainers.data.decode import flatten
    from trainers.data.ingest import list_folder
    from trainers.data.source import read_source
    from trainers.models.quiet import quietly

    if not folder.is_dir():
        raise VelaturaError("there is no folder {folder}", folder=folder)
    images = [image for image in list_folder(folder).images if every or not own_caption(image)]
    if not images:
        return {}
    found = fetch_captioner(
        model, in_steps(lambda done, of: on_progress("working", message=DOWNLOADING, done=done, of=of))
    )
    on_progress("working", message=_("Reading the model …"))
    written = {}
    with quietly("transformers"):
        write = load_captioner(model, found)
        for number, image in enumerate(images, 1):
            said = _("Writing caption {number} of {count} …", number=number, count=len(images))
            on_progress("working", message=said, done=number - 1, of=len(images))
            words = written[image.name] = write(flatten(read_source(image).picture()))
            with whole_file(image.with_suffix(".txt")) as building:
                building.write_text(words + "\n", encoding="utf-8")
            on_progress("caption", image=image.name, caption=words)
    return written
