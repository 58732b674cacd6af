"""Which changes of a style file each program loads, by the form of the change and the place of its layer.

Measured by loading files of every method with the loaders of A1111 1.10, Forge, ComfyUI 0.14 and InvokeAI 6.14 and
comparing each layer's weight and bias with the intended ones. Combinations that were not measured count as unsupported.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Literal

from trainers.adapters.about import Form, Stored
from trainers.formats.layout import method_of, split_key
from trainers.messages import listed
from trainers.models.families import FAMILIES, find_family
from trainers.models.families.family import Family, Layout

Place = Literal[
    "unet", "unet without bias", "unet norm", "last unet norm", "clip", "clip norm", "last clip norm", "open_clip",
    "open_clip attention", "open_clip norm",
]  # fmt: skip
"""Where a layer is. `clip` is an encoder in transformers' layout, `open_clip` one that A1111 keeps in open_clip's, with
queries, keys and values in one matrix; `without bias` is a query, key or value of the UNet."""

WEIGHTS: tuple[Place, ...] = ("unet", "unet without bias", "clip", "open_clip", "open_clip attention")
MATRICES: tuple[Form, ...] = ("lora", "loha", "lokr", "full")


@dataclass(frozen=True)
class Program:
    """A program and the places it reads by form; it skips other changes, or refuses the file."""

    name: str
    reads: Mapping[Form, tuple[Place, ...]]
    tolerates: float = float("inf")
    """Maximum number of unknown keys in a file that it still loads."""
    warns: bool = False
    """Whether it warns about the single zero of each bias, although it loads the bias."""


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
"""The programs with a LoRA folder, in the order of their mention in sentences."""

FORM_TITLES: Mapping[Form, str] = {
    "bias": "biases",
    "norm": "norms",
    "turned and shifted": "shifts of scaled layers",
    "turned": "turns and scales",
}


TEXT_PLACES: Mapping[Layout, tuple[tuple[Place, ...], tuple[Place, ...]]] = {
    "clip": (("clip",), ("clip norm",)),
    "open_clip": (("open_clip", "open_clip attention"), ("open_clip norm",)),
}
"""Places of the layers and norms of a text encoder by its layout; all these layers have a bias."""


@dataclass(frozen=True)
class Compatibility:
    """How well one program loads a file."""

    program: Program
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Number of skipped changes by their title in `FORM_TITLES`."""
    refused: bool = False

    @property
    def whole(self) -> bool:
        return not self.refused and not self.left_out


def check_programs(shapes: Mapping[str, tuple[int, ...]], family: str) -> tuple[Compatibility, ...]:
    """How each program loads a file with tensors of these shapes, in the file's order, for a family's base."""
    base = find_family(family)
    if base is not None and base.style_form != "kohya":
        return tuple(_check_on_transformer(program, shapes, base) for program in PROGRAMS)
    layers = by_name(shapes)
    return tuple(_check_program(program, layers, family) for program in PROGRAMS)


