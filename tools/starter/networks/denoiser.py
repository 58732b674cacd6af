"""The denoiser, trained together with the text encoder to draw every concept in every style."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tools.starter.drawings.captions import write_caption
from tools.starter.drawings.render import SIZE
from tools.starter.drawings.sets import Concepts, read_concepts
from tools.starter.networks.lessons import Lessons, plain_styles
from tools.starter.networks.stage import Schedule, Stage, autocast_on
from tools.starter.networks.text import WIDTH, tokenize
from trainers.models.schedule import schedule_from_config

# As many steps as the shipped denoiser was trained for, in three rounds.
SCHEDULE = Schedule(
    steps=19_200, batch=64, rate=0.01, plain_rate=5e-4, cooldown=0.5, ema_decay=0.998, measure_every=500
)
TEXT_RATE = 0.3  # of the denoiser's rates
SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "set_alpha_to_one": False,
    "clip_sample": False,
}
"""The last step is pure noise, as in training, so that dark pictures are as easy to reach as white ones."""


def make_denoiser() -> Any:
    """A `UNet2DConditionModel` with random values: 16×16 latents, attention to the text at 8×8 and 4×4."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=SIZE // 8,
        block_out_channels=(128, 192, 256),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # the number of heads, by the name that diffusers gives it
    )


class Pair(nn.Module):
    """The two networks that are trained together."""

    def __init__(self, text_encoder: nn.Module, unet: nn.Module) -> None:
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet


def pick_rows(lessons: Lessons, count: int, generator: torch.Generator) -> list[int]:
    """Indices of lessons, drawn in proportion to their weights."""
    rows: list[int] = torch.multinomial(lessons.weights, count, replacement=True, generator=generator).tolist()
    return rows


def write_captions(
    lessons: Lessons, rows: Sequence[int], concepts: Concepts, unnamed: frozenset[str], generator: torch.Generator
) -> list[str]:
    """A caption for each of these lessons; the styles in `unnamed` need not be in it."""
    chosen = [lessons.entries[row] for row in rows]
    return [write_caption(concepts, each.scene, each.style, generator, each.style not in unnamed) for each in chosen]


def train_denoiser(
    folder: Path,
    lessons: Lessons,
    pair: Pair,
    tokenizer: Any,
    schedule: Schedule = SCHEDULE,
) -> None:
    """Train both networks in place; resumes an interrupted training."""
    torch.manual_seed(schedule.seed)
    device = next(pair.parameters()).device
    noise_schedule = schedule_from_config(SCHEDULER, "v_prediction")
    concepts = read_concepts()
    unnamed = plain_styles()

    def score(count: int, generator: torch.Generator) -> Tensor:
        rows = pick_rows(lessons, count, generator)
        latents = lessons.latents[rows].float() * lessons.scale
        captions = write_captions(lessons, rows, concepts, unnamed, generator)
        noise = torch.randn(latents.shape, generator=generator)
        t = torch.randint(noise_schedule.steps, (count,), generator=generator)
        noisy, target = noise_schedule.add_noise(latents, noise, t), noise_schedule.target(latents, noise, t)
        with autocast_on(device):
            context = pair.text_encoder(tokenize(tokenizer, captions).to(device)).last_hidden_state
            prediction = pair.unet(noisy.to(device), t.to(device), context).sample
        return (prediction.float() - target.to(device)).square().flatten(1).mean(1)

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": score(schedule.batch, generator).mean()}

    def measure() -> dict[str, float]:
        """The loss on the same noise every time."""
        return {"fixed noise": round(float(score(128, torch.Generator().manual_seed(0)).mean()), 5)}

    Stage(folder, pair.train(), schedule, plain, {"text_encoder.": TEXT_RATE}).train(loss, measure)
    pair.eval()


def plain(name: str) -> bool:
    """Whether AdamW trains a parameter: embeddings, and the denoiser's first and last layer."""
    return "embedding." in name or any(part in name for part in ("unet.conv_in", "unet.conv_out"))
