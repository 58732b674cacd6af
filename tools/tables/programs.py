"""What each program loads of a style, from `trainers.formats.programs.table`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tools.markdown import table
from trainers.adapters.about import Form
from trainers.adapters.methods import METHODS
from trainers.formats.programs.table import (
    DIFFUSERS,
    FLOWS,
    MATRICES,
    NAMES,
    PROGRAMS,
    REFUSALS,
    RULES,
    UNETS,
    Place,
    reads,
)
from trainers.messages import listed
from trainers.models.families import get_family

ALL = (*PROGRAMS, DIFFUSERS)
FORMS: Mapping[Form, str] = {
    "lora": "LoRA",
    "loha": "LoHA",
    "lokr": "LoKr",
    "full": "full",
    "turned": "turned",
    "turned and shifted": "turned and shifted",
    "bias": "biases",
    "norm": "norms",
}
PLACES: Mapping[Place, str] = {
    "unet": "UNet",
    "unet without bias": "its queries, keys and values",
    "unet norm": "its norms",
    "last unet norm": "`conv_norm_out`",
    "clip": "CLIP",
    "clip norm": "CLIP's norms",
    "open_clip": "OpenCLIP",
    "open_clip attention": "OpenCLIP's attention",
    **NAMES,
    "scale and shift": "`norm_out.linear` by diffusers' path",
    "guidance network": "`distilled_guidance_layer` by diffusers' path",
}


def programs() -> list[str]:
    """The programs, what they do with unknown tensors, the forms by place of a layer, and the files they refuse."""
    parts = [*_head(), *_legend(), *_section("Stable Diffusion 1, 2 and XL", UNETS[0])]
    for family in FLOWS:
        parts += _section(get_family(family).title, family)
    return [*parts, *_refusals()]


def _head() -> Iterator[str]:
    yield from table(("program", "version", "commit"), [(each.name, each.version, each.commit) for each in ALL])
    yield ""
    tolerant = next(each for each in PROGRAMS if 0 < each.tolerates < 100)
    yield (
        f"{tolerant.name} refuses a file with more than {tolerant.tolerates:g} tensors that it does not know; "
        f"{listed([each.name for each in ALL if each.tolerates == 0])} refuse one with any. The others ignore them."
    )


def _legend() -> Iterator[str]:
    yield ""
    yield (
        f"*Matrices* are {listed([FORMS[form] for form in MATRICES])}: every method that becomes a plain LoRA, LoHA, "
        f"LoKr and KronA, and full changes, as which DoRA is written. *Turned* are the files of {_methods('turned')}. "
        f"{_methods('turned and shifted')} turns and shifts, {_methods('bias')} changes biases; both change norms."
    )


def _section(title: str, family: str) -> Iterator[str]:
    yield from ("", f"## {title}", "")
    places = [place for place in PLACES if any(family in rule.families and place in rule.places for rule in RULES)]
    if family in UNETS:
        places = [place for place in places if place not in NAMES]
    rows = [(PLACES[place], *(_forms(each.name, family, place) for each in ALL)) for place in places]
    yield from table(("layers", *(each.name for each in ALL)), rows)


def _methods(form: Form) -> str:
    """The methods whose files hold this form."""
    return listed([method.about.title for method in METHODS.values() if method.about.stored.with_bias == form])


def _forms(program: str, family: str, place: Place) -> str:
    forms = [form for form in FORMS if reads(program, family, form, place)]
    if set(MATRICES) <= set(forms):
        return ", ".join(["matrices", *(FORMS[form] for form in forms if form not in MATRICES)])
    return ", ".join(FORMS[form] for form in forms) or "–"


def _refusals() -> Iterator[str]:
    yield from ("", "## Files that a program refuses whole", "")
    for refusal in REFUSALS:
        yield f"* {refusal.program}, {get_family(refusal.family).title}: {refusal.why}."
    yield "* InvokeAI, Stable Diffusion: it cannot tell the base without a layer that reads the text, in full factors."
