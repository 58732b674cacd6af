"""The denoiser, taught together with the text encoder to draw every concept in every style."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tools.starter.drawings.captions import BACKGROUNDS, write_caption
from tools.starter.drawings.looks import read_looks
from tools.starter.drawings.render import SIZE, open_drawings
from tools.starter.drawings.sets import Concepts, read_concepts
from tools.starter.networks.autoencoder import on_white
from tools.starter.networks.stage import Schedule, Stage
from tools.starter.networks.text import WIDTH, tokenize
from trainers.models.schedule import schedule_from_config

SCHEDULE = Schedule(steps=9_600, batch=64, rate=0.01, plain_rate=5e-4, ema_decay=0.998, measure_every=500)
TEXT_RATE = 0.3  # of the denoiser's rates
VIEWS = 5
"""Views of a drawing: as it is, then smaller and elsewhere, twice on white and twice on a coloured background."""
NOISE = 2 / 3
"""Power that evenly drawn times are raised to: below 1, strong noise is seen more often, where shapes are made."""
SHARES = (0.8, 0.06, 0.06, 0.04, 0.04)
"""How often each view is shown."""

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
"""Pure noise at the last step: drawing starts from what training saw, and dark pictures are as near as white ones."""


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


@dataclass(frozen=True)
class Lesson:
    """One drawing in all its views: what it shows, its style, and the background's name of each view."""

    concept: str
    style: str
    backgrounds: tuple[str, ...]


@dataclass(frozen=True)
class Lessons:
    """Everything to learn: latents `(lessons, VIEWS, 4, 16, 16)` of unit variance."""

    entries: tuple[Lesson, ...]
    latents: Tensor
    scale: float


def view_drawings(pixels: np.ndarray, index: int) -> tuple[Tensor, tuple[str, ...]]:
    """The views of one `RGBA` drawing, `(VIEWS, 3, SIZE, SIZE)` from −1 to 1, and their backgrounds' names."""
    from PIL import Image

    rng = np.random.default_rng(index)
    drawing = Image.fromarray(pixels)
    names = ["", "", "", *rng.choice(list(BACKGROUNDS), 2, replace=False)]
    views = []
    for view, name in enumerate(names):
        canvas = Image.new("RGBA", (SIZE, SIZE), (*BACKGROUNDS[name], 255) if name else "white")
        size = SIZE if view == 0 else int(rng.integers(SIZE * 4 // 5, SIZE + 1))
        left, top = (int(place) for place in rng.integers(0, SIZE - size + 1, 2))
        canvas.alpha_composite(drawing.resize((size, size), Image.Resampling.LANCZOS), (left, top))
        views.append(np.asarray(canvas))
    return on_white(np.stack(views)), tuple(str(name) for name in names)


@torch.no_grad()
def prepare_lessons(folder: Path, drawings: Path, autoencoder: Any, device: torch.device) -> Lessons:
    """Encode every taught concept in every look, once."""
    path, names = folder / "latents.pt", folder / "lessons.json"
    if not names.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shown: list[list[object]] = []
        latents: list[Tensor] = []
        taught = read_concepts().taught
        for look in read_looks():
            stored = open_drawings(drawings, look.drawings)
            for concept, place in stored.find(taught).items():
                views, backgrounds = view_drawings(look.make(stored.pixels[place]), len(shown))
                with torch.autocast(device.type, torch.bfloat16):
                    latents.append(autoencoder.encode(views.to(device)).latent_dist.mode().float().cpu())
                shown.append([concept, look.style, backgrounds])
        torch.save(torch.stack(latents), path)
        names.write_text(json.dumps(shown), encoding="utf-8")
    found = torch.load(path, weights_only=True)
    scale = 1 / float(found.std())
    rows = json.loads(names.read_text(encoding="utf-8"))
    entries = tuple(Lesson(concept, style, tuple(backgrounds)) for concept, style, backgrounds in rows)
    return Lessons(entries, found * scale, scale)


class Pair(nn.Module):
    """The two networks that are trained together."""

    def __init__(self, text_encoder: nn.Module, unet: nn.Module) -> None:
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet


def pick_batch(
    lessons: Lessons, concepts: Concepts, count: int, generator: torch.Generator
) -> tuple[Tensor, list[str]]:
    """Latents `(count, 4, 16, 16)` and captions."""
    places = torch.randint(len(lessons.entries), (count,), generator=generator)
    views = torch.multinomial(torch.tensor(SHARES), count, replacement=True, generator=generator)
    captions = []
    for place, view in zip(places.tolist(), views.tolist(), strict=True):
        lesson = lessons.entries[place]
        captions.append(write_caption(concepts, lesson.concept, lesson.style, lesson.backgrounds[view], generator))
    return lessons.latents[places, views], captions


def train_denoiser(
    folder: Path,
    lessons: Lessons,
    text_encoder: Any,
    tokenizer: Any,
    device: torch.device,
    schedule: Schedule = SCHEDULE,
) -> Any:
    """Train both networks, or what is left of it, and return the denoiser."""
    torch.manual_seed(schedule.seed)
    pair = Pair(text_encoder, make_denoiser()).to(device).train()
    noise_schedule = schedule_from_config(SCHEDULER, "v_prediction")
    concepts = read_concepts()

    def score(count: int, generator: torch.Generator) -> Tensor:
        latents, captions = pick_batch(lessons, concepts, count, generator)
        noise = torch.randn(latents.shape, generator=generator)
        t = (noise_schedule.steps * torch.rand(count, generator=generator) ** NOISE).long()
        noisy, target = noise_schedule.add_noise(latents, noise, t), noise_schedule.target(latents, noise, t)
        with torch.autocast(device.type, torch.bfloat16):
            context = pair.text_encoder(tokenize(tokenizer, captions).to(device)).last_hidden_state
            found = pair.unet(noisy.to(device), t.to(device), context).sample
        return (found.float() - target.to(device)).square().flatten(1).mean(1)

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": score(schedule.batch, generator).mean()}

    def measure() -> dict[str, float]:
        """The loss on the same noise every time."""
        return {"fixed noise": round(float(score(128, torch.Generator().manual_seed(0)).mean()), 5)}

    Stage(folder, pair, schedule, plain, {"text_encoder.": TEXT_RATE}).train(loss, measure)
    return pair.unet.eval()


def plain(name: str) -> bool:
    """Embeddings, and the denoiser's layers at the latents' end."""
    return "embedding." in name or any(part in name for part in ("unet.conv_in", "unet.conv_out"))
