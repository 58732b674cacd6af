"""What each program reads in a style file, by the form of a change and the place of its layer.

Measured by loading files of every method into the loaders of A1111 1.10, Forge, ComfyUI 0.14 and InvokeAI 6.14 and
comparing each layer's weight and bias with what was meant. What was not measured is not claimed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Literal

from trainers.adapters.about import Form, Stored
from trainers.formats.layout import method_of

Place = Literal[
    "unet", "unet without bias", "unet norm", "last unet norm", "clip", "clip norm", "last clip norm", "open_clip",
    "open_clip attention", "open_clip norm",
]  # fmt: skip
"""Where a layer is. `clip` is an encoder that programs keep as transformers does, `open_clip` one that A1111 keeps as
open_clip does, with queries, keys and values as one matrix; `without bias` is a query, key or value of the UNet."""

WEIGHTS: tuple[Place, ...] = ("unet", "unet without bias", "clip", "open_clip", "open_clip attention")
MATRICES: tuple[Form, ...] = ("lora", "loha", "lokr", "full")


@dataclass(frozen=True)
class Program:
    """What one program reads: places by form; the rest it leaves out, or refuses the file for."""

    name: str
    reads: Mapping[Form, tuple[Place, ...]]
    tolerates: float = float("inf")
    """Keys that it does not know in a file that it still loads."""
    warns: bool = False
    """Whether it warns of the single zero beside each bias, and loads the bias all the same."""


PROGRAMS = (
    Program(
        "A1111",
        {
            **dict.fromkeys((*MATRICES, "turned"), WEIGHTS),
            "bias": ("unet", "unet without bias", "clip", "open_clip"),
            "norm": ("unet norm", "clip norm"),
        },
    ),
    Program("Forge", {**dict.fromkeys(MATRICES, WEIGHTS), "bias": ("unet",), "norm": ("unet norm",)}, 12, True),
    Program(
        "ComfyUI",
        {
            **dict.fromkeys((*MATRICES, "turned"), WEIGHTS),
            "turned and shifted": ("unet", "clip", "open_clip", "open_clip attention"),
            "bias": ("unet", "clip", "open_clip", "open_clip attention"),
            "norm": ("unet norm", "last unet norm"),
        },
        warns=True,
    ),
    Program("InvokeAI", dict.fromkeys(MATRICES, WEIGHTS), 0),
)
"""The programs with a LoRA folder, in the order in which sentences name them."""

FORM_TITLES: Mapping[Form, str] = {
    "bias": "biases",
    "norm": "norms",
    "turned and shifted": "shifts of scaled layers",
    "turned": "turns and scales",
}


TEXT_PLACES: Mapping[str, tuple[tuple[Place, ...], tuple[Place, ...]]] = {
    "sd1": (("clip",), ("clip norm",)),
    "sd2": (("open_clip", "open_clip attention"), ("open_clip norm",)),
    "sdxl": (("clip", "open_clip", "open_clip attention"), ("clip norm", "open_clip norm")),
}
"""Where layers and norms of a family's text encoders are; the layers have a bias each."""


@dataclass(frozen=True)
class Compatibility:
    """What came of a file in one program."""

    program: Program
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Changes that it does not make, by what they are called."""
    refused: bool = False

    @property
    def whole(self) -> bool:
        return not self.refused and not self.left_out


def check_programs(shapes: Mapping[str, tuple[int, ...]], family: str) -> tuple[Compatibility, ...]:
    """What each program makes of a file with tensors of these shapes, in the file's order, for a base of a family."""
    layers = by_name(shapes)
    return tuple(_check_program(program, layers, family) for program in PROGRAMS)


