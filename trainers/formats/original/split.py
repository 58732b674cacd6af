"""Splits changes of layers of the original layout, which join several, into those of diffusers' layers.

Queries, keys and values are one matrix there, and in Flux's single blocks so is the first layer of the feed-forward.
The output rows of ΔW are those of each layer in turn, so LoRA, LoHA, full changes and shifts split exactly, and so do
DoRA's norms of rows. Each layer of a LoKr keeps all tensors and selects its rows: multiplied out, a LoKr of Flux would
take 14 GB. Other structures cannot be split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import Tensor, nn

from trainers.adapters.roles import is_denoiser
from trainers.adapters.updates import Kronecker
from trainers.adapters.updates.rows import Ranges
from trainers.errors import VelaturaError
from trainers.formats.codecs import MISFIT, build_update, dora, lokr
from trainers.formats.layout import LayoutError, method_of, outputs_of, sizes_of
from trainers.formats.names import denoiser_names, diffusers_name, network_config
from trainers.formats.original.rows import ranges_of, rows_of
from trainers.formats.read import Style
from trainers.models.families import get_family
from trainers.models.families.family import OriginalLayer
from trainers.wrappers import named_modules

OF_ROWS: Mapping[str, tuple[str, ...]] = {
    "lora": ("lora_up.weight", "dora_scale", "lora_magnitude_vector"),
    "loha": ("hada_w1_a", "hada_w2_a", "dora_scale"),
    "full": ("diff", "diff_b"),
    "lokr": (),
}
"""Tensors with one row per output, by method; the others are the same for all rows."""


def split_joint(style: Style, parts: Mapping[str, nn.Module], family: str) -> Style:
    """A style with changes of diffusers' layers alone; the same style if it has no others.

    Raises VelaturaError if a change cannot be split.
    """
    joint = joint_layers(parts, family)
    stems = [stem for stem in style.layers if stem in joint]
    if not stems:
        return style
    part = get_family(family).denoiser
    tensors = {key: tensor for key, tensor in style.tensors.items() if not _is_of(key, stems)}
    shares = dict[str, Ranges]()
    first = dict[str, str]()
    for stem in stems:
        if (other := first.setdefault(joint[stem].name, stem)) != stem:
            style.check_same(other, stem)
            continue
        for path, share, rows in _split(style, stem, joint[stem]):
            if (name := diffusers_name(part, path)) in style.layers:
                style.refuse_twice(stem, name)
            tensors |= {f"{name}.{suffix}": tensor for suffix, tensor in share.items()}
            if method_of(share) == "lokr":
                shares[name] = ranges_of(rows)
    return replace(style, tensors=tensors, shares=shares)


def joint_layers(parts: Mapping[str, nn.Module], family: str) -> dict[str, OriginalLayer]:
    """The layers of the original layout that are not diffusers' own, by their names in files."""
    return {stem: layer for part, net in parts.items() if is_denoiser(part) for stem, layer in _joint(net, family)}


def _is_of(key: str, stems: list[str]) -> bool:
    return any(key.startswith(f"{stem}.") for stem in stems)


def _joint(net: nn.Module, family: str) -> Iterator[tuple[str, OriginalLayer]]:
    """Names in files of the layers that are not diffusers' own."""
    paths = [path for path, layer in named_modules(net) if isinstance(layer, nn.Linear)]
    for layer in get_family(family).original_layers(network_config(net), paths):
        if not layer.is_same:
            yield from ((name, layer) for name in denoiser_names(layer.name))


def _split(style: Style, stem: str, layer: OriginalLayer) -> list[tuple[str, dict[str, Tensor], Tensor]]:
    """Path, tensors by suffix and rows of each changed layer of diffusers, or of all if none changes."""
    tensors = _whole(style, stem)
    outputs = outputs_of(tensors)
    total, named = sum(layer.rows) or outputs, OF_ROWS[method_of(tensors) or "full"]
    if outputs != total or any(tensors[name].shape[0] != total for name in named if name in tensors):
        raise VelaturaError(
            "{name} does not fit: its layer {stem} has {rows} outputs in this base",
            name=style.name,
            stem=stem,
            rows=total,
        )
    shares = []
    for path, rows in zip(layer.paths, rows_of(layer, total), strict=True):
        part = {name: tensor[rows] if name in named else tensor for name, tensor in tensors.items()}
        shares.append((path, _without_idle_rank(part), rows))
    changed = [share for share in shares if any(share[1][name].any() for name in named if name in share[1])]
    return changed or shares


def _whole(style: Style, stem: str) -> dict[str, Tensor]:
    """The tensors of a layer; VelaturaError if one is missing, has no rows, or cannot be split."""
    tensors = dict(style.layers[stem])
    method = method_of(tensors) or ""
    if method not in OF_ROWS or (method == "lokr" and set(dora.MAGNITUDES) & set(tensors)):
        raise VelaturaError(
            "{name} cannot be read for this base: its layer {stem} is several layers here, and its change is not "
            "one that can be split",
            name=style.name,
            stem=stem,
        )
    try:
        update = build_update(tensors)
        if any(tensors[name].dim() == 0 for name in OF_ROWS[method] if name in tensors):
            raise LayoutError(MISFIT.format(sizes=sizes_of(tensors)))
    except LayoutError as error:
        raise VelaturaError(
            "{name} does not fit: its layer {stem} {error}", name=style.name, stem=stem, error=error.message
        ) from error
    # A LoKr is written anew, with the scale of PEFT's settings.
    return lokr.write(update, 1.0) if isinstance(update, Kronecker) else tensors


def _without_idle_rank(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A LoRA without ranks of the other layers: columns of `up` that are zero for all of this layer's outputs."""
    if method_of(tensors) != "lora" or tensors["lora_up.weight"].dim() != 2:
        return tensors
    up, down = tensors["lora_up.weight"], tensors["lora_down.weight"]
    used = up.any(0)
    if used.all() or not used.any():
        return tensors
    kept = {**tensors, "lora_up.weight": up[:, used], "lora_down.weight": down[used]}
    if "alpha" in tensors:  # the scale, alpha / rank, stays
        kept["alpha"] = tensors["alpha"] * int(used.sum()) / len(used)
    return kept
