"""Style files of transformers, by what programs read of their family.

* `native`: kohya's names for the original layout's layers (Stable Diffusion 3). ComfyUI, Forge and A1111 read them.
* `diffusers`: plain LoRA under diffusers' names, with alpha multiplied in (Flux, Chroma, Z-Image), which ComfyUI,
  Forge, InvokeAI and diffusers all read; other structures under LyCORIS' names of diffusers' layers, for ComfyUI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from trainers.adapters.roles import is_denoiser
from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank, Update
from trainers.formats.names import diffusers_name
from trainers.formats.original.join import join_updates
from trainers.formats.pack import Precision, pack
from trainers.models.families import get_family


def transformer_tensors(
    updates: Mapping[Site, Update], alpha: float, family: str, config: Mapping[str, Any], precision: Precision
) -> dict[str, Tensor]:
    """Tensors of a transformer's style file for changes of its layers; `alpha` is the constant alpha of plain LoRA."""
    if get_family(family).style_form == "native":
        joined = join_updates(updates, family, config)
        return _packed({f"lora_unet_{_flat(path)}": update for path, update in joined}, alpha, precision)
    if all(update.diffusers_form == "core" for update in updates.values()):
        lows = {site: update.low_rank() for site, update in updates.items()}
        return named_tensors({site: low for site, low in lows.items() if low is not None}, precision)
    return _packed({f"lycoris_{_flat(site.path)}": update for site, update in updates.items()}, alpha, precision)


def named_tensors(updates: Mapping[Site, LowRank], precision: Precision) -> dict[str, Tensor]:
    """Plain LoRA under diffusers' names, without alpha, so that its scale is 1."""
    tensors: dict[str, Tensor] = {}
    for site, low in updates.items():
        tensors |= peft_lora(diffusers_name(site.part, site.path), site, low.portable(), precision)
    return tensors


def peft_lora(name: str, site: Site, low: LowRank, precision: Precision) -> dict[str, Tensor]:
    """Plain LoRA of one layer without alpha."""
    packed = pack(low, float(low.rank), precision, site.name)
    # In text encoders diffusers needs this older spelling where no attention layer is trained.
    down, up = ("lora_A", "lora_B") if is_denoiser(site.part) else ("lora_linear_layer.down", "lora_linear_layer.up")
    return {
        f"{name}.{down}.weight": packed["lora_down.weight"],
        f"{name}.{up}.weight": packed["lora_up.weight"],
    }


def _packed(updates: Mapping[str, Update], alpha: float, precision: Precision) -> dict[str, Tensor]:
    found = {stem: pack(update, alpha, precision, stem) for stem, update in updates.items()}
    return {f"{stem}.{suffix}": tensor for stem, own in found.items() for suffix, tensor in own.items()}


def _flat(path: str) -> str:
    return path.replace(".", "_")
