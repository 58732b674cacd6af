"""The networks of a style's base on the meta device, from its family's bundled configs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from trainers.errors import VelaturaError
from trainers.formats.layout import outputs_of
from trainers.formats.names import layer_names
from trainers.formats.origin import Origin
from trainers.formats.original.split import joint_layers
from trainers.formats.read import Style
from trainers.models.files.source import starter_folder
from trainers.models.full_size import build_from_config


def build_outline(origin: Origin, styles: Sequence[Style]) -> dict[str, nn.Module]:
    """Build the networks of a base of this origin on the meta device, without weights.

    They are the origin's variant, or else another of its family whose layers have the styles' sizes. VelaturaError if
    no variant fits, or the styles are for several variants.
    """
    family = origin.family
    assert family is not None
    variants = (origin.variant, *family.variants)
    trees = dict.fromkeys([starter_folder()] if origin.starter else [variant.tree for variant in variants])
    fitting: dict[int, list[Path]] = {}
    refusal: VelaturaError | None = None
    for tree in trees:
        parts, fits = _build(tree, origin), True
        names = layer_names(parts, family.name)
        for number, style in enumerate(styles):
            mismatch = next(size_mismatches(style, parts, family.name, names), None)
            if mismatch is None:
                fitting.setdefault(number, []).append(tree)
            else:
                fits, refusal = False, refusal or _another_size(style, origin, *mismatch)
        if fits:
            return parts
    assert refusal is not None
    if len(fitting) == len(styles):
        titles = {variant.tree: variant.title or family.title for variant in reversed(variants)}
        other = next(number for number, trees in fitting.items() if fitting[0][0] not in trees)
        raise differing_bases(styles[0], titles[fitting[0][0]], styles[other], titles[fitting[other][0]])
    raise refusal


def differing_bases(style: Style, title: str, other: Style, other_title: str) -> VelaturaError:
    """The error for styles of different kinds of bases, with the bases' titles."""
    return VelaturaError(
        "{name} was made for {title} and {other} for {other_title}; only styles for the same kind of base can be "
        "merged",
        name=style.name,
        title=title,
        other=other.name,
        other_title=other_title,
    )


def _another_size(style: Style, origin: Origin, layer: str, found: int, expected: int) -> VelaturaError:
    return VelaturaError(
        "{name} was made for a base of another size than {title}: its layer {layer} has {found} outputs instead of "
        "{expected}; use it on its own base, on which several styles can be drawn together",
        name=style.name,
        title=origin.title,
        layer=layer,
        found=found,
        expected=expected,
    )


def _build(tree: Path, origin: Origin) -> dict[str, nn.Module]:
    assert origin.family is not None
    configs = {part: (tree / part / "config.json").read_text("utf-8") for part in origin.family.parts}
    return {part: build_from_config(json.loads(config)) for part, config in configs.items()}


def size_mismatches(
    style: Style, parts: Mapping[str, nn.Module], family: str, names: Mapping[str, tuple[str, str]]
) -> Iterator[tuple[str, int, int]]:
    """Layers of a style with another number of outputs than these networks: their name in the file, and both numbers.

    `names` are the networks' `layer_names`.
    """
    joint = joint_layers(parts, family)
    for stem, tensors in style.layers.items():
        expected = sum(joint[stem].rows) if stem in joint else 0
        if not expected and stem in names:
            part, path = names[stem]
            weight = parts[part].get_submodule(path).weight
            expected = len(weight) if isinstance(weight, Tensor) else 0
        found = outputs_of(tensors)
        if found and expected and found != expected:
            yield stem, found, expected
