"""The families of base models, one file each."""

from __future__ import annotations

from trainers.errors import VelaturaError
from trainers.models.families.chroma import Chroma
from trainers.models.families.family import Family, Licence
from trainers.models.families.flux import Flux1
from trainers.models.families.sd1 import StableDiffusion1
from trainers.models.families.sd2 import StableDiffusion2
from trainers.models.families.sd3 import StableDiffusion3
from trainers.models.families.sdxl import StableDiffusionXL
from trainers.models.families.z_image import ZImage

FAMILIES: tuple[Family, ...] = (
    StableDiffusion1(),
    StableDiffusion2(),
    StableDiffusionXL(),
    StableDiffusion3(),
    Flux1(),
    Chroma(),
    ZImage(),
)
"""All families; where a base or a style matches several, the last one counts."""


def find_family(name: str) -> Family | None:
    """The family with this name or title; None if there is none."""
    return next((family for family in FAMILIES if name in (family.name, family.title)), None)


def get_family(name: str) -> Family:
    """The family with this name; VelaturaError with all names if there is none."""
    for family in FAMILIES:
        if family.name == name:
            return family
    raise VelaturaError(
        "there is no base model family {name!r}; available are {families}",
        name=name,
        families=", ".join(f.name for f in FAMILIES),
    )


def known_licence(family: str, model: str) -> Licence | None:
    """The licence of the base with this hub id, or the one that all bases of its family have; None if unknown."""
    known = find_family(family)
    if known is None:
        return None
    if known.offered is not None and known.offered.model == model:
        return known.offered.licence
    licences = {variant.licence for variant in known.variants}
    return licences.pop() if len(licences) == 1 else None
