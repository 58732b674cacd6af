"""The denoiser and the text encoder go on from those that ship, and are measured on the way."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from tools.starter.decoder import FIGURES, Workshop, write_figures
from tools.starter.drawings.tokens import make_tokenizer
from tools.starter.export import write_pipeline
from tools.starter.measure import Truths, draw_all, open_base
from tools.starter.networks.denoiser import Pair, train_denoiser
from tools.starter.networks.lessons import Lessons
from tools.starter.networks.perception import load_perception
from tools.starter.networks.stage import Schedule
from tools.starter.report import draw_sheet
from trainers.models.files.source import starter_folder
from trainers.models.load import hash_files

MEASURE_EVERY = 2_500  # steps
WEIGHTS = "diffusion_pytorch_model.safetensors"
CONCEPTS = 100  # drawn for a figure on the way
CONTINUED = Schedule(
    steps=5_000,
    batch=64,
    rate=0.006,
    plain_rate=3e-4,
    warmup=100,
    cooldown=0.8,
    ema_decay=0.998,
    measure_every=500,
)


def denoiser_folder(state: Path) -> Path:
    """The folder in `state` of what continues from the denoiser that ships now, named by its hash."""
    return state / f"denoiser-{hash_denoiser()[:8]}"


def hash_denoiser() -> str:
    """SHA-256 of the denoiser that ships now, which a style trained on it holds as `velatura.base_sha256`."""
    return hash_files([starter_folder() / "unet" / WEIGHTS])


def autoencoder_folder(state: Path, part: str) -> Path:
    """The folder in `state` of a part that was made with the autoencoder that ships now, named by its hash."""
    return state / f"{part}-{hash_files([starter_folder() / 'vae' / WEIGHTS])[:8]}"


def result_of(schedule: Schedule) -> str:
    """The name of the folder with the finished base and its figures."""
    return f"base-{schedule.steps}"


def continue_denoiser(
    folder: Path, lessons: Lessons, autoencoder: Path, workshop: Workshop, schedule: Schedule
) -> dict[str, Any]:
    """Train both, or what is left of it, and write a base with them; returns the figures that are kept beside.

    `autoencoder` is the folder of the one that the base gets.
    """
    from diffusers import AutoencoderKL

    result = folder / result_of(schedule)
    if not (result / FIGURES).exists():
        tokenizer = make_tokenizer()
        pair = start_pair(schedule.seed).to(workshop.device)

        def write(target: Path) -> None:
            # What is written is halved to fp16.
            encoder, unet = (copy.deepcopy(part) for part in (pair.text_encoder, pair.unet))
            vae = AutoencoderKL.from_pretrained(autoencoder, torch_dtype=torch.float32)
            write_pipeline(target, vae, encoder, tokenizer, unet, lessons.scale)

        def measure_pair(step: int) -> dict[str, float]:
            if step % MEASURE_EVERY or step == schedule.steps:  # the last one is measured as it is written
                return {}
            with tempfile.TemporaryDirectory() as place:
                write(Path(place))
                return measure_base(Path(place), folder, workshop)

        train_denoiser(folder, lessons, pair, tokenizer, schedule, workshop.between, measure_pair)
        write(result)
        draw_sheet(result, result / "samples.png")
        write_figures(result, lambda: measure_base(result, folder, workshop))
    return json.loads((result / FIGURES).read_text(encoding="utf-8"))


def start_pair(seed: int) -> Pair:
    """The bundled text encoder and denoiser, in fp32."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    torch.manual_seed(seed)
    encoder = CLIPTextModel.from_pretrained(starter_folder() / "text_encoder", torch_dtype=torch.float32)
    return Pair(encoder, UNet2DConditionModel.from_pretrained(starter_folder() / "unet", torch_dtype=torch.float32))


def measure_base(base: Path, folder: Path, workshop: Workshop) -> dict[str, float]:
    """How often a base draws what was asked for and follows a style word, with guidance."""
    perception = load_perception(folder.parent / "perception", workshop.device)
    workshop.between(None)
    truth = Truths(perception, workshop.drawings, CONCEPTS)
    return truth.match(draw_all(open_base(base), truth.write_prompts()))
