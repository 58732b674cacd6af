"""Rules for the changes in style files that each program loads, by form of the change and place of its layer.

The rules were read from the programs' own loaders at the commits below, and checked there by loading files of every
method and comparing each layer's weight and bias with the intended ones. Changes without a rule count as unsupported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trainers.adapters.about import Form
from trainers.messages import Message as _
from trainers.models.families.family import Layout

Place = Literal[
    "unet", "unet without bias", "unet norm", "last unet norm", "clip", "clip norm", "last clip norm", "open_clip",
    "open_clip attention", "open_clip norm", "kohya", "native", "ai-toolkit", "diffusers", "lycoris", "onetrainer",
    "scale and shift", "guidance network", "unknown",
]  # fmt: skip
"""The place of a layer. `clip` is an encoder in transformers' layout, `open_clip` one that A1111 keeps in open_clip's,
with queries, keys and values in one matrix; `without bias` is a query, key or value of the UNet. A transformer's layer
has the kind of its name as its place (`NAMES`); under diffusers' paths, its last scale and shift and Chroma's guidance
network have separate places."""

NAMES: Mapping[Place, str] = {
    "kohya": "`lora_unet_` and the authors' path",
    "native": "`diffusion_model.` and the authors' path",
    "ai-toolkit": "`diffusion_model.` and diffusers' path",
    "diffusers": "`transformer.` and diffusers' path",
    "lycoris": "`lycoris_` and diffusers' path",
    "onetrainer": "`lora_transformer_` and diffusers' path",
}
"""The names of transformers' layers that were tried; `diffusers` also stands for dotted names of UNets."""

WEIGHTS: tuple[Place, ...] = ("unet", "unet without bias", "clip", "open_clip", "open_clip attention")
MATRICES: tuple[Form, ...] = ("lora", "loha", "lokr", "full")
TURNED: tuple[Form, ...] = (*MATRICES, "turned")
UNETS, FLOWS = ("sd1", "sd2", "sdxl"), ("sd3", "flux", "chroma", "z-image")


@dataclass(frozen=True)
class Program:
    """A program, and the version and commit from which its rules were read."""

    name: str
    version: str
    commit: str
    tolerates: float = float("inf")
    """Maximum number of unknown keys in a file that it still loads."""
    warns: bool = False
    """Whether it warns about the single zero of each bias, although it loads the bias."""


@dataclass(frozen=True)
class Rule:
    """Forms of changes that a program reads at these places of styles for these families."""

    program: str
    families: tuple[str, ...]
    forms: tuple[Form, ...]
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Refusal:
    """A property for which a program refuses a file whose layers its rules would let it read."""

    program: str
    family: str
    why: str
    """A clause on the program."""
    layers: str = ""
    """A pattern in the name of a layer that it does not support."""
    widths: frozenset[int] = frozenset()
    """Sizes of layers that it does not have."""
    lacks: tuple[str, ...] = ()
    """Layers by which it recognises the kind of file; it needs them all."""
    of_base: bool = False
    """Whether it depends on the variant of the base instead of the trained layers."""


PROGRAMS = (
    Program("A1111", "1.10.1", "44480451"),
    Program("Forge", "of June 2025", "dfdcbab6", 12, True),
    Program("ComfyUI", "0.14.1", "ed958d69", warns=True),
    Program("InvokeAI", "6.14.0", "8e71a8a5", 0),
)
"""The programs with a LoRA folder, in the order of their mention in sentences."""
DIFFUSERS = Program("diffusers", "0.42.1", "of PyPI", 0)

