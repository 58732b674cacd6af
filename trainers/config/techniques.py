"""Everything a style can be trained with: the methods, and the techniques that combine with any of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from trainers.adapters.methods import METHODS
from trainers.config.tables import parse_assignments


@dataclass(frozen=True)
class Technique:
    """A method or technique as lists show it."""

    name: str
    """Also that of its preset."""
    paper: str
    parameters: str
    """How many numbers train (`About.parameters`)."""
    places: tuple[str, ...]
    """Where it sits: `linear` and `convolution` layers, `norm` layers, `block` outputs, `tokens`, `base`, `data`."""
    summary: str
    """What it is good for, in one sentence."""
    setting: str
    """The setting that turns it on, as `--set` takes it."""
    method: str = ""
    """The method whose setting that is; empty where it combines with every one."""

    @property
    def key(self) -> str:
        """The key of that setting."""
        return self.setting.partition("=")[0]

    @cached_property
    def value(self) -> Any:
        """What that setting is while it is on; of a word or a prompt, an example."""
        section, name = self.key.split(".")
        return parse_assignments([self.setting])[section][name]

    @property
    def takes_words(self) -> bool:
        """Whether it is turned on by words of one's own."""
        return not {"tokens", "data"}.isdisjoint(self.places)

    def is_on(self, table: Mapping[str, Any]) -> bool:
        """Whether a table of settings has it on."""
        section, name = self.key.split(".")
        found = table.get(section, {}).get(name)
        return bool(found) if self.takes_words else bool(found == self.value)


LAYERS = ("linear", "convolution")
TEXTUAL_INVERSION = "textual-inversion"

BESIDE_METHODS: tuple[Technique, ...] = (
    Technique(
        "boft",
        "arXiv 2311.06243",
        "m out (b − 1) / 2",
        LAYERS,
        "OFT with small turns over channels ever further apart, so that every channel meets every other.",
        "method.butterfly=true",
        "oft",
    ),
    Technique(
        "pissa",
        "arXiv 2404.02948",
        "r (in k² + out)",
        LAYERS,
        "LoRA that starts from what matters most in each weight, so that the first steps count at once.",
        "method.start=pissa",
        "lora",
    ),
    Technique(
        "lora-fa",
        "arXiv 2308.03303",
        "r out",
        LAYERS,
        "LoRA with half of its factors left as drawn: less memory, less change.",
        "method.freeze_a=true",
        "lora",
    ),
    Technique(
        "b-lora",
        "arXiv 2403.14572",
        "r (in + out)",
        ("linear",),
        "LoRA on two blocks of SDXL: the style of a picture and its content come apart, from one picture.",
        "targets.unet=b-lora",
    ),
    Technique(
        "krona-b-res",
        "arXiv 2212.10650",
        "u_out u_in + v_out v_in + 1",
        ("block",),
        "KronA beside feed-forward blocks, with what they read added by a learned amount.",
        "method.residual=true",
        "krona-b",
    ),
    Technique(
        TEXTUAL_INVERSION,
        "arXiv 2208.01618",
        "n d for each text encoder",
        ("tokens",),
        "A new word for the style, of a few kilobytes; alone, or beside any method (pivotal tuning).",
        "tokens.word='<style>'",
    ),
    Technique(
        "dreambooth",
        "arXiv 2208.12242",
        "those of its method",
        ("data",),
        "The base's own pictures of a whole class train along, so that it does not forget them.",
        "prior.prompt=TEXT",
    ),
    Technique(
        "qlora",
        "arXiv 2305.14314",
        "those of its method",
        ("base",),
        "The frozen base in 4 bits a number while any method trains on it: a quarter of its memory, a little slower.",
        "base.storage=nf4",
    ),
)
"""What is no `[method]` of its own, but a setting of one, or lies in the base, the data or the tokens."""


def list_techniques() -> tuple[Technique, ...]:
    """Every method, then every technique beside them."""
    methods = (
        Technique(name, kind.about.paper, kind.about.parameters, kind.places, kind.about.summary, f"method.name={name}")
        for name, kind in METHODS.items()
    )
    return (*methods, *BESIDE_METHODS)


def techniques_in(table: Mapping[str, Any]) -> str:
    """What a table of settings trains with: the names with + between them, such as `lora+textual-inversion`."""
    targets, word = table.get("targets", {}), table.get("tokens", {}).get("word", "")
    layers = targets.get("unet") != "none" or targets.get("text_encoder", "none") != "none"
    method = str(table.get("method", {}).get("name", "lora"))
    return "+".join([method] * layers + [TEXTUAL_INVERSION] * bool(word))
