"""The base model of a style file, as far as the file tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from trainers.formats.layout import GLORA
from trainers.formats.names import part_of
from trainers.formats.read import Style
from trainers.messages import Message
from trainers.models.families import FAMILIES
from trainers.models.families.family import Family, Variant

if TYPE_CHECKING:
    from trainers.models.model import Model

STARTER = "Velatura starter"
"""Value of `velatura.fits_only`."""


@dataclass(frozen=True)
class Origin:
    """The base of a style; None and empty if the file does not say."""

    family: Family | None
    context_width: int | None
    """Width of the text context: the inputs of cross-attention, or the output of an embedding's encoders."""
    name: str
    sha256: str
    starter: bool
    version: str
    """Its `ss_base_model_version`."""
    told: bool
    """Whether the metadata names the family; otherwise its layers' names were taken for it."""

    @property
    def variant(self) -> Variant:
        """The family's variant that the style names, or else the usual one. AssertionError without a family."""
        assert self.family is not None
        found = (variant for variant in self.family.variants if variant.base_model_version == self.version)
        return next(found, self.family.variants[0])

    @property
    def title(self) -> str:
        """Name of the base, for sentences."""
        if self.starter:
            return Message("the Velatura starter")
        return self.family.title if self.family is not None else Message("another kind of model")


def origin_of(style: Style) -> Origin:
    """The base of a style, from its metadata or else from the names and shapes of its layers."""
    width, told = _context_width(style), _by_metadata(style)
    return Origin(
        family=told or _by_layers(style, width),
        context_width=width,
        name=style.metadata.get("ss_sd_model_name", ""),
        sha256=style.metadata.get("velatura.base_sha256") or style.metadata.get("ss_new_sd_model_hash", ""),
        starter=style.metadata.get("velatura.fits_only") == STARTER,
        version=style.metadata.get("ss_base_model_version", ""),
        told=told is not None,
    )


def is_of_other_starter(style: Style, model: Model) -> bool:
    """Whether `model` is the starter and the style was trained on another version of it, as far as the file tells."""
    if not model.starter:
        return False
    origin = origin_of(style)
    return origin.starter and origin.sha256 not in ("", model.sha256)


def _by_metadata(style: Style) -> Family | None:
    written = style.metadata.get("velatura.family", "")
    version = style.metadata.get("ss_base_model_version", "")
    architecture = style.metadata.get("modelspec.architecture", "").partition("/")[0]
    for family in FAMILIES:
        if written == family.name or family.owns_version(version):
            return family
    return next((f for f in FAMILIES if architecture in {variant.architecture for variant in f.variants}), None)


def _by_layers(style: Style, width: int | None) -> Family | None:
    layers = {stem: part_of(stem) for stem in style.layers}
    return next((family for family in reversed(FAMILIES) if family.owns_layers(layers, width)), None)


def _context_width(style: Style) -> int | None:
    if style.rows:
        return sum(rows.shape[-1] for rows in style.rows.values())
    for stem, tensors in style.layers.items():
        if part_of(stem) != "unet" or not stem.endswith(("attn2_to_k", "attn2_to_v", "attn2.to_k", "attn2.to_v")):
            continue
        if set(GLORA) <= set(tensors):  # A (in, in) is the product of the first two, in either order
            return max(map(_columns, (tensors["a1.weight"], tensors["a2.weight"])))
        whole = [tensors[name] for name in ("lora_down.weight", "hada_w1_b", "diff") if name in tensors]
        if whole and whole[0].dim() == 1:  # only the bias changes
            continue
        if whole:
            return _columns(whole[0])
        left = tensors.get("lokr_w1", tensors.get("lokr_w1_b"))
        right = tensors.get("lokr_w2", tensors.get("lokr_w2_b"))
        if left is not None and right is not None:
            return _columns(left) * _columns(right)
    return None


def _columns(tensor: Tensor) -> int:
    """Columns of a matrix; 0 for other tensors, which an untrusted file may hold."""
    return int(tensor.shape[1]) if tensor.dim() > 1 else 0