RULES = (
    Rule("A1111", UNETS, TURNED, WEIGHTS),
    Rule("A1111", UNETS, ("bias",), ("unet", "unet without bias", "clip", "open_clip")),
    Rule("A1111", UNETS, ("norm",), ("unet norm", "clip norm")),
    Rule("A1111", ("sd3",), ("lora",), ("kohya", "clip")),
    Rule("Forge", UNETS, MATRICES, WEIGHTS),
    Rule("Forge", UNETS, ("bias",), ("unet",)),
    Rule("Forge", UNETS, ("norm",), ("unet norm",)),
    Rule("Forge", ("sd3",), MATRICES, ("kohya", "native", "clip")),
    Rule(
        *("Forge", ("flux",), ("lora", "loha", "lokr")),
        ("kohya", "native", "diffusers", "lycoris", "onetrainer", "scale and shift"),
    ),
    Rule("ComfyUI", UNETS, TURNED, WEIGHTS),
    Rule("ComfyUI", UNETS, ("turned and shifted", "bias"), ("unet", "clip", "open_clip", "open_clip attention")),
    Rule("ComfyUI", UNETS, ("norm",), ("unet norm", "last unet norm")),
    Rule("ComfyUI", FLOWS, TURNED, ("kohya", "native")),
    Rule("ComfyUI", ("sd3",), TURNED, ("clip",)),
    Rule("ComfyUI", ("sd3",), MATRICES, ("diffusers", "lycoris", "onetrainer", "scale and shift")),
    Rule("ComfyUI", ("flux", "chroma"), TURNED, ("diffusers", "lycoris", "onetrainer")),
    Rule("ComfyUI", ("flux",), MATRICES, ("scale and shift",)),
    Rule("ComfyUI", ("z-image",), TURNED, ("diffusers", "lycoris", "ai-toolkit")),
    Rule("InvokeAI", UNETS, MATRICES, WEIGHTS),
    Rule("InvokeAI", ("flux",), ("lora",), ("diffusers", "scale and shift")),
    Rule("InvokeAI", ("z-image",), ("lora",), ("diffusers", "ai-toolkit")),
    Rule("diffusers", UNETS, ("lora",), (*WEIGHTS, "diffusers")),
    Rule("diffusers", UNETS, ("lokr",), ("diffusers",)),
    Rule("diffusers", FLOWS, ("lora",), ("diffusers",)),
    Rule("diffusers", ("sd3", "flux"), ("lora",), ("scale and shift",)),
    Rule("diffusers", ("chroma",), ("lora",), ("guidance network",)),
    Rule("diffusers", ("z-image",), ("lora", "lokr"), ("ai-toolkit",)),
)
LARGE = frozenset({2432, 3 * 2432, 4 * 2432, 6 * 2432})
"""Widths in the transformer of Stable Diffusion 3.5 large."""
REFUSALS = (
    Refusal("A1111", "sd3", _("it has Stable Diffusion 3 medium alone"), "attn2", LARGE, of_base=True),
    Refusal("InvokeAI", "flux", _("it cannot convert the change of norm_out.linear"), r"norm_out[._]linear"),
    Refusal(
        "InvokeAI", "flux", _("it recognises a file only by its joint and single attention"), lacks=(
            "transformer.single_transformer_blocks.0.attn.to_q", "transformer.transformer_blocks.0.attn.add_q_proj",
        ),
    ),
)  # fmt: skip

SPECIAL: Mapping[Place, re.Pattern[str]] = {
    "scale and shift": re.compile(r"^norm_out[._]linear$"),
    "guidance network": re.compile(r"^distilled_guidance_layer"),
}
"""Layers that programs treat in another way under diffusers' paths."""
FORM_TITLES: Mapping[Form, tuple[str, str]] = {
    "bias": ("bias", "biases"),
    "norm": ("norm", "norms"),
    "turned and shifted": ("shift of a scaled layer", "shifts of scaled layers"),
    "turned": ("turn and scale", "turns and scales"),
}
"""Singular and plural titles of changes."""
TEXT_PLACES: Mapping[Layout, tuple[tuple[Place, ...], tuple[Place, ...]]] = {
    "clip": (("clip",), ("clip norm",)),
    "open_clip": (("open_clip", "open_clip attention"), ("open_clip norm",)),
}
"""Places of the layers and norms of a text encoder by its layout; all these layers have a bias."""


def reads(program: str, family: str, form: Form | None, place: Place) -> bool:
    """Whether a program reads a form of change at a place of a family's styles; with None, any form."""
    rules = (rule for rule in RULES if rule.program == program and family in rule.families and place in rule.places)
    return any(form is None or form in rule.forms for rule in rules)
