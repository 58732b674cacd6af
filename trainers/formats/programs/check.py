"""The part of a style file that each program loads, by the rules in `trainers.formats.programs.table`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Literal

from trainers.adapters.about import Form, Stored
from trainers.formats.layout import method_of, split_key
from trainers.formats.programs.table import (
    FORM_TITLES,
    MATRICES,
    NAMES,
    PROGRAMS,
    REFUSALS,
    SPECIAL,
    TEXT_PLACES,
    Place,
    Program,
    Refusal,
    reads,
)
from trainers.layer_names import dotted, split_start
from trainers.messages import Message as _
from trainers.messages import listed, some
from trainers.models.families import FAMILIES, find_family
from trainers.models.families.family import Family

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of tensors by key or by suffix."""


@dataclass(frozen=True)
class Compatibility:
    """How well one program loads a file."""

    program: Program
    left_out: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    """Layers of skipped changes, by the singular and plural titles of the change."""
    refused: bool = False
    refusal: Refusal | None = None
    """The rule by which it refuses the file, if any."""
    tried: bool = True
    """Whether files with such layer names were ever tried in it."""

    @property
    def loads(self) -> Literal["all", "part", "nothing", "unknown"]:
        """How much of the file it loads."""
        if not self.tried:
            return "unknown"
        return "nothing" if self.refused else "part" if self.left_out else "all"

    @property
    def whole(self) -> bool:
        return self.loads == "all"

    @property
    def partly(self) -> bool:
        return self.loads == "part"

    @property
    def lost(self) -> str:
        """Number and kind of the skipped changes, with the first layers, for sentences."""
        counted = ((len(layers), titles, some([*map(dotted, layers)])) for titles, layers in self.left_out.items())
        return listed([f"{count:,} {titles[count != 1]} ({layers})" for count, titles, layers in counted])

    @property
    def summary(self) -> str:
        """How much of the file it loads, in a few words."""
        refuses = "refuses it" if self.refusal is None else f"refuses it: {self.refusal.why}"
        texts = {"all": "loads all of it", "part": f"loads it without {self.lost}", "nothing": refuses}
        return texts.get(self.loads, "was not tried with such a file")


def check_programs(shapes: Shapes, family: str, programs: Sequence[Program] = PROGRAMS) -> tuple[Compatibility, ...]:
    """How each program loads a file with tensors of these shapes, in the file's order, for a family's base."""
    layers, base = by_name(shapes), find_family(family) or FAMILIES[0]
    return tuple(_check_program(program, layers, base) for program in programs)


def by_name(shapes: Shapes) -> dict[str, dict[str, tuple[int, ...]]]:
    """Shapes by layer name and suffix."""
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        stem, suffix = split_key(key) or (key.partition(".")[0], key.partition(".")[2])
        layers.setdefault(stem, {})[suffix] = shape
    return layers


def programs_for(
    stored: Stored, family: str, text_encoders: bool = False, programs: Sequence[Program] = PROGRAMS
) -> tuple[str, ...]:
    """Programs that load a method's whole change, on the denoiser's attention and optionally on text encoders.

    For the choice of a method; `check_programs` checks existing files.
    """
    base = find_family(family) or FAMILIES[0]
    changes: list[tuple[Form | None, Place]]
    if base.style_form == "kohya":
        changes = [(stored.with_bias, "unet"), (stored.without_bias, "unet without bias"), (stored.norm, "unet norm")]
    else:
        written = stored.with_bias or "other"
        changes = [(form, _written_at(form, base)) for form in {written, stored.without_bias or written}]
    if text_encoders:
        for layout in dict.fromkeys(base.encoder_layouts.values()):
            layers, norms = TEXT_PLACES[layout]
            changes += [*((stored.with_bias, place) for place in layers), *((stored.norm, place) for place in norms)]
    of_other_bases = {refusal.program for refusal in REFUSALS if refusal.of_base and refusal.family == base.name}
    return tuple(
        program.name
        for program in programs
        if program.name not in of_other_bases
        and all(reads(program.name, base.name, form, place) for form, place in changes if form)
    )


def _written_at(form: Form, base: Family) -> Place:
    """The place of a transformer's layers in our files (`trainers.formats.write.transformer`)."""
    if base.style_form == "native":
        return "kohya"
    if form == "lora":
        return "diffusers"
    return "ai-toolkit" if form == "lokr" and base.loads_lokr else "lycoris"


def _check_program(program: Program, layers: Mapping[str, Shapes], base: Family) -> Compatibility:
    left_out: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    family, unknown, tried = base.name, 0, True
    for stem, shapes in layers.items():
        form, place = form_of(shapes), place_of(stem, family)
        if reads(program.name, family, form, place):
            continue
        tried = tried and not (place == "unknown" or (place in NAMES and not reads(program.name, family, None, place)))
        left_out[_titles(form, place, stem)].append(stem)
        unknown += len(shapes)
    refusal = _find_refusal(program, layers, family)
    if program.name == "InvokeAI" and base.style_form == "kohya" and not identifies_base(layers, family):
        refusal = Refusal(program.name, family, _("it cannot tell the base from its layers"))
    nothing = base.style_form != "kohya" and sum(map(len, left_out.values())) == len(layers)
    refused = refusal is not None or nothing or unknown > program.tolerates
    return Compatibility(program, dict(left_out), refused, refusal, tried)


