"""Merges style files without a base: their weighted sum as plain LoRA, exact or truncated to a rank.

The exact sum concatenates the factors, so ranks add up; `svd.py` truncates.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from trainers.adapters.context import ContextHolder, ForwardContext
from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank, Update
from trainers.adapters.updates.update import concatenate
from trainers.composition.svd import TruncatedSum, merge_svd, relative_error
from trainers.errors import VelaturaError
from trainers.formats.names import layer_names, network_config
from trainers.formats.origin import UNREAD, origin_of, unread_words
from trainers.formats.original.split import split_joint
from trainers.formats.read import Style
from trainers.formats.safetensors_file import save
from trainers.formats.write.convert import precision_of, why_not_plain
from trainers.formats.write.core import style_tensors
from trainers.formats.write.diffusers import LARGEST_PLAIN, exact_low_rank, plain_metadata, plain_size
from trainers.formats.write.outline import build_outline, differing_bases
from trainers.messages import Message
from trainers.models.families import get_family

OF_THE_BASE = (
    *("ss_base_model_version", "ss_v2", "ss_sd_model_name", "ss_new_sd_model_hash", "ss_zero_terminal_snr"),
    *("ss_clip_skip", "velatura.family", "velatura.base_sha256", "velatura.fits_only", "modelspec.sai_model_spec"),
    *("modelspec.architecture", "modelspec.implementation", "modelspec.resolution", "modelspec.prediction_type"),
)
"""Metadata that a merged file takes from the first style."""

TOO_LARGE = Message("the merged style would be larger than 1 GB; truncate it to a rank")


@dataclass(frozen=True)
class MergeResult:
    """Result of a merge: the largest rank of a layer, and ‖ΔW − ΔW_r‖ / ‖ΔW‖ over all layers."""

    rank: int
    error: float


@torch.no_grad()
def merge_files(path: Path, styles: Sequence[tuple[Style, float]], rank: int | None = None) -> MergeResult:
    """Write the sum of styles, each at its strength, to `path`: exact, or truncated to a rank.

    Raises VelaturaError, and writes nothing, if their bases differ, a style cannot become plain LoRA, there is only one
    style and no rank, or the file would be larger than 1 GB.
    """
    if rank is None and len(styles) < 2:
        raise VelaturaError("merging needs several styles, or a rank to truncate one to")
    family, parts = _base_of([style for style, _ in styles])
    changes = _changes(styles, parts, family)
    cuts: list[TruncatedSum] = []
    merged: dict[Site, LowRank] = {}
    size = 0
    for site, updates in changes.items():
        if rank is None:
            if size + sum(map(plain_size, updates)) > LARGEST_PLAIN:
                raise VelaturaError(TOO_LARGE)
            merged[site] = concatenate([exact_low_rank(update) for update in updates])
        else:
            cuts.append(merge_svd(updates, site.weight(), rank))
            merged[site] = cuts[-1].change
        size += merged[site].up.numel() + merged[site].down.numel()
        if size > LARGEST_PLAIN:
            raise VelaturaError(TOO_LARGE)
    most = Counter(update.rank for update in merged.values()).most_common(1)[0][0]
    shape = network_config(parts[get_family(family).denoiser])
    tensors = style_tensors(merged, float(most), family, shape, precision_of(styles[0][0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, tensors, _metadata(path.stem, styles, most))
    return MergeResult(max(update.rank for update in merged.values()), relative_error(cuts))


def _base_of(styles: Sequence[Style]) -> tuple[str, dict[str, nn.Module]]:
    """The family of the styles' base, and its networks without weights."""
    first = origin_of(styles[0])
    for style in styles:
        origin = origin_of(style)
        reason = Message("it is an embedding") if style.rows else why_not_plain(style)
        if reason:
            raise VelaturaError("{name} cannot be merged into plain LoRA: {reason}", name=style.name, reason=reason)
        if (origin.family, origin.starter) != (first.family, first.starter):
            raise differing_bases(styles[0], first.title, style, origin.title)
    assert first.family is not None
    return first.family.name, build_outline(first, styles)


def _changes(
    styles: Sequence[tuple[Style, float]], parts: dict[str, nn.Module], family: str
) -> dict[Site, list[Update]]:
    """The changes of the styles at their strengths, by layer."""
    names, holder = layer_names(parts, family), ContextHolder(ForwardContext())
    sites: dict[tuple[str, str], Site] = {}
    changes: dict[Site, list[Update]] = {}
    for joint, strength in styles:
        style = split_joint(joint, parts, family)
        missing = next((stem for stem in style.layers if stem not in names), None)
        if missing is not None:
            raise VelaturaError(
                "{name} cannot be merged: no base of its kind has its layer {missing}", name=style.name, missing=missing
            )
        for (part, path), stem in style.layers_on(names).items():
            if (part, path) not in sites:
                sites[part, path] = Site(part, path, parts[part].get_submodule(path), holder)
            site = sites[part, path]
            changes.setdefault(site, []).append(style.update(stem, site.weight()).scaled(strength))
    return changes


def _metadata(name: str, styles: Sequence[tuple[Style, float]], rank: int) -> dict[str, str]:
    first = styles[0][0].metadata
    triggers = dict.fromkeys(style.metadata.get("velatura.trigger", "") for style, _ in styles)
    unread = dict.fromkeys(words for style, _ in styles for words in unread_words(style))
    sources = [{"name": style.path.stem, "strength": strength} for style, strength in styles]
    formula = " + ".join(f"{strength:g} × {style.path.stem}" for style, strength in styles)
    return {
        "format": "pt",
        **{key: first[key] for key in OF_THE_BASE if key in first},
        **plain_metadata(rank),
        "ss_output_name": name,
        "ss_training_comment": f"merged with Velatura: {formula}",
        "modelspec.title": name,
        "velatura.merged": json.dumps(sources, ensure_ascii=False),
        **({"velatura.trigger": ", ".join(filter(None, triggers))} if any(triggers) else {}),
        **({UNREAD: "\n".join(unread)} if unread else {}),
    }
