"""The small jobs that need a device, in the same line as the runs: an estimate, captions, pictures.

Each is a `velatura` command that leaves its results in the job's folder and tells its events how far it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app.jobs.actions import add_command, new_folder
from app.jobs.store import Job, Store
from trainers.runs.run import whole_file

if TYPE_CHECKING:
    from app.studio.generation.generate import Request
    from trainers.config.config import Config

ESTIMATE, CAPTION, GENERATE = "estimate", "caption", "generate"
PICTURE, PLAIN = "picture.png", "plain.png"
"""What a drawing leaves in its folder: the picture, and the same without styles."""
EACH = "picture-{}.png"
"""What it leaves instead of the picture where every style draws its own, numbered from 1."""


def add_estimate(store: Store, config: Config, owner: str = "") -> Job:
    """Put in line a measurement of what a run would take; its numbers are the facts that the job says."""
    from trainers.config.build import dump_config

    folder, images = new_folder(store, ESTIMATE), Path(config.data.images).absolute()
    anchored = config.model_copy(update={"data": config.data.model_copy(update={"images": str(images)})})
    with whole_file(folder / "config.toml") as building:
        building.write_text(dump_config(anchored), encoding="utf-8")
    words = (ESTIMATE, str(folder / "config.toml"))
    return add_command(store, ESTIMATE, folder, words, owner, config.train.device)


def add_captions(store: Store, images: Path, model: str, every: bool = False, owner: str = "") -> Job:
    """Put in line the captions of a folder of images, written beside them; each is an event `caption` of the job."""
    words = (CAPTION, str(images.absolute()), f"--model={model}", *(["--all"] if every else []))
    return add_command(store, CAPTION, new_folder(store, CAPTION), words, owner)


def add_drawing(
    store: Store, request: Request, compare: bool = True, owner: str = "", folder: Path | None = None
) -> Job:
    """Put in line a picture, which the job leaves as `PICTURE`, and with `compare` one without the styles, `PLAIN`.

    They go into `folder`, or into one that is as short-lived as the job.
    """
    folder = folder or new_folder(store, GENERATE)
    options = {
        "negative": request.negative,
        "seed": request.seed,
        "steps": request.steps,
        "size": request.size,
        "guidance": request.guidance,
        "sampler": request.sampler,
        "base": request.base or "",
        "compose": request.compose,
        "plain": folder / PLAIN if compare else "",
        "out": folder / PICTURE,
    }
    words = [GENERATE, *(f"--prompt={prompt}" for prompt in request.prompts)]
    words += [f"--style={style}" for style in request.styles]
    words += [f"--{name}={value}" for name, value in options.items() if value != ""]
    words += ["--each"] if request.each else []
    return add_command(store, GENERATE, folder, words, owner)
