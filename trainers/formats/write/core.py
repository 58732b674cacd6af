"""Writes style files in the core profile, which A1111, Forge, ComfyUI, InvokeAI, LyCORIS and sd-scripts read.

It contains only what these tools agree on: kohya's names, flat tensors without Tucker cores, one constant alpha for all
plain LoRA layers with other scales folded into the up factors (diffusers misreads varying alphas on attention), and all
four attention projections of a text-encoder layer if it has one of them (otherwise A1111 and diffusers skip those).
DoRA is written as its full change, since every tool reads `dora_scale` differently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainers.adapters.network import Network
from trainers.adapters.roles import is_denoiser
from trainers.adapters.site import Site
from trainers.adapters.updates import Dense, Kronecker, LowRank, Update
from trainers.adapters.updates.update import concatenate
from trainers.errors import VelaturaError
from trainers.formats.codecs import codec_of, portable
from trainers.formats.extract import extract, kept_share
from trainers.formats.names import attention_siblings, kohya_name
from trainers.formats.own_form import own_form
from trainers.formats.pack import DTYPES, Precision, pack
from trainers.formats.programs.check import by_name, identifies_base, reads_text
from trainers.formats.safetensors_file import save
from trainers.formats.write.transformer import pack_layers, transformer_tensors
from trainers.messages import Message
from trainers.messages import Message as _
from trainers.models.families import get_family

IDLE = _("the style changes nothing: no ΔW is larger than the rounding of its weight")
LOST = _("the style's changes are so small that weights in {precision} round most of them away")


def describe_idle(network: Network, precision: Precision) -> Message | None:
    """A sentence if a file of the network would change nothing, or no weights in the file's format; otherwise None.

    None if all layers have rank 0, since they cannot be written.
    """
    if network.sites and not any(update.rank_bound for site in network.sites for update in site.updates()):
        return None
    if network.is_idle():
        return IDLE
    return LOST.format(precision=precision) if network.is_idle(torch.finfo(DTYPES[precision]).eps / 2) else None


@torch.no_grad()
def write_style(
    path: Path,
    network: Network,
    model_family: str,
    denoiser: Mapping[str, Any],
    metadata: Mapping[str, str],
    precision: Precision,
    block: str = "",
) -> float:
    """Write the network's change at strength 1 as one style file; hashes are added to the metadata.

    `block` restricts it to the layers of that block. A change of more than weights is written in Velatura's own format
    (`trainers.formats.own_form`). Returns the share ‖ΔW in the file‖ / ‖ΔW‖, 1 unless truncated to a rank. Raises
    VelaturaError, and leaves no file behind, if a number is not finite, the methods on one layer cannot be written
    together, or the file cannot be written.
    """
    if not network.merges:
        tensors, form = own_form(network, model_family, denoiser, precision, block)
        save(path, tensors, {**metadata, **form})
        return 1.0
    updates = {site: update for site, update in file_updates(network).items() if site.path.startswith(block)}
    tensors = style_tensors(updates, file_alpha(network), model_family, denoiser, precision)
    save(path, with_text_width(tensors, updates, model_family, denoiser, precision), metadata)
    return kept_share(updates)


def file_updates(network: Network) -> dict[Site, Update]:
    """The change of each site in a file; sites of rank 0 are omitted.

    Raises VelaturaError if all sites have rank 0, or a method changes more than weights.
    """
    network.check_merges("written as LoRA, or as anything that other tools load")
    updates = {site: file_update(site) for site in network.sites}
    writable = {site: update for site, update in updates.items() if update.rank_bound}
    if not writable:
        raise VelaturaError("every layer has rank 0, so there is no style to write; prune less")
    return writable


def file_update(site: Site) -> Update:
    """The change of a site in a file; VelaturaError if its methods cannot be combined into one."""
    updates = tuple(
        _cut(update, site, placed.method.file_form().extract_rank)
        for update, placed in zip(site.updates(), site.placed, strict=True)
    )
    if len(updates) > 1:
        lows = [low for update in updates if (low := update.low_rank()) is not None]
        if len(lows) < len(updates):
            raise VelaturaError(
                "{name} has several methods, one of them without a low-rank form, which no file format "
                "supports; train them separately and use the styles together",
                name=site.name,
            )
        return concatenate(lows)
    (update,) = updates
    return update if codec_of(update) else Dense(update.dense(site.weight()), update.shift)


def _cut(update: Update, site: Site, rank: int) -> Update:
    return extract(update.dense(site.weight()), rank) if rank else update


def file_alpha(network: Network) -> float:
    """The constant alpha of a file: the most frequent one, so that most layers need no folding."""
    counts = Counter(placed.method for site in network.sites for placed in site.placed)
    return counts.most_common(1)[0][0].file_form().alpha


def style_tensors(
    updates: Mapping[Site, Update], alpha: float, family: str, denoiser: Mapping[str, Any], precision: Precision
) -> dict[str, Tensor]:
    """Tensors of a style file for one change per site, under the names that programs read for this family."""
    if not family:
        return pack_layers({site.name: update for site, update in updates.items()}, alpha, precision)
    if get_family(family).style_form == "kohya":
        return kohya_tensors(updates, alpha, family, denoiser, precision)
    of_denoiser = {site: update for site, update in updates.items() if is_denoiser(site.part)}
    of_text = {site: update for site, update in updates.items() if not is_denoiser(site.part)}
    tensors = transformer_tensors(of_denoiser, alpha, family, denoiser, precision)
    return tensors | kohya_tensors(of_text, alpha, family, denoiser, precision)


def kohya_tensors(
    updates: Mapping[Site, Update], alpha: float, family: str, denoiser: Mapping[str, Any], precision: Precision
) -> dict[str, Tensor]:
    """Tensors under kohya's names for one change per site, with incomplete text-encoder attention completed."""
    tensors: dict[str, Tensor] = {}
    layers = [(site.part, site.path, pack(update, alpha, precision, site.name)) for site, update in updates.items()]
    for part, path, packed in (*layers, *_completed(updates, alpha, precision)):
        stem = kohya_name(part, path, family, denoiser)
        tensors |= {f"{stem}.{suffix}": tensor for suffix, tensor in packed.items()}
    return tensors


