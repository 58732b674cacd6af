"""Style files of transformers, in the form that programs read for the family.

* `native`: kohya's names for the original layout's layers (Stable Diffusion 3). ComfyUI, Forge and A1111 read them.
* `diffusers`: plain LoRA under diffusers' names, with alpha multiplied in (Flux, Chroma, Z-Image), which ComfyUI,
  Forge, InvokeAI and diffusers all read; other structures under LyCORIS' names of diffusers' layers, for ComfyUI and
  Forge. LoKr of Z-Image has the names that diffusers reads, too, and Chroma's guidance network those of its authors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from trainers.adapters.roles import is_denoiser
from trainers.adapters.site import Site
from trainers.adapters.updates import Dense, Kronecker, LowRank, Update
from trainers.formats.names import diffusers_name
from trainers.formats.original.join import join_updates
from trainers.formats.pack import Precision, pack
from trainers.models.families import get_family
from trainers.models.families.family import Family, OriginalLayer


def transformer_tensors(
    updates: Mapping[Site, Update], alpha: float, family: str, config: Mapping[str, Any], precision: Precision
) -> dict[str, Tensor]:
    """Tensors of a transformer's style file for changes of its layers; `alpha` is the constant alpha of plain LoRA."""
    base = get_family(family)
    if base.style_form == "native":
        joined = join_updates(updates, family, config)
        return pack_layers({f"lora_unet_{_flat(path)}": update for path, update in joined}, alpha, precision)
    layers = {site: next(iter(base.original_layers(config, (site.path,)))) for site in updates}
    lows = {site: update for site, update in updates.items() if isinstance(update, LowRank)}
    if len(lows) == len(updates):
        names = {site: _name(site, layers[site], base, "transformer.") for site in lows}
        return _merged(peft_lora(names[site], site, low, precision) for site, low in lows.items())
    is_lokr = base.loads_lokr and all(isinstance(update, Kronecker) for update in updates.values())
    start = "diffusion_model." if is_lokr else "lycoris_"
    changes = {
        _name(site, layers[site], base, start): _reordered(update, site, layers[site])
        for site, update in updates.items()
    }
    return pack_layers(changes, alpha, precision)


def _name(site: Site, layer: OriginalLayer, base: Family, start: str) -> str:
    """A layer's name in files: diffusers' path, or the authors' if ComfyUI reads only that."""
    if has_authors_name(site.path, base):
        return f"diffusion_model.{layer.name}"
    return f"{start}{_flat(site.path) if start.endswith('_') else site.path}"


def has_authors_name(path: str, base: Family) -> bool:
    """Whether style files call a transformer's layer by its path in the authors' layout."""
    return bool(base.known_by_authors_path) and path.startswith(base.known_by_authors_path)


def _reordered(update: Update, site: Site, layer: OriginalLayer) -> Update:
    """The change, in full if it depends on a weight whose halves programs have in the other order."""
    if not (layer.swapped and update.uses_base_output):
        return update
    return Dense(update.dense(site.weight()), update.shift)


def named_tensors(updates: Mapping[Site, LowRank], precision: Precision) -> dict[str, Tensor]:
    """Plain LoRA under diffusers' names, without alpha, so that its scale is 1."""
    return _merged(
        peft_lora(diffusers_name(site.part, site.path), site, low, precision) for site, low in updates.items()
    )


def peft_lora(name: str, site: Site, low: LowRank, precision: Precision) -> dict[str, Tensor]:
    """Plain LoRA of one layer without alpha."""
    packed = pack(low, float(low.rank), precision, site.name)
    # In text encoders diffusers needs this older spelling if no attention layer is trained.
    down, up = ("lora_A", "lora_B") if is_denoiser(site.part) else ("lora_linear_layer.down", "lora_linear_layer.up")
    return {
        f"{name}.{down}.weight": packed["lora_down.weight"],
        f"{name}.{up}.weight": packed["lora_up.weight"],
    }


def pack_layers(updates: Mapping[str, Update], alpha: float, precision: Precision) -> dict[str, Tensor]:
    """Tensors under these names of layers."""
    packed = {stem: pack(update, alpha, precision, stem) for stem, update in updates.items()}
    return {f"{stem}.{suffix}": tensor for stem, layer in packed.items() for suffix, tensor in layer.items()}


def _merged(layers: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {key: tensor for tensors in layers for key, tensor in tensors.items()}


def _flat(path: str) -> str:
    return path.replace(".", "_")
