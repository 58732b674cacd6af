"""The denoiser goes on from the one that ships, on the latents of a new autoencoder, and is measured on the way."""

from __future__ import annotations

import copy
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tools.starter.drawings.tokens import make_tokenizer
from tools.starter.export import write_pipeline
from tools.starter.measure import measure_drawing, open_base
from tools.starter.networks.denoiser import Pair, make_denoiser, train_denoiser
from tools.starter.networks.growth import grow_denoiser
from tools.starter.networks.lessons import prepare_lessons
from tools.starter.networks.perception import load_perception
from tools.starter.networks.stage import Schedule
from tools.starter.report import draw_sheet
from tools.starter.tries import FIGURES, Workshop
from trainers.atomic_files import whole_file
from trainers.models.files.source import starter_folder

MEASURE_EVERY = 2_000  # steps
CONCEPTS = 100  # drawn for a figure on the way
CONTINUED = Schedule(
    steps=8_000,
    batch=64,
    rate=0.006,
    plain_rate=3e-4,
    warmup=100,
    cooldown=0.25,
    ema_decay=0.998,
    measure_every=500,
)


@dataclass(frozen=True)
class Continuation:
    """A denoiser to train on the latents of a try of the autoencoder; from random values if `anew`."""

    name: str
    autoencoder: str  # the try whose latents it learns
    schedule: Schedule = CONTINUED
    anew: bool = False

    @property
    def result(self) -> str:
        """The name of the folder with the finished base and its figures."""
        return f"base-{self.schedule.steps}"


def continue_denoiser(folder: Path, wanted: Continuation, latents_of: Path, workshop: Workshop) -> dict[str, Any]:
    """Train it, or what is left of it, and write a base with it; returns the figures that are kept beside.

    `latents_of` is the folder of the autoencoder whose latents it learns.
    """
    from diffusers import AutoencoderKL

    result = folder / wanted.result
    if not (result / FIGURES).exists():
        vae: Any = AutoencoderKL.from_pretrained(latents_of, torch_dtype=torch.float32).eval().to(workshop.device)
        lessons = prepare_lessons(folder, workshop.drawings, vae, workshop.device, lambda: workshop.between(None))
        tokenizer = make_tokenizer()
        pair = start_pair(wanted, lessons.latents.shape[1]).to(workshop.device)

        def write(target: Path) -> None:
            # What is written is halved to fp16.
            autoencoder, encoder, unet = (copy.deepcopy(part) for part in (vae, pair.text_encoder, pair.unet))
            write_pipeline(target, autoencoder, encoder, tokenizer, unet, lessons.scale)

        def measure_pair(step: int) -> dict[str, float]:
            if step % MEASURE_EVERY:
                return {}
            with tempfile.TemporaryDirectory() as place:
                write(Path(place))
                return measure_base(Path(place), folder, workshop)

        train_denoiser(folder, lessons, pair, tokenizer, wanted.schedule, workshop.between, measure_pair)
        write(result)
        draw_sheet(result, result / "samples.png")
        with whole_file(result / FIGURES) as building:
            building.write_text(json.dumps(measure_base(result, folder, workshop), indent=2) + "\n", encoding="utf-8")
    return json.loads((result / FIGURES).read_text(encoding="utf-8"))


def start_pair(wanted: Continuation, channels: int) -> Pair:
    """The networks that it begins with."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    torch.manual_seed(wanted.schedule.seed)
    encoder = CLIPTextModel.from_pretrained(starter_folder() / "text_encoder", torch_dtype=torch.float32)
    if wanted.anew:
        return Pair(encoder, make_denoiser(channels))
    unet = UNet2DConditionModel.from_pretrained(starter_folder() / "unet", torch_dtype=torch.float32)
    return Pair(encoder, grow_denoiser(unet, channels))


def measure_base(base: Path, folder: Path, workshop: Workshop) -> dict[str, float]:
    """How often a base draws what was asked for and follows a style word, with guidance."""
    perception = load_perception(folder.parent / "perception", workshop.device)
    workshop.between(None)
    return measure_drawing(open_base(base), perception, workshop.drawings, CONCEPTS)["guided"]
