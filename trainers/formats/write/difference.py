"""The difference of a fine-tuned base as plain LoRA: the closest of a rank to each layer's difference.

ΔW = W_tuned − W_base ≈ B A        (trainers.formats.extract)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from trainers.adapters.context import ContextHolder, ForwardContext
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.site import Site
from trainers.adapters.targets import Targets, select
from trainers.adapters.updates import LowRank
from trainers.errors import VelaturaError
from trainers.formats.extract import extract
from trainers.formats.pack import Precision
from trainers.formats.safetensors_file import save
from trainers.formats.write.core import kohya_tensors
from trainers.formats.write.diffusers import plain_metadata
from trainers.models.model import Model


@dataclass(frozen=True)
class Extracted:
    """Result of an extraction: the number of layers, and ‖ΔW − B A‖ / ‖ΔW‖ over all of them."""

    layers: int
    error: float


@torch.no_grad()
def write_difference(
    file: Path,
    tuned: Model,
    base: Model,
    rank: int,
    targets: Targets,
    metadata: Mapping[str, str],
    precision: Precision = "fp16",
) -> Extracted:
    """Write the differences of the layers of `targets`, with metadata of the base; unchanged layers are left out.

    VelaturaError, and no file, if the models' layers differ in shape, or all these weights are equal.
    """
    total = lost = 0.0
    updates: dict[Site, LowRank] = {}
    holder = ContextHolder(ForwardContext())
    layers = {(target.part, target.path): target.layer for target in select(tuned.parts, LoRA(rank=rank), targets)}
    for (part, path), layer in layers.items():
        try:
            site = Site(part, path, base.parts[part].get_submodule(path), holder)
        except (AttributeError, KeyError):
            raise _other_shape(tuned, base, f"{part}.{path}") from None
        before, after = site.weight().float(), Site(part, path, layer, holder).weight().float()
        if before.shape != after.shape:
            raise _other_shape(tuned, base, site.name)
        change = after - before
        if not change.any():
            continue
        updates[site] = extract(change, rank)
        total += float(change.square().sum())
        lost += float((change - updates[site].dense()).square().sum())
    if not updates:
        raise VelaturaError(
            "{tuned} has the weights of {base}: nothing was learned", tuned=tuned.title, base=base.title
        )
    tensors = kohya_tensors(updates, float(rank), base.family.name, base.config, precision)
    comment = f"extracted with Velatura: {tuned.title} − {base.title}"
    file.parent.mkdir(parents=True, exist_ok=True)
    save(file, tensors, {**metadata, **plain_metadata(rank), "ss_training_comment": comment})
    return Extracted(len(updates), math.sqrt(lost / total))


def _other_shape(tuned: Model, base: Model, layer: str) -> VelaturaError:
    return VelaturaError(
        "{tuned} is no fine-tuned {base}: their layers {layer} differ in shape; choose the base that it was tuned from",
        tuned=tuned.title,
        base=base.title,
        layer=layer,
    )