def with_text_width(
    tensors: dict[str, Tensor],
    updates: Mapping[Site, Update],
    family: str,
    denoiser: Mapping[str, Any],
    precision: Precision,
) -> dict[str, Tensor]:
    """A file's tensors, with LoKr's second factor dense on one layer if InvokeAI needs that to identify the base.

    It takes the text width from a layer of cross-attention or of a text encoder's attention, which it reads only from
    dense factors of a LoKr. The change is the same.
    """
    if not family or get_family(family).style_form != "kohya":
        return tensors
    if identifies_base(by_name({key: tuple(tensor.shape) for key, tensor in tensors.items()}), family):
        return tensors
    for site, update in updates.items():
        stem = kohya_name(site.part, site.path, family, denoiser)
        change = portable(update)
        if reads_text(stem) and isinstance(change, Kronecker) and isinstance(change.right, LowRank):
            packed = pack(replace(change, right=change.right.dense()), 1.0, precision, site.name)
            others = {key: tensor for key, tensor in tensors.items() if key.partition(".")[0] != stem}
            return others | {f"{stem}.{suffix}": tensor for suffix, tensor in packed.items()}
    return tensors


def _completed(
    updates: Mapping[Site, Update], alpha: float, precision: Precision
) -> list[tuple[str, str, dict[str, Tensor]]]:
    """Changes of zero for the untrained attention projections of text encoders.

    They are plain LoRA of rank 1 for any method: every reader detects the method per layer.
    """
    present = {(site.part, site.path) for site in updates}
    missing = {}
    for site in updates:
        op = site.op
        for path in () if is_denoiser(site.part) else attention_siblings(site.path):
            if (site.part, path) not in present:  # CLIP's four projections have one shape
                missing[site.part, path] = LowRank(torch.zeros(op.out, 1), torch.zeros(1, op.fan_in), op.shape)
    return [(part, path, pack(zero, alpha, precision, path)) for (part, path), zero in missing.items()]
