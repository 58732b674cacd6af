"""Style distances by encoders that are no part of Velatura, beside a run's scores by its own base.

The embedding of a picture is a unit vector e: DINOv2's normalised class token (Oquab et al. 2023, arXiv 2304.07193), or
CLIP's projection (Radford et al. 2021, arXiv 2103.00020). The distance of pictures from the training pictures is the
mean cosine distance of all pairs, 1 − 1/(n·m) Σᵢⱼ eᵢ·e'ⱼ: one minus CLIP-I, or one minus the metric DINO with DINOv2
(Ruiz et al. 2023, DreamBooth, arXiv 2208.12242, section 4).
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.errors import VelaturaError
from trainers.models.files.hub import UNUSABLE, local_folder
from trainers.models.quiet import quietly
from trainers.score.activations import BATCH

Embed = Callable[[Tensor], Tensor]
"""Returns the unit vectors `(n, d)` of pictures `(n, 3, h, w)` in [−1, 1], fp32."""


@dataclass(frozen=True)
class Encoder:
    """An encoder by its model on the hub, its class in transformers and the output that is the embedding."""

    model: str
    network: str
    output: str


ENCODERS: Mapping[str, Encoder] = MappingProxyType(
    {
        "dinov2": Encoder("facebook/dinov2-base", "Dinov2Model", "pooler_output"),
        "clip": Encoder("openai/clip-vit-large-patch14", "CLIPVisionModelWithProjection", "image_embeds"),
    }
)
FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


def find_encoder(name: str) -> Path:
    """The local folder of the encoder `name`; VelaturaError if there is no such encoder or it is not here."""
    if name not in ENCODERS:
        raise VelaturaError(
            "there is no encoder {name!r:.80}; available are {encoders}", name=name, encoders=", ".join(ENCODERS)
        )
    model = ENCODERS[name].model
    folder = local_folder(model, FILES[-1])
    if folder is None:
        installed = Path(sys.executable).with_name("hf")  # the installer does not put it on the path
        raise VelaturaError(
            "{model} is not on this computer, and this command does not download it; run `{hf} download {model} "
            "{files}` once",
            hf="hf" if shutil.which("hf") else shlex.quote(str(installed)),
            model=model,
            files=" ".join(FILES),
        )
    return folder


def load_encoder(name: str, device: torch.device | str) -> Embed:
    """The encoder `name` from its local files. VelaturaError if they are missing or unusable."""
    import transformers

    encoder, folder = ENCODERS[name], find_encoder(name)
    try:
        with quietly("transformers"):
            processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            network, report = getattr(transformers, encoder.network).from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        if report["missing_keys"]:  # they would be random
            raise KeyError(min(report["missing_keys"]))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise VelaturaError(UNUSABLE, title=encoder.model, folder=folder, error=error) from error
    network = network.to(device).eval()

    @torch.inference_mode()
    def embed(pictures: Tensor) -> Tensor:
        parts = []
        for batch in ((pictures + 1) * 127.5).round().byte().split(BATCH):
            inputs = processor(images=list(batch), return_tensors="pt").to(device)
            parts.append(F.normalize(network(**inputs)[encoder.output].cpu(), dim=1))
        return torch.cat(parts)

    return embed


def cosine_distance(drawn: Tensor, trained: Tensor) -> float:
    """The mean cosine distance of all pairs of unit vectors `(n, d)` and `(m, d)`, 0 to 2."""
    return max(0.0, 1 - float(drawn.mean(0) @ trained.mean(0)))
