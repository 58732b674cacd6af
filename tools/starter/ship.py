"""Put what `make starter-continue` has finished over the bundled base: `python -m tools.starter.ship`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tools.command import tells_errors
from tools.starter import continuing, decoder
from tools.starter.build import BUILD, describe_packages, read_build, require_extra
from tools.starter.improve import DECODER
from tools.starter.networks.stage import Schedule
from tools.starter.progress import default_state
from tools.starter.report import METRICS, draw_sheet, write_report
from trainers.errors import VelaturaError
from trainers.models.files.source import STARTER_VARIABLE, starter_folder

VAE = Path("vae", "config.json")


def ship(state: Path, target: Path) -> list[str]:
    """Replace the parts that are finished in `state`, with their logs, figures and the sheet; returns the stages.

    All is made ready in a folder of its own first, which a second call goes on with. VelaturaError if no part is
    finished.
    """
    require_extra()
    from diffusers import AutoencoderKL

    continued = name_continued(target)
    folders = {DECODER: continuing.autoencoder_folder(state, DECODER), continued: continuing.denoiser_folder(state)}
    base = folders[continued] / continuing.result_of(continuing.CONTINUED)
    ready, sharpened = state / "ready", folders[DECODER] / "vae"
    made = ((DECODER, sharpened, decoder.SCHEDULE), (continued, base, continuing.CONTINUED))
    shipped = {stage: schedule for stage, result, schedule in made if (result / decoder.FIGURES).exists()}
    if not shipped:
        raise VelaturaError(f"Nothing is finished in {state}: train with `make starter-continue`.")
    shutil.copytree(target, ready, dirs_exist_ok=True, ignore=shutil.ignore_patterns(METRICS))
    if DECODER in shipped:
        vae = AutoencoderKL.from_pretrained(sharpened, torch_dtype=torch.float16)
        vae.register_to_config(scaling_factor=read_scale(target))
        vae.save_pretrained(ready / "vae")
    if continued in shipped:
        for part in ("unet", "text_encoder"):
            shutil.copytree(base / part, ready / part, dirs_exist_ok=True)
        write_config(ready / VAE, {"scaling_factor": read_scale(base)})  # what the denoiser was trained with
    forget_origins(ready)
    describe(ready, shipped, folders)
    draw_sheet(ready, ready / "samples.png")
    write_report(ready, state / "drawings", state / "perception")
    shutil.copytree(ready, target, dirs_exist_ok=True)
    shutil.rmtree(ready)
    return list(shipped)


def read_scale(base: Path) -> float:
    """What a base's latents are multiplied by for the denoiser."""
    return float(json.loads((base / VAE).read_text(encoding="utf-8"))["scaling_factor"])


def write_config(path: Path, changes: Mapping[str, Any]) -> None:
    """Change values of a part's config."""
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changes)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a config or a description, indented as diffusers does."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def forget_origins(target: Path) -> None:
    """Take out of the configs from which folder of this machine their weights were read."""
    for path in target.glob("*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        if config.pop("_name_or_path", None) is not None:
            write_json(path, config)


def name_continued(target: Path) -> str:
    """The first name of a continued denoiser's stage that the shipped weights do not have yet."""
    known = read_build(target)["stages"]
    names = ("continued", *(f"continued-{number}" for number in range(2, len(known) + 2)))
    return next(name for name in names if name not in known)


def describe(target: Path, shipped: Mapping[str, Schedule], folders: Mapping[str, Path]) -> None:
    """Add the stages, and their logs from these folders, to what is said about the weights."""
    for stage in shipped:
        shutil.copyfile(folders[stage] / "log.jsonl", target / "logs" / f"{stage}.jsonl")
    said = read_build(target)
    said["stages"] |= {stage: asdict(schedule) for stage, schedule in shipped.items()}
    said["packages"] = describe_packages()
    write_json(target / BUILD, said)


@tells_errors
def main() -> int:
    """Ship with the options of the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.starter.ship", description=__doc__)
    parser.add_argument("--state", type=Path, default=default_state(), help="folder of the state (%(default)s)")
    options = parser.parse_args()
    if STARTER_VARIABLE in os.environ:
        raise VelaturaError(
            f"{STARTER_VARIABLE} names another starter than the bundled one, to which this ships: unset it."
        )
    stages = ship(options.state, starter_folder())
    print(f"shipped: {', '.join(stages)}; see `git diff --stat`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
