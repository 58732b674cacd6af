"""The families of base models, from their classes, and bases that are known by name or not trained, from `presets/`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tools.markdown import table
from trainers.models.bases.named import list_named_bases
from trainers.models.families import FAMILIES
from trainers.models.families.family import Denoiser, Family
from trainers.models.files.other_bases import list_other_bases
from trainers.models.prediction import Prediction

DENOISERS: Mapping[Denoiser, str] = {"unet": "U-Net", "transformer": "transformer"}
PREDICTIONS: Mapping[Prediction, str] = {"epsilon": "ε", "v_prediction": "v", "flow": "the flow"}


def families() -> list[str]:
    """Each family: network, text encoders with the trained ones in italics, prediction, pixels and licences."""
    rows = [
        (
            family.title,
            DENOISERS[family.denoiser],
            ", ".join(_encoder(family, name) for name in family.encoders),
            " or ".join(dict.fromkeys(PREDICTIONS[each.prediction] for each in family.variants)),
            " or ".join(dict.fromkeys(str(each.resolution) for each in family.variants)),
            ", ".join(dict.fromkeys(each.licence.name for each in family.variants if each.licence)),
        )
        for family in FAMILIES
    ]
    return table(("family", "network", "text encoders, *trained*", "predicts", "pixels", "licence"), rows)


def known_bases() -> list[str]:
    """How pictures are drawn on each fine-tune that is known by name, and its further settings."""
    rows = []
    for base in filter(lambda base: base.patterns, list_named_bases()):
        sample = base.settings["sample"]
        drawn = f"{sample['sampler']}, {sample['steps']}, {sample['guidance']:g}"
        also = [f"`{key} = {value}`" for key, value in base.settings.get("base", {}).items()]
        also += ["zero terminal SNR"] * base.zero_terminal_snr
        rows.append((base.title, sample["prefix"], drawn, ", ".join(also)))
    return table(("base", "words before sample prompts (`sample.prefix`)", "sampler, steps, CFG", "also"), rows)


def recommended() -> list[str]:
    """The published settings of a training on each base, with who published them."""
    rows = []
    for base in list_named_bases():
        if base.recommended:
            settings = [
                f"`{section}.{name} = {value}`"
                for section, values in base.recommended.settings.items()
                for name, value in values.items()
            ]
            rows.append((base.title, ", ".join(settings), base.recommended.source))
    return table(("base", "settings", "from"), rows)


def other_bases() -> list[str]:
    """The bases that are not trained, by the nearest one that is; bold if they may come."""
    names = {base.name for base in list_other_bases()}
    rows: dict[str, list[str]] = {}
    for base in list_other_bases():
        kinds = set(base.name.split(" or "))
        if len(kinds) == 1 or not kinds <= names:  # two of other rows, which some layers do not tell apart
            rows.setdefault(base.nearest, []).append(f"**{base.name}**" if base.yet else base.name)
    return table(
        ("base", "nearest that Velatura trains"), [(", ".join(row), nearest or "–") for nearest, row in rows.items()]
    )


def _encoder(family: Family, name: str) -> str:
    """The kind of a text encoder: in italics if styles may change it, in brackets if a base may lack it."""
    kind = re.sub(r"(Text|Encoder)?Model\w*$", "", family.networks[name].rpartition(".")[2])
    kind = f"*{kind}*" if name in family.trained_encoders else kind
    return f"({kind})" if name in family.optional else kind
