"""Applies styles to a base model, each at its own strength."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from trainers.adapters.arguments import check_parts
from trainers.adapters.method import LayerUpdate, Theta
from trainers.adapters.network import Network
from trainers.adapters.op import weights_on_device
from trainers.adapters.roles import is_denoiser
from trainers.adapters.site import Site
from trainers.adapters.targets import Target
from trainers.adapters.tokens import Word
from trainers.adapters.updates import Update
from trainers.adapters.updates.tensors import max_abs
from trainers.errors import VelaturaError, check_argument
from trainers.formats.names import check_names, layer_names, some
from trainers.formats.origin import FOR_ANOTHER_STARTER, Origin, origin_of, unread_words
from trainers.formats.original.split import split_joint
from trainers.formats.own_form import place_own, read_form
from trainers.formats.read import Style
from trainers.formats.write.outline import size_mismatches
from trainers.messages import Message
from trainers.models.families import get_family
from trainers.models.words import Words
from trainers.wrappers import module_at, unwrapped

WORD_TAKEN = Message("{name}: its word {word} is already taken; write {instead} in prompts")
LACKS = Message("{name}: this base lacks {missing} of its {total} layers: {layers}")
IGNORED = Message("{name}: ignored tensors of unknown kinds ({found} in all), such as {example}")


class StyleNetwork(Network):
    """A network of loaded styles; `warnings` has a sentence for each omission, with its reason."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []


@dataclass(frozen=True, eq=False)
class LoadedStyle(LayerUpdate):
    """A style file on layers; its θ are the frozen tensors of the file's changes, with the strength included."""

    updates: Mapping[str, Update]
    """Changes by site name."""

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        return self.updates[site.name].tensors()

    def update(self, theta: Theta, site: Site) -> Update:
        return self.updates[site.name].with_tensors(theta)


Changes = Mapping[tuple[str, str], Update]
"""The changes of a style on a base, by part and path of the layer."""


@torch.no_grad()
def apply_styles(
    parts: Mapping[str, nn.Module],
    family: str,
    styles: Sequence[tuple[Style, float]],
    words: Words | None = None,
) -> StyleNetwork:
    """Put styles on the layers of a base, each at its strength, which also scales embeddings; their changes add up.

    Args:
        parts: The base's networks by name (`unet`, `text_encoder`, `text_encoder_2`): `model.parts`.
        family: The name of the base's family: `model.family.name`; "" for networks of your own.
        styles: Styles from `read_style`, each with its strength; 1 is as it was trained.
        words: The base's added words, `model.words`, to which embeddings add theirs; needed for embeddings, and for
            prompts with a trigger word that a style was trained without reading.

    Returns:
        The network on the base. Its `warnings` name layers of a style that the base lacks; its `remove()` restores the
        base.

    Raises:
        VelaturaError: A style was made for another base; the base is unchanged.
    """
    check_parts(parts)
    fits = isinstance(styles, Sequence) and all(map(_has_strength, styles))
    check_argument("styles", styles, fits, '[(read_style("dusk.safetensors"), 1.0)]')
    network, wrapped = StyleNetwork(), parts
    parts = {part: unwrapped(net) for part, net in wrapped.items()}
    names = layer_names(parts, family)
    try:
        add_embeddings(network, parts, family, styles, words)
        for style, strength in styles:
            if style.is_own:
                if family:
                    _check_base(style, origin_of(style), parts, family)
                network.warnings += _warnings(style, list(place_own(network, parts, family, style, strength)))
            elif not style.rows:
                put_changes(network, parts, _changes(parts, family, names, style, strength, network.warnings))
        network.prepare(wrapped)
    except BaseException:
        network.remove()
        raise
    return network


def _has_strength(pair: object) -> bool:
    return isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], Style) and isinstance(pair[1], Real)


def add_embeddings(
    network: StyleNetwork,
    parts: Mapping[str, nn.Module],
    family: str,
    styles: Sequence[tuple[Style, float]],
    words: Words | None,
) -> None:
    """Add the words of styles that are embeddings to a base, with rows multiplied by the strength.

    The base no longer reads the trigger words that it did not read in the styles' training.
    """
    for style, strength in styles:
        if words is not None:
            for unread in unread_words(style):
                network.leave_out(unread, words)
        if style.rows:
            assert words is not None, "an embedding needs the base's vocabulary"
            _add_embedding(network, parts, family, style, strength, words)


def read_changes(
    network: StyleNetwork, parts: Mapping[str, nn.Module], family: str, styles: Sequence[tuple[Style, float]]
) -> list[Changes]:
    """The changes of styles other than embeddings on a base's layers, each at its strength.

    Omissions go to the network's warnings. Raises as `apply_styles` does, and VelaturaError for a style in Velatura's
    own format, which is not a change of weights.
    """
    names = layer_names(parts, family)
    changes = []
    for style, strength in styles:
        if style.is_own:
            raise VelaturaError(
                "{name} cannot be combined in this way: its effect depends on the picture or the timestep, so "
                "there are no weights to combine; use sum, switch or composite",
                name=style.name,
            )
        if not style.rows:
            changes.append(_changes(parts, family, names, style, strength, network.warnings))
    return changes


def put_changes(network: Network, parts: Mapping[str, nn.Module], changes: Changes) -> None:
    """Put changes on their layers."""
    method = LoadedStyle(updates={f"{part}.{path}": update for (part, path), update in changes.items()})
    put_method(network, parts, changes, method)


