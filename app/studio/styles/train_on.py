"""Starts the training of a draft from a style of the library."""

from __future__ import annotations

from collections.abc import Iterable

from app.studio.dataset.drafts import Draft
from app.studio.settings.plan import choose, with_choices, with_setting
from app.studio.styles.entry import StyleEntry
from app.studio.styles.library import StyleLibrary
from trainers.errors import VelaturaError
from trainers.formats.inspect import describe_style
from trainers.formats.origin import origin_of
from trainers.formats.read import read_outline

METHODS = ("lora", "loha", "lokr")
"""Methods, as in `velatura inspect`, whose files can be trained further."""
NEAREST_RANK = 32
"""Rank of the LoRA that training starts from if the file is LoKr, or LoHA of several ranks."""
KERNELS = ("resnets", "samplers", "conv_in", "conv_out", "_in_layers_", "_op", "_conv")
"""Parts of the names of layers with 3×3 kernels, and of layers beside them."""


def find_style(library: StyleLibrary, identifier: str) -> StyleEntry:
    """The style with an id; VelaturaError if there is none."""
    item = library.entry(identifier)
    if item is None:
        raise VelaturaError("this style is not here any more")
    return item


def train_on(draft: Draft, item: StyleEntry) -> Draft:
    """The draft with a style to start from, and with the method, rank, alpha and layers of its file.

    A LoKr, or a LoHA of several ranks, is trained on as the nearest LoRA.

    VelaturaError if its form cannot be trained further, or Velatura does not train its base.
    """
    outline, facts = read_outline(item.path), describe_style(item.path)
    origin_of(outline).check(item.path.name)
    if facts.method not in METHODS:
        raise VelaturaError(
            "only LoRA, LoHA and LoKr can be trained on, and {name} is {method}", name=item.name, method=facts.method
        )
    layers = tuple(outline.layers)
    even = facts.rank is not None and facts.rank.smallest == facts.rank.largest
    method = "loha" if facts.method == "loha" and even else "lora"
    rank = facts.rank.largest if facts.rank is not None and method == facts.method else NEAREST_RANK
    settings = {
        "method.rank": str(rank),
        "method.alpha": f"{facts.alphas[0] if method == facts.method and len(facts.alphas) == 1 else rank:g}",
        "targets.unet": "full" if _any(layers, "unet", KERNELS) else "attn-mlp",
        "targets.text_encoder": _text_layers(layers),
    }
    before = start_from_nothing(draft)
    draft = with_choices(choose(before, "method", method), base=item.base_model or before.choices.base)
    for key, value in settings.items():
        draft = with_setting(draft, key, value)
    draft = with_choices(draft, start=str(item.path))
    return draft.with_(around_start=(before.choices, draft.choices))


def start_from_nothing(draft: Draft) -> Draft:
    """The draft without a style to start from, and with the choices before it.

    Settings and the base that were changed since stay; after another choice, such as a preset, all of them stay.
    """
    now, (before, after) = draft.choices, draft.around_start or (draft.choices, draft.choices)
    if now.model_copy(update={"settings": after.settings, "base": after.base}) != after:
        return with_choices(draft, start="")
    settings = dict(before.settings)
    for key in now.settings.keys() | after.settings.keys():
        if key not in now.settings:
            settings.pop(key, None)
        elif now.settings[key] != after.settings.get(key):
            settings[key] = now.settings[key]
    base = before.base if now.base == after.base else now.base
    return draft.with_(choices=before.model_copy(update={"settings": settings, "base": base, "start": ""}))


def _text_layers(layers: Iterable[str]) -> str:
    of_text = [layer for layer in layers if "unet" not in layer]
    return "none" if not of_text else "attn-mlp" if any("mlp" in layer for layer in of_text) else "attn"


def _any(layers: Iterable[str], part: str, signs: Iterable[str]) -> bool:
    return any(part in layer and any(sign in layer for sign in signs) for layer in layers)
