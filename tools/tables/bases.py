"""Bases that people know by name, and those that Velatura does not train, from `presets/`."""

from __future__ import annotations

from tools.markdown import table
from trainers.models.bases.named import list_named_bases
from trainers.models.files.other_bases import list_other_bases


def known_bases() -> list[str]:
    """How pictures are drawn on each fine-tune that is known by name, and its further settings."""
    rows = []
    for base in list_named_bases():
        sample = base.settings["sample"]
        drawn = f"{sample['sampler']}, {sample['steps']}, {sample['guidance']:g}"
        also = [f"`{key} = {value}`" for key, value in base.settings.get("base", {}).items()]
        also += ["zero terminal SNR"] * base.zero_terminal_snr
        rows.append((base.title, sample["prefix"], drawn, ", ".join(also)))
    return table(("base", "words before sample prompts (`sample.prefix`)", "sampler, steps, CFG", "also"), rows)


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
