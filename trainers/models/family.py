"""The base model families: titles, sizes, and names in files.

A family is a value: differences between families are data here, not copies of code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainers.errors import VelaturaError

Prediction = Literal["epsilon", "v_prediction"]

CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class Variant:
    """A family with one prediction type: native resolution in pixels, names in style files, configs."""

    prediction: Prediction
    resolution: int
    base_model_version: str
    """Value of `ss_base_model_version` in a style file."""
    architecture: str
    """ModelSpec architecture, before the slash."""
    configs: str
    """Name of the bundled config tree."""

    @property
    def tree(self) -> Path:
        """Folder with the complete diffusers configs."""
        return CONFIGS / self.configs


@dataclass(frozen=True)
class Family:
    """A family of base models; a style fits any base of its family and no other."""

    name: str
    title: str
    """Its name for users."""
    text_encoders: int
    context_width: int
    """Width of the text context, the inputs of cross-attention."""
    epsilon: Variant
    v_prediction: Variant

    def variant(self, prediction: Prediction) -> Variant:
        """The variant with networks that predict `prediction`."""
        return self.epsilon if prediction == "epsilon" else self.v_prediction

    @property
    def resolution(self) -> int:
        """Side in pixels of the square images that the family's epsilon networks were trained on."""
        return self.epsilon.resolution


Facts = tuple[int, str, str, str]


def _family(name: str, title: str, encoders: int, width: int, epsilon: Facts, v: Facts) -> Family:
    return Family(name, title, encoders, width, Variant("epsilon", *epsilon), Variant("v_prediction", *v))


FAMILIES: tuple[Family, ...] = (
    _family(
        "sd1",
        "Stable Diffusion 1",
        1,
        768,
        (512, "sd_v1", "stable-diffusion-v1", "sd1"),
        (512, "sd_v1", "stable-diffusion-v1", "sd1"),
    ),
    _family(
        "sd2",
        "Stable Diffusion 2",
        1,
        1024,
        (512, "sd_v2", "stable-diffusion-v2-512", "sd2"),
        (768, "sd_v2_v", "stable-diffusion-v2-768-v", "sd2-v"),
    ),
    _family(
        "sdxl",
        "Stable Diffusion XL",
        2,
        2048,
        (1024, "sdxl_base_v1-0", "stable-diffusion-xl-v1-base", "sdxl"),
        (1024, "sdxl_base_v1-0", "stable-diffusion-xl-v1-base", "sdxl"),
    ),
)


def get_family(name: str) -> Family:
    """The family with this name; VelaturaError, which lists the names, if there is none."""
    for family in FAMILIES:
        if family.name == name:
            return family
    raise VelaturaError(
        "there is no base model family {name!r}; available are {families}",
        name=name,
        families=", ".join(f.name for f in FAMILIES),
    )
