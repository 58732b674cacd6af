"""The base model of a style, from its file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.errors import VelaturaError
from trainers.formats.layout import inputs_of
from trainers.formats.names import part_of
from trainers.formats.read import Style, other_of_layers
from trainers.messages import Message, either
from trainers.models.families import FAMILIES
from trainers.models.families.family import Family, Variant
from trainers.models.files.other_bases import OtherBase, other_by_name

if TYPE_CHECKING:
    from trainers.models.model import Model

STARTER = "Velatura starter"
"""Value of `velatura.fits_only`."""
UNREAD = "velatura.unread"
"""Metadata: words that the base left out of texts in training, one a line."""
FOR_ANOTHER_STARTER = Message("{name} fits only the starter it was trained on; this is another base")


@dataclass(frozen=True)
class Origin:
    """The base of a style; None and empty if unknown."""

    family: Family | None
    context_width: int | None
    """Width of the text context: the inputs of cross-attention, or the output of an embedding's encoders."""
    name: str
    sha256: str
    starter: bool
    version: str
    """Its `ss_base_model_version`."""
    is_named: bool
    """Whether the metadata names the family; otherwise the layers' names decide."""
    other: OtherBase | None = None
    """The kind of base if Velatura does not train it; it has no family."""
    twins: tuple[Family, ...] = ()
    """Other possible families: their layers have the same names, and the metadata names none."""

    @property
    def variant(self) -> Variant:
        """The family's variant that the style names, or else the usual one; AssertionError without a family."""
        assert self.family is not None
        named = (variant for variant in self.family.variants if variant.base_model_version == self.version)
        return next(named, self.family.variants[0])

    @property
    def title(self) -> str:
        """Name of the base, for sentences."""
        if self.starter:
            return Message("the Velatura starter")
        if self.other is not None:
            return self.other.name
        if self.family is None:
            return Message("another kind of model")
        return either([family.title for family in (self.family, *self.twins)])

    def problem(self, file: str) -> str:
        """A sentence that refuses a style for a base that Velatura does not train; otherwise empty."""
        return "" if self.other is None else self.other.refuse_style(file).message

    def check(self, file: str) -> None:
        """Raise VelaturaError if the style in a file was made for a base that Velatura does not train."""
        if problem := self.problem(file):
            raise VelaturaError(problem)


def origin_of(style: Style) -> Origin:
    """The base of a style, from its metadata or else from the names and shapes of its layers."""
    width, named = _context_width(style), _by_metadata(style)
    other = None if named or style.is_own else other_of_layers(style.layers) or other_by_name(_names(style))
    family = named or (None if other is not None else _by_layers(style, width))
    return Origin(
        family=family,
        context_width=width,
        name=style.metadata.get("ss_sd_model_name", ""),
        sha256=style.metadata.get("velatura.base_sha256") or style.metadata.get("ss_new_sd_model_hash", ""),
        starter=style.metadata.get("velatura.fits_only") == STARTER,
        version=style.metadata.get("ss_base_model_version", ""),
        is_named=named is not None,
        other=other,
        twins=() if named or family is None else tuple(_twins(family, style)),
    )


def unread_words(style: Style) -> list[str]:
    """Words that the base left out of texts in the style's training."""
    return [words for line in style.metadata.get(UNREAD, "").splitlines() if (words := line.strip())]


def is_of_other_starter(style: Style, model: Model) -> bool:
    """Whether `model` is the starter and the file names another version of it."""
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


def _names(style: Style) -> list[str]:
    """Names of a style's kind of base in its metadata."""
    return [style.metadata.get(name, "") for name in ("ss_base_model_version", "modelspec.architecture")]


def _twins(family: Family, style: Style) -> Iterator[Family]:
    """Other families that have all of a style's layers."""
    for twin in (other for other in FAMILIES if other.named_as == family.name):
        if not any(mark in stem.replace("_", ".") for stem in style.layers for mark in twin.lacks):
            yield twin


def _by_layers(style: Style, width: int | None) -> Family | None:
    layers = {stem: part_of(stem) for stem in style.layers}
    return next((family for family in reversed(FAMILIES) if family.owns_layers(layers, width)), None)


def _context_width(style: Style) -> int | None:
    if style.rows:
        return sum(rows.shape[-1] for rows in style.rows.values())
    readers = ("attn2_to_k", "attn2_to_v", "attn2.to_k", "attn2.to_v")
    layers = (layer for stem, layer in style.layers.items() if stem.endswith(readers) and part_of(stem) == "unet")
    return next(filter(None, map(inputs_of, layers)), None)
