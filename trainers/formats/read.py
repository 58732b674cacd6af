"""Reading style files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from trainers.adapters.updates import Kronecker, Rows, Update
from trainers.adapters.updates.rows import Ranges
from trainers.errors import VelaturaError
from trainers.formats.codecs import build_update, dora, needs_base, update_on
from trainers.formats.embedding import parts_in, rows_in, words_of
from trainers.formats.layout import LayoutError, by_layer, inputs_of, method_of, outputs_of, split_key
from trainers.formats.limits import check_formats, check_layer, check_total, read_style_header
from trainers.formats.peft_settings import CONFIG, PREFIX, PeftSettings, parse_adapter_metadata, read_adapter_config
from trainers.messages import Message
from trainers.models.files.header import Header
from trainers.models.files.other_bases import OtherBase, other_of_style

BASE_MODEL_KEYS = re.compile(
    r"^(model\.diffusion_model|first_stage_model|cond_stage_model|conditioner\.embedders)\."
    r"|^(down_blocks|up_blocks|mid_block|encoder|decoder|text_model|transformer_blocks)\.[\w.]+\.(weight|bias)$"
)
OWN_FORM = "velatura.methods"
"""Metadata key that marks a file in Velatura's own format (`trainers.formats.own_form`)."""


@dataclass(frozen=True)
class Style:
    """A style file in memory: its tensors as stored, and its untrusted metadata.

    It changes layers, or is a textual-inversion embedding: `rows` for its `words` in prompts.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    adapter_config: PeftSettings | None = None
    """PEFT's settings from the file next to this one, if any."""
    shares: Mapping[str, Ranges] = field(default_factory=dict)
    """Rows of each layer, by name, whose tensors are a change of several layers."""

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name

    @property
    def is_own(self) -> bool:
        """Whether it is in Velatura's own format, which only Velatura loads; `layers` is then empty."""
        return OWN_FORM in self.metadata

    @cached_property
    def rows(self) -> Mapping[str, Tensor]:
        """The rows `(n, d)` of an embedding by text encoder; empty for a style of layers."""
        if self.is_own or any(map(method_of, self._split[0].values())):
            return {}
        return rows_in(self.tensors)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Words for an embedding in prompts; empty for a style of layers."""
        return words_of(self.tensors, self.metadata, self.path.stem) if self.rows else ()

    @cached_property
    def _split(self) -> tuple[dict[str, dict[str, Tensor]], tuple[str, ...]]:
        return by_layer(self.tensors)

    @cached_property
    def _grouped(self) -> tuple[dict[str, dict[str, Tensor]], tuple[str, ...]]:
        if self.rows or self.is_own:
            return {}, ()
        layers, unknown = dict(self._split[0]), self._split[1]
        for stem, tensors in layers.items():
            layers[stem] = {**tensors, **self._peft_facts(stem, tensors)}
        return layers, unknown

    @property
    def layers(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Tensors by layer name and suffix, in LyCORIS' spelling."""
        return self._grouped[0]

    def layers_on(self, names: Mapping[str, tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Names in the file of the base's changed layers, by part and path.

        `names` are all names for layers of the base (`layer_names`). A layer stored under two names counts once;
        VelaturaError if the two differ.
        """
        stems: dict[tuple[str, str], str] = {}
        for stem in self.layers:
            if stem not in names:
                continue
            first = stems.setdefault(names[stem], stem)
            if first != stem:
                self.check_same(first, stem)
        return stems

    def check_same(self, first: str, second: str) -> None:
        """Raise VelaturaError if two names of one layer stand for different changes."""
        if not _equal(self.layers[first], self.layers[second]):
            self.refuse_twice(first, second)

    def refuse_twice(self, first: str, second: str) -> NoReturn:
        """Raise VelaturaError for two names of one layer."""
        raise VelaturaError(
            "{name} changes one layer twice, as {first} and as {stem}; programs disagree about which one "
            "counts, so remove one",
            name=self.name,
            first=first,
            stem=second,
        )

    @property
    def unknown_keys(self) -> tuple[str, ...]:
        """Keys of tensors in unknown formats."""
        return self._grouped[1]

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Remarks on how the file was read, one sentence each."""
        if self.adapter_config is not None or not any(stem.startswith(PREFIX) for stem in self.layers):
            return ()
        scaled = (layer for layer in self.layers.values() if method_of(layer) in ("lora", "loha", "lokr"))
        if not any("alpha" not in layer for layer in scaled):
            return ()
        return (
            Message(
                "{name} is a PEFT file without its {config}, which has alpha: it is read with alpha = rank, which "
                "may be too strong or too weak; put {config} into the same folder",
                name=self.name,
                config=CONFIG,
            ),
        )

    def modules(self) -> dict[str, Update]:
        """The change of each layer by its name in the file; VelaturaError if a layer's tensors are not a change."""
        return {stem: self.update(stem) for stem in self.layers}

    def update(self, stem: str, W: Tensor | None = None, bias: Tensor | None = None) -> Update:
        """The change of the layer `stem`, checked against its weight W if given; some changes need W and the bias.

        Raises VelaturaError if the tensors are not a change, or do not fit the layer.
        """
        tensors = self.layers[stem]
        check_layer(self.name, stem, _shapes(tensors))
        try:
            if stem in self.shares:
                update: Update = _share(build_update(tensors), self.shares[stem], W)
            elif W is not None and needs_base(tensors):
                update = update_on(tensors, W, bias)
            elif set(dora.MAGNITUDES) & set(tensors):
                raise LayoutError("is a DoRA, which depends on the base model")
            else:
                update = build_update(tensors, None if W is None else tuple(W.shape))
            if not update.largest() <= torch.finfo(torch.float32).max:
                raise LayoutError("multiplies to numbers too large for fp32; its training failed")
        except LayoutError as error:
            raise VelaturaError(
                "{name} does not fit: its layer {stem} {error}", name=self.name, stem=stem, error=error.message
            ) from error
        return update

    def _peft_facts(self, stem: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """PEFT's settings of a layer: its scale, or how it rotates or scales."""
        if stem.startswith(PREFIX):
            settings, path = self.adapter_config, stem.removeprefix(PREFIX)
            where = Message("{config} next to it", config=CONFIG)
        else:
            part, _, path = stem.partition(".")
            settings, where = self._peft_settings.get(part), Message("`lora_adapter_metadata`")
            if settings is None:
                settings, path = self._peft_settings.get(""), stem
        try:
            return {} if settings is None else settings.facts(path, tensors)
        except (TypeError, ValueError, AttributeError, OverflowError, ZeroDivisionError) as error:
            raise VelaturaError(
                "{name} has an invalid {where} ({error})", name=self.name, where=where, error=error
            ) from error

    @cached_property
    def _peft_settings(self) -> dict[str, PeftSettings]:
        return parse_adapter_metadata(self.metadata.get("lora_adapter_metadata", ""), self.name)


def _share(change: Update, ranges: Ranges, W: Tensor | None) -> Update:
    """One layer's rows of a change; LayoutError if they do not fit its weight."""
    assert isinstance(change, Kronecker)
    share = Rows(change, ranges)
    if W is not None and share.shape != tuple(W.shape):
        raise LayoutError(
            "has {inputs} inputs, and the layer has the shape {shape}", inputs=change.shape[1], shape=tuple(W.shape)
        )
    return share


def other_of_layers(layers: Mapping[str, Mapping[str, Tensor]]) -> OtherBase | None:
    """The kind of base of a style with these layers if Velatura does not train it; otherwise None."""
    return other_of_style({stem: (outputs_of(layer), inputs_of(layer)) for stem, layer in layers.items()})


def _shapes(layer: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {suffix: tuple(tensor.shape) for suffix, tensor in layer.items()}


def _equal(layer: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return layer.keys() == other.keys() and all(torch.equal(layer[name], other[name]) for name in layer)


def read_style(path: Path | str) -> Style:
    """Read a style file of any known program: LoRA, LoHA, LoKr, OFT, full changes, embeddings …

    Args:
        path: A `.safetensors` file; pickles are refused, since opening them can run code.

    Returns:
        The style's tensors as stored, on the CPU, and its metadata.

    Raises:
        VelaturaError: The file is missing, is not a style, or has numbers that are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    header = _checked_header(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise VelaturaError(
            "{name} cannot be read as safetensors ({error}); copy or download it again", name=path.name, error=error
        ) from error
    for key, tensor in tensors.items():
        exact = tensor.float() if tensor.itemsize == 1 else tensor  # torch does not check 8-bit formats
        if tensor.is_floating_point() and not torch.isfinite(exact).all():
            raise VelaturaError(
                "{name} holds numbers that are not finite, in {key}; its training failed", name=path.name, key=key
            )
    return Style(path, tensors, header.metadata, _read_adapter_config(path, header))


def read_outline(path: Path) -> Style:
    """Read only the header of a style file: names, shapes and metadata, with tensors on torch's meta device.

    The cost does not depend on the file's size. Raises VelaturaError as `read_style` does, for faults in the header.
    """
    header = _checked_header(path)
    tensors = {key: torch.empty(shape, device="meta") for key, shape in header.shapes.items()}
    return Style(path, tensors, header.metadata, _read_adapter_config(path, header))


def _checked_header(path: Path) -> Header:
    """The header of a style file; VelaturaError if it is not a style or exceeds the limits on unfolded size."""
    header = read_style_header(path)
    layers, _ = by_layer({key: torch.empty(shape, device="meta") for key, shape in header.shapes.items()})
    _refuse_other_kinds(path, header, layers)
    if OWN_FORM not in header.metadata:
        check_total(path.name, map(_shapes, layers.values()))
        try:
            for stem, layer in layers.items():
                check_layer(path.name, stem, _shapes(layer))
        except VelaturaError:
            if other_of_layers(layers) is None:  # other bases have larger layers, and their styles are only described
                raise
    check_formats(path.name, header.formats, {key: split[1] for key in header.shapes if (split := split_key(key))})
    return header


def _read_adapter_config(path: Path, header: Header) -> PeftSettings | None:
    return read_adapter_config(path) if any(key.startswith(PREFIX) for key in header.shapes) else None


def _refuse_other_kinds(path: Path, header: Header, layers: Mapping[str, Mapping[str, Tensor]]) -> None:
    shapes = header.shapes
    if OWN_FORM in header.metadata:
        return
    if any(method_of(suffixes) for suffixes in layers.values()):
        return
    if any(BASE_MODEL_KEYS.search(key) for key in shapes):
        raise VelaturaError(
            "{name} is a base model or part of one, not a style; use it as the base instead", name=path.name
        )
    if parts_in(shapes):
        return
    found = next(iter(sorted(shapes)), Message("no tensors at all"))
    raise VelaturaError(
        "{name} is not a known kind of style (LoRA, LoHA, LoKr, OFT, IA³, GLoRA, full change or "
        "embedding): it has {found}",
        name=path.name,
        found=found,
    )