def put_method(
    network: Network, parts: Mapping[str, nn.Module], layers: Iterable[tuple[str, str]], method: LayerUpdate
) -> None:
    """Put a method on layers, named by part and path."""
    modules = ((part, path, module_at(parts[part], path)) for part, path in layers)
    network.place(tuple(Target(part, path, layer, method, 1.0) for part, path, layer in modules), seed=0)


def _changes(
    parts: Mapping[str, nn.Module],
    family: str,
    names: Mapping[str, tuple[str, str]],
    style: Style,
    strength: float,
    warnings: list[str],
) -> Changes:
    if family:
        _check_base(style, origin_of(style), parts, family)
        check_names(style.name, [stem for stem in style.layers if stem not in names], parts, family)
        _check_sizes(style, parts, family, names)
        style = split_joint(style, parts, family)
    layers = style.layers_on(names)
    if not layers:
        example = next(iter(style.layers))
        raise VelaturaError(
            "{name} has no layer in common with this base; one of its layers is {example}. Use the base it "
            "was trained on",
            name=style.name,
            example=example,
        )
    changes = {}
    for (part, path), stem in layers.items():
        layer = module_at(parts[part], path)
        with weights_on_device(layer):
            weight, bias = layer.weight, layer.bias
            assert isinstance(weight, Tensor)
            base_bias = bias.detach().cpu() if isinstance(bias, Tensor) else None
            changes[part, path] = style.update(stem, weight.detach().cpu(), base_bias).scaled(strength)
        _check_numbers(style, strength, changes[part, path], weight.dtype)
    warnings += _warnings(style, [stem for stem in style.layers if stem not in names])
    return changes


def _check_numbers(style: Style, strength: float, update: Update, dtype: torch.dtype) -> None:
    """Raise VelaturaError if a change at its strength has numbers too large for the base's dtype."""
    factor = max(map(max_abs, update.tensors().values()), default=0.0)
    if factor > torch.finfo(dtype).max or not update.largest() <= torch.finfo(torch.float32).max:
        raise VelaturaError(
            "{name} at strength {strength:g} has numbers up to {factor:.1e}, too large for this base in "
            "{dtype}; lower the strength or use another style",
            name=style.name,
            strength=strength,
            factor=max(factor, update.largest()),
            dtype=str(dtype).removeprefix("torch."),
        )


def _add_embedding(
    network: StyleNetwork, parts: Mapping[str, nn.Module], family: str, style: Style, strength: float, words: Words
) -> None:
    _check_base(style, origin_of(style), parts, family)
    rows = {}
    for part in [part for part in parts if not is_denoiser(part)]:
        encoder: Any = parts[part]  # untyped, to avoid importing transformers
        table: Tensor = encoder.get_input_embeddings().weight
        values = style.rows.get(part)
        if values is None or values.shape[-1] != table.shape[-1]:
            has = Message("none") if values is None else values.shape[-1]
            raise VelaturaError(
                "{name} was made for another base: its {part} has embeddings of {shape} numbers, the file has {has}",
                name=style.name,
                part=part,
                shape=table.shape[-1],
                has=has,
            )
        rows[part] = values.float().to(table.device) * strength
    for text in style.words:
        word = text
        if text in words.sizes:
            word = style.path.stem
            network.warnings.append(WORD_TAKEN.format(name=style.name, word=text, instead=word))
        network.add_word(Word(word, rows).requires_grad_(False), words)


def _check_base(style: Style, origin: Origin, parts: Mapping[str, nn.Module], family: str) -> None:
    base = get_family(family)
    origin.check(style.name)
    if origin.family is not None and base not in (origin.family, *origin.twins):
        raise VelaturaError(
            "{name} was made for {title}, and this base is {base}; use it with a {suitable} base",
            name=style.name,
            title=origin.title,
            base=base.title,
            suitable=origin.family.title,
        )
    denoiser: Any = parts.get(base.denoiser)  # untyped, to avoid importing diffusers
    width = getattr(denoiser.config, "cross_attention_dim", None) if denoiser is not None else None
    if width is None or origin.context_width in (None, width):
        return
    if origin.starter:
        raise VelaturaError(FOR_ANOTHER_STARTER.format(name=style.name))
    raise VelaturaError(
        "{name} was made for {title}, with {context_width} text channels; this base has {width}",
        name=style.name,
        title=origin.title,
        context_width=origin.context_width,
        width=width,
    )


def _check_sizes(
    style: Style, parts: Mapping[str, nn.Module], family: str, names: Mapping[str, tuple[str, str]]
) -> None:
    """Raise VelaturaError for a style of another size of base in the family, such as Stable Diffusion 3.5 large."""
    for layer, found, expected in size_mismatches(style, parts, family, names):
        raise VelaturaError(
            "{name} was made for a base of another size: its layer {layer} has {found} outputs, and in this base "
            "{expected}; use it with the base it was trained on",
            name=style.name,
            layer=layer,
            found=found,
            expected=expected,
        )


def _warnings(style: Style, missing: list[str]) -> list[str]:
    warnings = list(style.notes)
    if missing:
        total = sum(len(group.sites) for group in read_form(style).groups) if style.is_own else len(style.layers)
        warnings.append(LACKS.format(name=style.name, missing=len(missing), total=total, layers=some(missing)))
    if style.unknown_keys:
        found, example = len(style.unknown_keys), style.unknown_keys[0]
        warnings.append(IGNORED.format(name=style.name, found=found, example=example))
    return warnings
