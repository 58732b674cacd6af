"""Build the starter from nothing: `python -m tools.starter.build`. An interrupted build resumes where it stopped."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from tools.command import reports_errors
from tools.starter.drawings.render import render_sets
from tools.starter.drawings.sets import read_icon_sets
from tools.starter.drawings.tokens import make_tokenizer
from tools.starter.export import make_pipeline, write_pipeline
from tools.starter.networks import autoencoder, decoder, denoiser, text
from tools.starter.networks.denoiser import Pair, train_denoiser
from tools.starter.networks.lessons import prepare_lessons
from tools.starter.networks.perceptual import load_perceptual_distance
from tools.starter.networks.redrawn import prepare_redrawn
from tools.starter.networks.stage import Schedule
from tools.starter.networks.text import train_text_encoder
from tools.starter.report import WORK, draw_sheet, write_report
from trainers.errors import VelaturaError

EXTRA = ("pytorch-optimizer", "resvg-py", "efficientnet-lite-pytorch")
PACKAGES = ("torch", "diffusers", "transformers", "numpy", "pillow", *EXTRA)
BUILD = "build.json"


@dataclass(frozen=True)
class Plan:
    """The schedule of each part, whose folder has its name."""

    autoencoder: Schedule = autoencoder.SCHEDULE
    text: Schedule = text.SCHEDULE
    denoiser: Schedule = denoiser.SCHEDULE
    decoder: Schedule = decoder.SCHEDULE


def build(work: Path, device: torch.device, plan: Plan | None = None) -> Path:
    """Build in `work`, resuming an interrupted build; returns the folder of the base with its figures.

    Raises VelaturaError if the `starter` extra or npm is not installed, or if a download fails.
    """
    require_extra()
    plan, drawings, result = plan or Plan(), work / "drawings", work / "starter"
    print("drawings:", render_sets(drawings, read_icon_sets()), flush=True)
    pipeline = train_parts(work, drawings, device, plan)
    parts = {"vae": pipeline.vae, "text_encoder": pipeline.text_encoder, "unet": pipeline.unet}
    write_pipeline(result, pipeline)
    (result / BUILD).write_text(json.dumps(describe_build(device, plan, parts), indent=2) + "\n", encoding="utf-8")
    draw_sheet(result, result / "samples.png")
    write_report(result, drawings, work / "perception")
    return result


def train_parts(work: Path, drawings: Path, device: torch.device, plan: Plan) -> Any:
    """Train the autoencoder, the text encoder, the denoiser, and the decoder again; returns the pipeline of them."""
    from diffusers import StableDiffusionImg2ImgPipeline

    tokenizer = make_tokenizer()
    references = autoencoder.reference_images(drawings, per_set=25)
    vae = autoencoder.train_autoencoder(work / "autoencoder", drawings, device, references, plan.autoencoder)
    encoder = train_text_encoder(work / "text", drawings, tokenizer, device, plan.text)
    lessons = prepare_lessons(work / "denoiser", drawings, vae, device)
    torch.manual_seed(plan.denoiser.seed)
    pair = Pair(encoder, denoiser.make_denoiser()).to(device)
    train_denoiser(work / "denoiser", lessons, pair, tokenizer, plan.denoiser)
    pipeline = make_pipeline(vae, encoder, tokenizer, pair.unet, lessons.scale)
    redrawing = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    redrawing.set_progress_bar_config(disable=True)
    redrawn = prepare_redrawn(work / "redrawn", lessons, drawings, redrawing)
    perceptual = load_perceptual_distance(work / "perceptual", device)
    canvas = autoencoder.Canvas(drawings)
    decoder.sharpen_decoder(work / "decoder", vae, canvas, redrawn, perceptual, references, plan.decoder)
    return pipeline


def require_extra() -> None:
    """Refuse missing packages at once: hours may pass before the last of them is needed."""
    missing = [package for package in EXTRA if find_spec(package.replace("-", "_")) is None]
    if missing:
        raise VelaturaError(f"The starter's build needs {' and '.join(missing)}: pip install -e '.[starter]'.")


def describe_build(device: torch.device, plan: Plan, parts: Mapping[str, torch.nn.Module]) -> dict[str, Any]:
    """The kind of device, the packages' versions, the size of each part, the schedules with their seeds."""
    return {
        "device": device.type,
        "packages": {name: version(name) for name in PACKAGES},
        "parameters": {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in parts.items()},
        "stages": asdict(plan),
    }


@reports_errors
def main() -> int:
    """Build with the options of the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.starter.build", description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK, help="folder that can be resumed")
    devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    parser.add_argument("--device", choices=devices, default=devices[-1])
    options = parser.parse_args()
    result = build(options.work, torch.device(options.device))
    print(f"{result} is a base model: draw with --base {result}, and copy it over presets/starter to ship it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