def by_name(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Shapes by layer name and suffix, split at the first dot as programs do."""
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        stem, _, suffix = key.partition(".")
        layers.setdefault(stem, {})[suffix] = shape
    return layers


def programs_for(stored: Stored, family: str, text_encoders: bool = False) -> tuple[str, ...]:
    """Programs that load a method's whole change, on the UNet's attention and optionally on text encoders.

    For choosing a method; existing files are judged by `check_programs`.
    """
    changes: list[tuple[Form | None, Place]] = [
        (stored.with_bias, "unet"),
        (stored.without_bias, "unet without bias"),
        (stored.norm, "unet norm"),
    ]
    base = find_family(family) or FAMILIES[0]
    if text_encoders:
        for layout in dict.fromkeys(base.encoder_layouts.values()):
            layers, norms = TEXT_PLACES[layout]
            changes += [*((stored.with_bias, place) for place in layers), *((stored.norm, place) for place in norms)]
    written = [(form, place) for form, place in changes if form]
    if base.style_form != "kohya":
        forms = {form for form, _ in written}
        return tuple(one.name for one in PROGRAMS if forms and forms <= set(base.forms_read_by(one.name)))
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


def _check_on_transformer(program: Program, shapes: Mapping[str, tuple[int, ...]], base: Family) -> Compatibility:
    """How a program loads a style of a transformer, by what it reads of the family."""
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        stem, suffix = split_key(key) or (key, "")
        layers.setdefault(stem, {})[suffix] = shape
    forms, reads = map(form_of, layers.values()), base.forms_read_by(program.name, shapes)
    lost = Counter(FORM_TITLES.get(form, "changes") for form in forms if form not in reads)
    return Compatibility(program, dict(lost), refused=not reads or lost.total() == len(layers))


def form_of(shapes: Mapping[str, tuple[int, ...]]) -> Form:
    """The form of one layer's change, from the suffixes and shapes of its tensors."""
    method, shifted = method_of(shapes), "diff_b" in shapes
    if method == "oft" and "oft_blocks" in shapes:
        return "turned and shifted" if shifted else "turned"
    if {"w_norm", "b_norm"} & set(shapes):
        return "norm"
    if method == "full":
        return ("bias" if prod(shapes.get("diff", (1,))) == 1 else "other") if shifted else "full"
    return next((form for form in MATRICES if form == method), "other")


def place_of(stem: str, family: str) -> Place:
    """The place of the layer with a kohya name in a base of this family."""
    base = find_family(family)
    if stem.startswith("lora_unet_"):
        if stem.endswith(("_conv_norm_out", "_out_0")) and "_attn" not in stem:
            # SDXL files have the original name, which all programs know.
            return "unet norm" if base is not None and base.original_names else "last unet norm"
        if re.search(r"_(norm\d?|in_layers_0|out_layers_0)$", stem):
            return "unet norm"
        return "unet without bias" if re.search(r"_attn\d_to_[qkv]$", stem) else "unet"
    first = "clip" if base is None else base.encoder_layouts.get("text_encoder", "clip")
    if stem.startswith("lora_te2_") or first == "open_clip":
        if "norm" in stem:
            return "open_clip norm"
        return "open_clip attention" if "_self_attn_" in stem else "open_clip"
    if "norm" in stem:
        return "last clip norm" if stem.endswith("final_layer_norm") else "clip norm"
    return "clip"


def identifies_base(layers: Mapping[str, Mapping[str, tuple[int, ...]]], family: str) -> bool:
    """Whether InvokeAI can identify a file's base from its tensors; it refuses other files.

    It uses the first layer that gives the width of the text: cross-attention, or a text encoder's attention. It takes a
    time projection in plain LoRA before these for SDXL, which deep transformer blocks also indicate.
    """
    for stem, shapes in layers.items():
        if reads_text(stem):
            whole = {"lokr_w1", "lokr_w2"} <= set(shapes) or len(shapes.get("diff", ())) == 2
            if whole or {"lora_down.weight", "hada_w1_b"} & set(shapes):
                return True
        if stem.endswith("_time_emb_proj") and "lora_down.weight" in shapes:
            break
    depths = (int(depth) for stem in layers for depth in re.findall(r"transformer_blocks_(\d+)", stem))
    base = find_family(family)
    return base is not None and base.original_names and any(depth >= 2 for depth in depths)


def reads_text(stem: str) -> bool:
    """Whether a layer's inputs have the width by which InvokeAI identifies a base."""
    return re.match(r"lora_unet_.*_attn2_to_[kv]$|lora_te.*_self_attn_", stem) is not None


def describe_programs(name: str, shapes: Mapping[str, tuple[int, ...]], family: str) -> str:
    """A sentence, without full stop, on the programs that load a file wholly or partly from their LoRA folder."""
    found = check_programs(shapes, family)
    whole = [one.program.name for one in found if one.whole]
    verb, whose = ("loads", "its") if len(whole) == 1 else ("load", "their")
    says = f"{listed(whole)} {verb} {name} from {whose} LoRA folder"
    parts = [says if whole else f"no program with a LoRA folder loads all of {name}"]
    for one in found:
        if one.left_out and not one.refused:
            lost = listed([f"{count:,} {what}" for what, count in one.left_out.items()])
            parts.append(f"{one.program.name} loads it without {lost}")
    loaded = [one.program.name for one in found if one.program.warns and not one.refused]
    if loaded and any(form_of(each) == "bias" for each in by_name(shapes).values()):
        parts.append(f"the SHAPE MISMATCH that {listed(loaded)} may report for each bias is harmless")
    return "; ".join(parts)
