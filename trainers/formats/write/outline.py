"""The networks of a style's base without the base: from its family's bundled configs, on the meta device."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from trainers.errors import VelaturaError
from trainers.formats.names import layer_names
from trainers.formats.origin import Origin
from trainers.formats.original.split import joint_layers
from trainers.formats.read import Style
from trainers.models.files.source import starter_folder
from trainers.models.full_size import build_from_config

ROWS = ("lora_up.weight", "hada_w1_a", "diff", "diff_b")
"""Tensors with one row per output of the layer."""
FACTORS = (("lokr_w1", "lokr_w1_a"), ("lokr_w2", "lokr_w2_a"))
"""Tensors whose numbers of rows multiply to the layer's outputs: one of each pair."""


def build_outline(origin: Origin, styles: Sequence[Style]) -> dict[str, nn.Module]:
    """Build the networks of a base of this origin on the meta device, without weights.

    It is the variant that the styles name, or else another of its family whose layers have their sizes. VelaturaError
    if no variant's layers have.
    """
    assert origin.family is not None
    trees = [starter_folder()] if origin.starter else [each.tree for each in (origin.variant, *origin.family.variants)]
    refusal: VelaturaError | None = None
    for tree in dict.fromkeys(trees):
        parts = _build(tree, origin)
        misfits = (misfit for style in styles for misfit in _misfits(style, parts, origin.family.name))
        first = next(misfits, None)
        if first is None:
            return parts
        style, layer, found, expected = first
        refusal = refusal or VelaturaError(
            "{name} was made for a base of another size than {title}: its layer {layer} has {found} outputs instead of "
            "{expected}; use it on its own base, on which several styles can be drawn together",
            name=style.name,
            title=origin.title,
            layer=layer,
            found=found,
            expected=expected,
        )
    assert refusal is not None
    raise refusal


def _build(tree: Path, origin: Origin) -> dict[str, nn.Module]:
    assert origin.family is not None
    configs = {part: (tree / part / "config.json").read_text("utf-8") for part in origin.family.parts}
    return {part: build_from_config(json.loads(config)) for part, config in configs.items()}


def _misfits(style: Style, parts: Mapping[str, nn.Module], family: str) -> Iterator[tuple[Style, str, int, int]]:
    """Layers of a style with another number of outputs than in these networks; both numbers."""
    names, joint = layer_names(parts, family), joint_layers(parts, family)
    for stem, tensors in style.layers.items():
        expected = sum(joint[stem].rows) if stem in joint else 0
        if not expected and stem in names:
            part, path = names[stem]
            weight = parts[part].get_submodule(path).weight
            expected = len(weight) if isinstance(weight, Tensor) else 0
        found = _outputs(tensors)
        if found and expected and found != expected:
            yield style, stem, found, expected


def _outputs(tensors: Mapping[str, Tensor]) -> int:
    """Outputs of the layer that these tensors change; 0 if they do not tell."""
    for name in ROWS:
        if name in tensors:
            return len(tensors[name]) if tensors[name].dim() else 0
    factors = [next((tensors[name] for name in names if name in tensors), None) for names in FACTORS]
    rows = [len(factor) for factor in factors if factor is not None and factor.dim()]
    return rows[0] * rows[1] if len(rows) == len(FACTORS) else 0