def _titles(form: Form, place: Place, stem: str) -> tuple[str, str]:
    """Singular and plural title of such a change."""
    lone = " where the base has none" if form == "bias" and place == "unet without bias" else ""
    where = " of text encoders" if stem.startswith("lora_te") else ""
    singular, plural = FORM_TITLES.get(form, ("change", "changes"))
    return f"{singular}{lone}{where}", f"{plural}{lone}{where}"


def _find_refusal(program: Program, layers: Mapping[str, Shapes], family: str) -> Refusal | None:
    """The rule by which a program refuses a file that it could otherwise read; None if it does not."""
    sizes = {size for shapes in layers.values() for shape in shapes.values() for size in shape}
    for refusal in REFUSALS:
        if (refusal.program, refusal.family) == (program.name, family):
            unknown = refusal.layers and any(re.search(refusal.layers, stem) for stem in layers)
            if unknown or refusal.widths & sizes or any(stem not in layers for stem in refusal.lacks):
                return refusal
    return None


def form_of(shapes: Shapes) -> Form:
    """The form of one layer's change, from the suffixes and shapes of its tensors."""
    method, shifted = method_of(shapes), "diff_b" in shapes
    if method == "oft" and "oft_blocks" in shapes:
        return "turned and shifted" if shifted else "turned"
    if {"w_norm", "b_norm"} & set(shapes):
        return "norm"
    if method == "full":
        return ("bias" if prod(shapes.get("diff", (1,))) == 1 else "other") if shifted else "full"
    if "dora_scale" in shapes:  # every program reads it in another way
        return "other"
    return next((form for form in MATRICES if form == method), "other")


def place_of(stem: str, family: str) -> Place:
    """The place of the layer with this name in files for a base of this family."""
    base = find_family(family)
    if stem.startswith("lora_te"):
        return _place_in_text(stem, family)
    if base is not None and base.style_form != "kohya":
        return _place_in_transformer(stem, base)
    if not stem.startswith("lora_unet_"):
        return "diffusers" if stem.startswith(("unet.", "text_encoder")) else "unknown"
    if stem.endswith(("_conv_norm_out", "_out_0")) and "_attn" not in stem:
        # SDXL files have the original name, which all programs read.
        return "unet norm" if base is not None and base.original_names else "last unet norm"
    if re.search(r"_(norm\d?|in_layers_0|out_layers_0)$", stem):
        return "unet norm"
    return "unet without bias" if re.search(r"_attn\d_to_[qkv]$", stem) else "unet"


def _place_in_text(stem: str, family: str) -> Place:
    base = find_family(family)
    part = "text_encoder_2" if stem.startswith("lora_te2_") else "text_encoder"
    layout = base.encoder_layouts.get(part, "clip") if base is not None else "clip"
    if stem.startswith("lora_te2_") and (base is None or part not in base.encoder_layouts):
        layout = "open_clip"
    if layout == "open_clip":
        if "norm" in stem:
            return "open_clip norm"
        return "open_clip attention" if "_self_attn_" in stem else "open_clip"
    if "norm" in stem:
        return "last clip norm" if stem.endswith("final_layer_norm") else "clip norm"
    return "clip"


def _place_in_transformer(stem: str, base: Family) -> Place:
    part, rest = split_start(stem)
    start = stem.removesuffix(rest)
    if part.startswith("text_encoder"):
        return "diffusers"
    by_diffusers = bool(re.search(base.diffusers_path, rest))
    if start == "lora_unet_":
        return "unknown" if by_diffusers else "kohya"
    if start == "diffusion_model.":
        return "ai-toolkit" if by_diffusers or not re.search(base.authors_path, rest) else "native"
    named: dict[str, Place] = {"transformer.": "diffusers", "lycoris_": "lycoris", "lora_transformer_": "onetrainer"}
    special = next((place for place, pattern in SPECIAL.items() if pattern.search(rest)), None)
    return special or named.get(start, "unknown") if start in named else "unknown"


def identifies_base(layers: Mapping[str, Shapes], family: str) -> bool:
    """Whether InvokeAI can identify a file's base from its tensors; it refuses other files.

    It uses the first layer that gives the width of the text: cross-attention, or a text encoder's attention. A time
    projection in plain LoRA before these means SDXL to it, as do deep transformer blocks.
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


def _refuses_layers(check: Compatibility) -> bool:
    """Whether a program refuses a file that it would load with other layers."""
    readable = check.tried and not check.left_out
    return readable and check.refusal is not None and not check.refusal.of_base


def describe_programs(name: str, shapes: Shapes, family: str) -> str:
    """A sentence, without full stop, on the programs that load a file wholly or partly from their LoRA folder."""
    checks = check_programs(shapes, family)
    loading = [check.program.name for check in checks if check.whole]
    verb, whose = ("loads", "its") if len(loading) == 1 else ("load", "their")
    programs = f"{listed(loading)} {verb} {name} from {whose} LoRA folder"
    parts = [programs if loading else f"no program with a LoRA folder loads all of {name}"]
    parts += [f"{check.program.name} {check.summary}" for check in checks if check.partly or _refuses_layers(check)]
    loaded = [check.program.name for check in checks if check.program.warns and check.tried and not check.refused]
    if loaded and any(form_of(layer) == "bias" for layer in by_name(shapes).values()):
        parts.append(f"the SHAPE MISMATCH that {listed(loaded)} may report for each bias is harmless")
    return "; ".join(parts)
