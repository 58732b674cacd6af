"""`velatura estimate`: what a run will take, measured by a few real steps."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from app.cli.console import print_json, say
from app.cli.options import BaseModel, ConfigFile, Images, Json, Preset, Settings, Steps
from app.studio.progress import progress_of
from app.studio.runs.estimate import measure_config
from app.units import readable_size, readable_time

if TYPE_CHECKING:
    from trainers.training.estimate import Estimate


def estimate(
    context: typer.Context,
    config: ConfigFile = None,
    images: Images = None,
    preset: Preset = None,
    base: BaseModel = None,
    steps: Steps = None,
    assignments: Settings = None,
    json: Json = False,
) -> None:
    """Say how long a run will take, how much memory, and how large its file will be; nothing is kept."""
    from trainers.config.layers import gather_config

    options: dict[str, Any] = {"images": images, "base": base, "steps": steps}
    if config is None:
        options["name"] = "estimate"
    found = measure_config(gather_config(config, preset, options, assignments or []), progress_of(context))
    if json:
        print_json(asdict(found))
        return
    for line in in_words(found):
        say(line)


def in_words(found: Estimate) -> tuple[str, ...]:
    """An estimate as people read it."""
    step, picture = f"{found.seconds_a_step:.3g} s", f"{found.seconds_a_picture:.3g} s"
    each = f"{found.steps} steps of {step}, {found.pictures} pictures of {picture}"
    most = "at most " if found.at_most else ""
    return (
        f"time    about {readable_time(found.seconds)} on {found.device} ({each})",
        f"memory  {readable_size(found.memory)} ({readable_size(found.free)} are free)",
        f"file    {most}{readable_size(found.file)}",
    )
