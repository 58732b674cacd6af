"""Converts a style file of any tool to plain LoRA for diffusers: exactly the same change, without the base.

LoHA and LoKr of convolutions are stored flat, so the layers' shapes come from the family's bundled configs.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from torch import nn

from trainers.adapters.context import ContextHolder, ForwardContext
from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank
from trainers.errors import VelaturaError
from trainers.formats.codecs import dora
from trainers.formats.layout import GLORA
from trainers.formats.names import layer_names, network_config
from trainers.formats.origin import origin_of
from trainers.formats.original.split import split_joint
from trainers.formats.own_form import read_form
from trainers.formats.pack import Precision
from trainers.formats.read import Style
from trainers.formats.safetensors_file import save
from trainers.formats.write.core import kohya_tensors
from trainers.formats.write.diffusers import LARGEST_PLAIN, exact_low_rank, infers_lokr, plain_metadata, plain_size
from trainers.formats.write.outline import build_outline
from trainers.formats.write.transformer import named_tensors
from trainers.messages import Message as _
from trainers.messages import listed

PLAIN = {"lora_up.weight", "lora_down.weight", "alpha", "lora_magnitude_vector"}
LOKR = {"lokr_w1", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "alpha"}
"""Suffixes that diffusers reads, the last only with its own layer names."""
BEYOND = {"diff_b", "b_norm", "w_norm", "oft_blocks", "on_input", "oft_R.weight", "ia3_l", *GLORA}
"""Suffixes that are not a change of a weight alone: biases, norms, and factors of the base's weight."""


def is_plain(style: Style) -> bool:
    """Whether diffusers loads the file as it is; an outline is enough."""
    if style.is_own or style.unknown_keys:
        return False
    family = origin_of(style).family
    if family is not None and family.loads_lokr and _is_lokr_of_diffusers(style):
        return True
    named = all(stem.startswith(("transformer.", "text_encoder")) for stem in style.layers)  # as diffusers does
    if family is not None and family.style_form != "kohya" and not named:
        return False
    return all(set(tensors) <= PLAIN for tensors in style.layers.values())


def _is_lokr_of_diffusers(style: Style) -> bool:
    splits = []
    for stem, layer in style.layers.items():
        up, down = (layer.get("lokr_w2", layer.get(f"lokr_w2_{side}")) for side in ("a", "b"))
        known = set(layer) <= LOKR and stem.startswith("diffusion_model.")
        if not known or "lokr_w1" not in layer or up is None or down is None:
            return False
        if any(tensor.dim() != 2 for tensor in (layer["lokr_w1"], up, down)):
            return False
        left = tuple(layer["lokr_w1"].shape)
        splits.append(((left[0] * up.shape[0], left[1] * down.shape[1]), left))
    return infers_lokr(splits)


def why_not_plain(style: Style) -> str:
    """The reason why a style cannot become plain LoRA; empty if it can. An outline is enough."""
    if style.is_own:
        methods = listed(read_form(style).methods)
        return _("{methods} does not change weights, and only Velatura loads it", methods=methods)
    beyond = [f"{stem}.{suffix}" for stem, layer in style.layers.items() for suffix in layer if suffix in BEYOND]
    if style.unknown_keys or beyond:
        example = (*style.unknown_keys, *beyond)[0]
        return _("it changes more than plain LoRA can, such as {example}", example=example)
    if any(set(dora.MAGNITUDES) & set(tensors) for tensors in style.layers.values()):
        return _("it is a DoRA, which depends on the base's weights")
    origin = origin_of(style)
    if origin.other is not None:
        return _("it is for {base}, {reason}", base=origin.other.name, reason=origin.other.reason)
    return "" if origin.family is not None else _("the file does not say which kind of base it is for")


@torch.no_grad()
def write_plain(path: Path, style: Style) -> None:
    """Write the style's change at strength 1 as plain LoRA; VelaturaError, and no file, if it has no such form."""
    origin, reason = origin_of(style), why_not_plain(style)
    if reason or origin.family is None:
        raise VelaturaError("{name} cannot be converted to plain LoRA: {reason}", name=style.name, reason=reason)
    parts = build_outline(origin, [style])
    updates = _low_ranks(style, parts, origin.family.name)
    rank = Counter(update.rank for update in updates.values()).most_common(1)[0][0]
    if origin.family.style_form == "kohya":
        shape = network_config(parts[origin.family.denoiser])
        tensors = kohya_tensors(updates, float(rank), origin.family.name, shape, precision_of(style))
    else:
        tensors = named_tensors(updates, precision_of(style))
    dropped = ("ss_network_", "lora_adapter_metadata")
    kept = {key: value for key, value in style.metadata.items() if not key.startswith(dropped)}
    save(path, tensors, {**kept, **plain_metadata(rank)})


def _low_ranks(style: Style, parts: dict[str, nn.Module], family: str) -> dict[Site, LowRank]:
    """The change of each layer as plain LoRA."""
    style = split_joint(style, parts, family)
    names, holder = layer_names(parts, family), ContextHolder(ForwardContext())
    updates: dict[Site, LowRank] = {}
    size = 0
    missing = next((stem for stem in style.layers if stem not in names), None)
    if missing is not None:
        raise VelaturaError(
            "{name} cannot be converted to plain LoRA: no base of its kind has its layer {missing}",
            name=style.name,
            missing=missing,
        )
    for (part, path), stem in style.layers_on(names).items():
        site = Site(part, path, parts[part].get_submodule(path), holder)
        if site.op.is_norm:
            raise VelaturaError(
                "{name} cannot be converted to plain LoRA: it changes a norm, {stem}", name=style.name, stem=stem
            )
        update = style.update(stem, site.weight())
        size += plain_size(update)
        if size > LARGEST_PLAIN:
            raise VelaturaError("{name} would be larger than 1 GB as plain LoRA", name=style.name)
        updates[site] = exact_low_rank(update)
    return updates


def precision_of(style: Style) -> Precision:
    """The most frequent number format of the style's parameters."""
    counts: Counter[torch.dtype] = Counter()
    for tensor in style.tensors.values():
        counts[tensor.dtype] += tensor.numel()
    names: dict[torch.dtype, Precision] = {torch.float16: "fp16", torch.bfloat16: "bf16"}
    return names.get(counts.most_common(1)[0][0], "fp32")
