"""Go on training the bundled base in the background: `make starter-continue`.

It trains while nothing else needs this machine, waits otherwise, and goes on where it was ended or killed. Its state,
its log and what it made are in a folder outside the work tree: `STARTER_STATE`, or `~/.cache/velatura-starter`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import torch

from tools.starter.build import require_extra
from tools.starter.continuing import Continuation, continue_denoiser
from tools.starter.drawings.render import render_sets
from tools.starter.drawings.sets import read_icon_sets
from tools.starter.drawings.shapes import draw_shapes
from tools.starter.idle import IdleGate, Machine, StopRequestedError, lower_priority
from tools.starter.networks.perceptual import load_perceptual_distance
from tools.starter.progress import Progress, describe_status, hold
from tools.starter.tries import TRIES, Workshop, make_try, measure_once
from tools.starter.unseen import read_unseen
from trainers.errors import VelaturaError
from trainers.models.files.source import starter_folder

SHIPPED = "shipped"
CONTINUATIONS = (Continuation("f8c8-denoiser", "f8c8-deeper"),)
"""Each is made after the autoencoder whose latents it learns."""


def default_state() -> Path:
    """The folder of the training's state: `STARTER_STATE`, or `velatura-starter` in the user's folder of caches."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("STARTER_STATE") or Path(caches) / "velatura-starter")


def improve(state: Path, gate: IdleGate, progress: Progress) -> None:
    """Make every try that is not made yet, one after another.

    Raises VelaturaError if a download fails or a try's settings have changed, StopRequestedError if asked to stop.
    """
    gate()
    progress.begin("drawings")
    workshop = prepare(state, gate)
    progress.begin(SHIPPED)
    measure_once(state / SHIPPED, workshop.shipped, workshop)
    for wanted in TRIES:
        progress.begin(wanted.name)
        figures = make_try(state / "tries" / wanted.name, wanted, workshop)
        progress.tell(f"{wanted.name} is made: {json.dumps(figures)}")
        for further in (each for each in CONTINUATIONS if each.autoencoder == wanted.name):
            progress.begin(further.name)
            vae = state / "tries" / wanted.name / wanted.result
            drawn = continue_denoiser(state / "tries" / further.name, further, vae, workshop)
            progress.tell(f"{further.name} is made: {json.dumps(drawn)}")
    progress.begin("nothing left to train")


def prepare(state: Path, gate: IdleGate) -> Workshop:
    """Fetch and draw what is not there yet."""
    from diffusers import AutoencoderKL

    drawings = state / "drawings"
    render_sets(drawings, read_icon_sets())
    draw_shapes(drawings)
    return Workshop(
        drawings,
        AutoencoderKL.from_pretrained(starter_folder() / "vae", torch_dtype=torch.float32).eval(),
        load_perceptual_distance(state / "packages", torch.device("cpu")),
        read_unseen(drawings),
        gate,
        torch.device("cpu"),
    )


def status(state: Path) -> str:
    """How far the training in the folder is, as text."""
    planned: dict[str, int] = {}
    figures: dict[str, dict[str, float]] = {}
    results = {SHIPPED: state / SHIPPED}
    for wanted in TRIES:
        planned |= {f"tries/{wanted.name}/{name}": schedule.steps for name, schedule in wanted.stages.items()}
        results[wanted.name] = state / "tries" / wanted.name / wanted.result
    for further in CONTINUATIONS:
        planned[f"tries/{further.name}"] = further.schedule.steps
        results[further.name] = state / "tries" / further.name / further.result
    for name, folder in results.items():
        if (folder / "figures.json").exists():
            figures[name] = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
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
            progress.tell("stopped, with everything saved")


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
    try:
        if options.status:
            print(status(options.state))
        else:
            run(options.state, options.threads)
    except VelaturaError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
