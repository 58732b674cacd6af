"""The base model families: names, sizes, and names in files.

A family is a value. What differs between families is data here, not a copy of the code.
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
    """A family with one prediction type: native resolution in pixels, names in style files, folder of its configs."""

    prediction: Prediction
    resolution: int
    base_model_version: str
    """Value of `ss_base_model_version` in a style file."""
    architecture: str
    """ModelSpec architecture, before the slash."""
    configs: str
    """Name of the config tree that ships with the package."""

    @property
    def tree(self) -> Path:
        """Folder of the complete diffusers configs of this variant."""
        return CONFIGS / self.configs


@dataclass(frozen=True)
class Family:
    """A kind of base model; styles fit any base of the same family and no other."""

    name: str
    title: str
    """What people call it."""
    text_encoders: int
    context_width: int
    """Channels of the text that the network attends to (its cross-attention width)."""
    epsilon: Variant
    v_prediction: Variant

    def variant(self, prediction: Prediction) -> Variant:
        """What holds for this family with networks that predict `prediction`."""
        return self.epsilon if prediction == "epsilon" else self.v_prediction

    @property
    def resolution(self) -> int:
        """Side of the square that the family's ordinary networks were trained on, in pixels."""
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
    """The family called `name`; VelaturaError lists the names there are."""
    for family in FAMILIES:
        if family.name == name:
            return family
    raise VelaturaError(f"there is no base model family {name!r}; available are {', '.join(f.name for f in FAMILIES)}")