def by_name(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Shapes by the layer's name, up to the first dot as programs split it, and the suffix."""
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        stem, _, suffix = key.partition(".")
        layers.setdefault(stem, {})[suffix] = shape
    return layers


def programs_for(stored: Stored, family: str, text_encoders: bool = False) -> tuple[str, ...]:
    """Who will load all of a change stored so, on the UNet's attention and on text encoders.

    A file that is written is judged by `check_programs`; this is for those who have yet to choose.
    """
    changes: list[tuple[Form | None, Place]] = [
        (stored.with_bias, "unet"),
        (stored.without_bias, "unet without bias"),
        (stored.norm, "unet norm"),
    ]
    if text_encoders:
        layers, norms = TEXT_PLACES.get(family, TEXT_PLACES["sd1"])
        changes += [*((stored.with_bias, place) for place in layers), *((stored.norm, place) for place in norms)]
    written = [(form, place) for form, place in changes if form]
    all_of_it = (one.name for one in PROGRAMS if all(place in one.reads.get(form, ()) for form, place in written))
    return tuple(all_of_it)


def _check_program(program: Program, layers: Mapping[str, Mapping[str, tuple[int, ...]]], family: str) -> Compatibility:
    left_out: Counter[str] = Counter()
    unknown = 0
    for stem, shapes in layers.items():
        form, place = form_of(shapes), place_of(stem, family)
        if place not in program.reads.get(form, ()):
            where = "text encoders' " if stem.startswith("lora_te") else ""
            lone = " where the base has none" if form == "bias" and place == "unet without bias" else ""
            left_out[f"{where}{FORM_TITLES.get(form, 'changes')}{lone}"] += 1
            unknown += len(shapes)
    refused = unknown > program.tolerates or (program.name == "InvokeAI" and not identifies_base(layers, family))
    return Compatibility(program, dict(left_out), refused)


def form_of(shapes: Mapping[str, tuple[int, ...]]) -> Form:
    """The form of one layer's change, by the suffixes and shapes of its tensors."""
    method, shifted = method_of(shapes), "diff_b" in shapes
    if method == "oft" and "oft_blocks" in shapes:
        return "turned and shifted" if shifted else "turned"
    if {"w_norm", "b_norm"} & set(shapes):
        return "norm"
    if method == "full":
        return ("bias" if prod(shapes.get("diff", (1,))) == 1 else "other") if shifted else "full"
    return next((form for form in MATRICES if form == method), "other")


def place_of(stem: str, family: str) -> Place:
    """Where the layer is that kohya's name means on a base of this family."""
    if stem.startswith("lora_unet_"):
        if stem.endswith(("_conv_norm_out", "_out_0")) and "_attn" not in stem:
            # The original name, which SDXL's files have, is known to all.
            return "unet norm" if family == "sdxl" else "last unet norm"
        if re.search(r"_(norm\d?|in_layers_0|out_layers_0)$", stem):
            return "unet norm"
        return "unet without bias" if re.search(r"_attn\d_to_[qkv]$", stem) else "unet"
    if stem.startswith("lora_te2_") or family == "sd2":
        if "norm" in stem:
            return "open_clip norm"
        return "open_clip attention" if "_self_attn_" in stem else "open_clip"
    if "norm" in stem:
        return "last clip norm" if stem.endswith("final_layer_norm") else "clip norm"
    return "clip"


def identifies_base(layers: Mapping[str, Mapping[str, tuple[int, ...]]], family: str) -> bool:
    """Whether InvokeAI can tell from the tensors which base a file is for, without which it imports none.

    It takes the first that tells: how wide the text is that cross-attention reads, or a text encoder's attention. A
    time projection of plain LoRA before these would be taken for SDXL, which deep transformer blocks tell as well.
    """
    for stem, shapes in layers.items():
        if reads_text(stem):
            whole = {"lokr_w1", "lokr_w2"} <= set(shapes) or len(shapes.get("diff", ())) == 2
            if whole or {"lora_down.weight", "hada_w1_b"} & set(shapes):
                return True
        if stem.endswith("_time_emb_proj") and "lora_down.weight" in shapes:
            break
    depths = (int(depth) for stem in layers for depth in re.findall(r"transformer_blocks_(\d+)", stem))
    return family == "sdxl" and any(depth >= 2 for depth in depths)


def reads_text(stem: str) -> bool:
    """Whether a layer's inputs have the width by which InvokeAI tells a base."""
    return re.match(r"lora_unet_.*_attn2_to_[kv]$|lora_te.*_self_attn_", stem) is not None


def describe_programs(name: str, shapes: Mapping[str, tuple[int, ...]], family: str) -> str:
    """A sentence without its end on who loads a file from the LoRA folder, and who loads it in part."""
    found = check_programs(shapes, family)
    whole = [one.program.name for one in found if one.whole]
    verb, whose = ("loads", "its") if len(whole) == 1 else ("load", "their")
    says = f"{_listed(whole)} {verb} {name} from {whose} LoRA folder"
    parts = [says if whole else f"no program with a LoRA folder loads all of {name}"]
    for one in found:
        if one.left_out and not one.refused:
            lost = _listed([f"{count:,} {what}" for what, count in one.left_out.items()])
            parts.append(f"{one.program.name} loads it without {lost}")
    loaded = [one.program.name for one in found if one.program.warns and not one.refused]
    if loaded and any(form_of(each) == "bias" for each in by_name(shapes).values()):
        parts.append(f"the SHAPE MISMATCH that {_listed(loaded)} may report for each bias is harmless")
    return "; ".join(parts)


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
