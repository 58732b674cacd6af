"""Options at the end of a sample prompt, in the spelling of kohya's sd-scripts: `a fox --n blurry --w 768 --h 512`.

--n  negative prompt    --w, --h  size in pixels    --d  seed of its first picture    --l, --g  guidance    --s  steps
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from trainers.config.limits import GUIDANCE, SEED, SIDE, STEPS
from trainers.errors import VelaturaError

OPTION = re.compile(r"\s--([nwhdlgs])\s")


def _within(kind: type, low: float, high: float) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if not low <= kind(text) <= high:
            raise ValueError
        return kind(text)

    return read


OPTIONS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "n": ("negative", str),
    "w": ("width", _within(int, *SIDE)),
    "h": ("height", _within(int, *SIDE)),
    "d": ("seed", _within(int, *SEED)),
    "l": ("guidance", _within(float, *GUIDANCE)),
    "g": ("guidance", _within(float, *GUIDANCE)),
    "s": ("steps", _within(int, *STEPS)),
}


def split_prompt(text: str) -> tuple[str, dict[str, Any]]:
    """A prompt without its options, and these by name; VelaturaError for an invalid value."""
    prompt, *rest = OPTION.split(f" {text.strip()} ")
    values = {}
    for name, written in zip(rest[::2], rest[1::2], strict=True):
        key, read = OPTIONS[name]
        try:
            values[key] = read(written.strip())
        except ValueError:
            raise VelaturaError(
                "sample.prompts: --{name} {value} is not possible in {text!r:.120}; write, for example, "
                "a fox --n blurry --w 512 --h 768 --d 3 --l 7 --s 28",
                name=name,
                value=written.strip(),
                text=text,
            ) from None
    return prompt.strip(), values
