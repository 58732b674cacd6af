"""Reads preview prompts: lines with options, `a fox --n blurry --d 1 --l 7 --s 28`, or tables of the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from app.studio.settings.imports.reading import Reading
from app.studio.settings.imports.values import is_set
from trainers.config.prompt_options import split_prompt
from trainers.errors import VelaturaError
from trainers.messages import Message as _

OPTION = re.compile(r"\s--([a-z]+)(?:\s+|$)")
FILES = (".txt", ".json", ".toml")
IN_TABLES: Mapping[str, str] = {
    "negative_prompt": "n", "neg": "n", "width": "w", "height": "h", "seed": "d", "scale": "l", "cfg_scale": "l",
    "guidance_scale": "l", "sample_steps": "s", "diffusion_steps": "s",
}  # fmt: skip
"""Names in tables, by the options of lines."""
LEFT = _("Left out of its options, which have no counterpart: {options}.")


def read_lines(reading: Reading) -> None:
    """Take kohya's lines; its scripts have the path of a file instead."""
    written = reading.foreign.get("sample_prompts")
    if not isinstance(written, str) or written.strip().lower().endswith(FILES):
        return
    lines = [line.strip() for line in written.splitlines() if line.strip() and not line.strip().startswith("#")]
    split = [OPTION.split(f" {line} ") for line in lines]
    take_prompts(
        reading, "sample_prompts", [(prompt, zip(rest[::2], rest[1::2], strict=True)) for prompt, *rest in split]
    )


def read_tables(reading: Reading, name: str) -> None:
    """Take the prompts of tables, such as OneTrainer's samples."""
    tables = reading.foreign.get(name)
    listed = [each for each in tables if isinstance(each, dict)] if isinstance(tables, list) else []
    take_prompts(
        reading,
        name,
        [
            (str(each.get("prompt") or ""), [(IN_TABLES[key], each[key]) for key in IN_TABLES if is_set(each.get(key))])
            for each in listed
            if each.get("enabled", True)
        ],
    )


def take_prompts(reading: Reading, name: str, prompts: Iterable[tuple[str, Iterable[tuple[str, Any]]]]) -> None:
    """Take prompts, each with those of its options that exist here."""
    taken, left = [], dict[str, None]()
    for prompt, options in prompts:
        line = prompt.strip()
        for option, value in options:
            longer = f"{line} --{option} {str(value).strip()}"
            try:
                counts = len(split_prompt(longer)[1]) > len(split_prompt(line)[1])
            except VelaturaError:
                counts = False
            line = longer if counts else line
            left |= {} if counts else {f"--{option}": None}
        taken += [line] if prompt.strip() else []
    if taken:
        reading.take(name, "sample.prompts", taken, how=LEFT.format(options=", ".join(left)) if left else "")
