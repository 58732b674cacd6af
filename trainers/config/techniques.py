"""All methods, and the techniques that combine with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from trainers.adapters.methods import METHODS
from trainers.config.tables import parse_assignments


@dataclass(frozen=True)
class Technique:
    """A method or technique, for lists."""

    name: str
    """Name of the technique and of its preset."""
    paper: str
    parameters: str
    """Number of trained parameters (`About.parameters`)."""
    places: tuple[str, ...]
    """Parts it changes: `linear`, `convolution` or `norm` layers, `block` outputs, `tokens`, `base`, `data`."""
    summary: str
    """A sentence on its use."""
    setting: str
    """The setting that turns it on, in the form of `--set`."""
    method: str = ""
    """The method with this setting; empty if it combines with every method."""

    @property
    def key(self) -> str:
        """Key of the setting that turns it on."""
        return self.setting.partition("=")[0]

    @cached_property
    def value(self) -> Any:
        """Value of the setting that turns it on; an example if it is a word or a prompt."""
        section, name = self.key.split(".")
        return parse_assignments([self.setting])[section][name]

    @property
    def takes_words(self) -> bool:
        """Whether a word or prompt of the user turns it on."""
        return not {"tokens", "data"}.isdisjoint(self.places)

    def is_on(self, table: Mapping[str, Any]) -> bool:
        """Whether a settings table turns it on."""
        section, name = self.key.split(".")
        inner = table.get(section, {})
        value = inner.get(name)
        if self.key == CLASS_PROMPT and inner.get("kind") == "output":  # keeps no images
            return False
        return bool(value) if self.takes_words else bool(value == self.value)


LAYERS = ("linear", "convolution")
CLASS_PROMPT = "prior.prompt"
TEXTUAL_INVERSION = "textual-inversion"

TECHNIQUES: tuple[Technique, ...] = (
    Technique(
        "boft",
        "arXiv 2311.06243",
        "m out (b − 1) / 2",
        LAYERS,
        "OFT with small rotations over channels at growing distances, so that every channel mixes with every other.",
        "method.butterfly=true",
        "oft",
    ),
    Technique(
        "pissa",
        "arXiv 2404.02948",
        "r (in k² + out)",
        LAYERS,
        "LoRA that starts from each weight's principal part, so that it learns from the first step.",
        "method.start=pissa",
        "lora",
    ),
    Technique(
        "lora-fa",
        "arXiv 2308.03303",
        "r out",
        LAYERS,
        "LoRA with half of its factors frozen: less memory, a weaker effect.",
        "method.freeze_a=true",
        "lora",
    ),
    Technique(
        "b-lora",
        "arXiv 2403.14572",
        "r (in + out)",
        ("linear",),
        "LoRA on two blocks of SDXL: separates the style and the content of one picture.",
        "targets.unet=b-lora",
    ),
    Technique(
        "krona-b-res",
        "arXiv 2212.10650",
        "u_out u_in + v_out v_in + 1",
        ("block",),
        "KronA parallel to feed-forward blocks, plus their input times a learned scalar.",
        "method.residual=true",
        "krona-b",
    ),
    Technique(
        TEXTUAL_INVERSION,
        "arXiv 2208.01618",
        "n d per text encoder",
        ("tokens",),
        "A new word for the style in a few kilobytes; alone, or with any method (pivotal tuning).",
        "tokens.word='<style>'",
    ),
    Technique(
        "dreambooth",
        "arXiv 2208.12242",
        "those of the method",
        ("data",),
        "Also trains on the base's own pictures of a class, so that it does not forget them.",
        f"{CLASS_PROMPT}=TEXT",
    ),
    Technique(
        "qlora",
        "arXiv 2305.14314",
        "those of the method",
        ("base",),
        "Stores the frozen base in 4 bits per weight, with any method: a quarter of the memory, slightly slower.",
        "base.storage=nf4",
    ),
)
"""Techniques without a `[method]` of their own: a setting of a method, the base, the data or the tokens."""


def list_techniques() -> tuple[Technique, ...]:
    """All methods, then all techniques."""
    methods = (
        Technique(name, kind.about.paper, kind.about.parameters, kind.places, kind.about.summary, f"method.name={name}")
        for name, kind in METHODS.items()
    )
    return (*methods, *TECHNIQUES)


def techniques_in(table: Mapping[str, Any]) -> str:
    """Names of the method and techniques in a settings table, joined by +, such as `lora+textual-inversion`."""
    targets, word = table.get("targets", {}), table.get("tokens", {}).get("word", "")
    chosen = (targets.get("unet"), targets.get("transformer") or "none", targets.get("text_encoder", "none"))
    layers = any(target != "none" for target in chosen)
    method = str(table.get("method", {}).get("name", "lora"))
    return "+".join([method] * layers + [TEXTUAL_INVERSION] * bool(word))
