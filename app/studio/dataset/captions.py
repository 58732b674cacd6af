"""Writes captions with a model, beside the images."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from app.studio.progress import OnProgress, in_steps, quiet
from trainers.errors import VelaturaError
from trainers.messages import Message
from trainers.messages import Message as _

if TYPE_CHECKING:
    from trainers.captioning.models import Write

DOWNLOADING = _("Downloading the model …")


class CaptionRequest(BaseModel):
    """Captions to write beside the images of a folder."""

    images: Path
    model: str
    """A captioning model, or one of the server."""
    every: bool = False
    """Whether to replace existing captions."""
    server: str = ""
    """Address of a chat server that writes them."""


@dataclass
class Captions:
    """Captions and errors by image name."""

    written: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, Message] = field(default_factory=dict)


def write_captions(
    folder: Path, model: str, every: bool, on_progress: OnProgress = quiet, server: str = ""
) -> Captions:
    """Write captions with a model, or that of a server, beside the images, and report each as an event `caption`.

    Unreadable images, and those with an unreadable caption file, are skipped.
    """
    from trainers.atomic_files import whole_file
    from trainers.data.decode import UnreadableError, flatten
    from trainers.data.ingest import list_folder
    from trainers.data.source import read_source
    from trainers.models.quiet import quietly

    if not folder.is_dir():
        raise VelaturaError("there is no folder {folder}", folder=folder)
    captions = Captions()
    images = [image for image in list_folder(folder).images if every or _lacks_caption(image, captions)]
    if not images:
        return captions
    with quietly("transformers"):
        write = _open_server(server, model) if server else _load_model(model, on_progress)
        for number, image in enumerate(images, 1):
            message = _("Writing caption {number} of {count} …", number=number, count=len(images))
            on_progress("working", message=message, done=number - 1, of=len(images))
            try:
                picture = flatten(read_source(image).picture())
            except UnreadableError as error:
                captions.left_out[image.name] = error.message
                continue
            words = captions.written[image.name] = write(picture)
            with whole_file(image.with_suffix(".txt")) as building:
                building.write_text(words + "\n", encoding="utf-8")
            on_progress("caption", image=image.name, caption=words)
    for reason in captions.left_out.values():
        on_progress("warning", message=reason)
    return captions


def _load_model(model: str, on_progress: OnProgress) -> Write:
    from trainers.captioning.models import fetch_captioner, load_captioner

    weights = fetch_captioner(
        model, in_steps(lambda done, of: on_progress("working", message=DOWNLOADING, done=done, of=of))
    )
    on_progress("working", message=_("Reading the model …"))
    return load_captioner(model, weights)


def _open_server(url: str, model: str) -> Write:
    from trainers.captioning.server import CaptionServer, list_server_models, server_captioner

    server = CaptionServer(url, model)
    if not model:
        names = list_server_models(server)
        raise VelaturaError("name a model of {host}: {names}", host=server.host, names=", ".join(names) or "–")
    return server_captioner(server)


def _lacks_caption(image: Path, captions: Captions) -> bool:
    from trainers.data.captions import own_caption
    from trainers.data.decode import UnreadableError

    try:
        return not own_caption(image)
    except UnreadableError as error:
        captions.left_out[image.name] = error.message
        return False
