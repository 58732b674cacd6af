"""Go on training the bundled base in the background: `make starter-continue`.

It trains while nothing else needs this machine, waits otherwise, and goes on where it was ended or killed. Its state,
its log and what it made are in a folder outside the work tree: `STARTER_STATE`, or `~/.cache/velatura-starter`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from tools.command import tells_errors
from tools.starter import continuing, decoder
from tools.starter.build import read_build, require_extra
from tools.starter.continuing import autoencoder_folder, continue_denoiser, denoiser_folder, result_of
from tools.starter.decoder import FIGURES, Workshop, sharpen_decoder, write_figures
from tools.starter.drawings.render import render_sets
from tools.starter.drawings.sets import read_icon_sets
from tools.starter.drawings.shapes import draw_shapes
from tools.starter.idle import IdleGate, Machine, StopRequestedError, lower_priority
from tools.starter.networks.lessons import prepare_lessons
from tools.starter.networks.perceptual import load_perceptual_distance
from tools.starter.networks.redrawn import prepare_redrawn
from tools.starter.networks.stage import Schedule
from tools.starter.progress import Progress, default_state, describe_status, hold
from tools.starter.unseen import read_unseen
from trainers.models.files.source import starter_folder

SHIPPED, LESSONS, REDRAWN, DECODER, DENOISER = "shipped", "lessons", "redrawn", "decoder", "denoiser"
"""The parts by the names of their folders, which have the hash of the weights that they were made from too."""


def improve(state: Path, gate: IdleGate, progress: Progress) -> None:
    """Make every part that is not made yet, one after another.

    Raises VelaturaError if a download fails, StopRequestedError if asked to stop.
    """
    gate()
    progress.begin("drawings")
    workshop = prepare(state, gate)
    progress.begin(SHIPPED)
    write_figures(autoencoder_folder(state, SHIPPED), lambda: workshop.measure(workshop.shipped))
    progress.begin(LESSONS)
    prepared = autoencoder_folder(state, LESSONS)
    lessons = prepare_lessons(prepared, workshop.drawings, workshop.shipped, workshop.device, gate)
    vae = starter_folder() / "vae"
    if not is_shipped(DECODER, decoder.SCHEDULE):
        folder = autoencoder_folder(state, DECODER)
        vae = folder / "vae"
        progress.begin(REDRAWN)
        prepared = autoencoder_folder(state, REDRAWN)
        redrawn = prepare_redrawn(prepared, lessons, workshop.drawings, open_pipeline(), gate)
        progress.begin(DECODER)
        figures = sharpen_decoder(folder, workshop, redrawn, decoder.SCHEDULE)
        progress.tell(f"{DECODER} is made: {json.dumps(figures)}")
    progress.begin(DENOISER)
    figures = continue_denoiser(denoiser_folder(state), lessons, vae, workshop, continuing.CONTINUED)
    progress.tell(f"{DENOISER} is made: {json.dumps(figures)}")
    progress.begin("nothing left to train")


def is_shipped(stage: str, schedule: Schedule) -> bool:
    """Whether the shipped weights were trained by this schedule already."""
    return read_build(starter_folder())["stages"].get(stage) == asdict(schedule)


def open_autoencoder() -> Any:
    """The shipped autoencoder in fp32."""
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(starter_folder() / "vae", torch_dtype=torch.float32).eval()


def open_pipeline() -> Any:
    """The shipped base, to draw pictures again from noise."""
    from diffusers import StableDiffusionImg2ImgPipeline

    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(starter_folder(), torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def prepare(state: Path, gate: IdleGate) -> Workshop:
    """Fetch and draw what is not there yet."""
    drawings = state / "drawings"
    render_sets(drawings, read_icon_sets())
    draw_shapes(drawings)
    return Workshop(
        drawings,
        open_autoencoder(),
        load_perceptual_distance(state / "packages", torch.device("cpu")),
        read_unseen(drawings),
        gate,
        torch.device("cpu"),
    )


def status(state: Path) -> str:
    """How far the training in the folder is, as text."""
    sharpened, denoiser = autoencoder_folder(state, DECODER), denoiser_folder(state)
    planned = {sharpened.name: decoder.SCHEDULE.steps, denoiser.name: continuing.CONTINUED.steps}
    results = {
        SHIPPED: autoencoder_folder(state, SHIPPED),
        DECODER: sharpened / "vae",
        DENOISER: denoiser / result_of(continuing.CONTINUED),
    }
    paths = {name: folder / FIGURES for name, folder in results.items()}
    figures = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}
    return describe_status(state, planned, figures)


def run(state: Path, threads: int | None) -> None:
    """Hold the folder, make way for everybody else, and train until all is done or a signal asks to stop."""
    require_extra()
    with hold(state):
        lower_priority()
        progress = Progress(state)
        gate = IdleGate(Machine().look, progress.suspend_or_go_on, threads)

        def ask(number: int, frame: FrameType | None) -> None:
            gate.stop = True

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, ask)
        try:
            improve(state, gate, progress)
        except StopRequestedError:
            progress.tell("stopped; what was saved goes on with the next start")


@tells_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Train with the options of the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.starter.improve", description="Go on training the bundled base in the background."
    )
    parser.add_argument("--state", type=Path, default=default_state(), help="folder of the state (%(default)s)")
    parser.add_argument("--threads", type=int, help="threads to train on; as many as there are free cores if not given")
    parser.add_argument("--status", action="store_true", help="say how far it is, and train nothing")
    options = parser.parse_args(arguments)
    if options.threads is not None and options.threads < 1:
        parser.error(f"--threads takes 1 or more: found {options.threads}")
    if options.status:
        print(status(options.state))
    else:
        run(options.state, options.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
