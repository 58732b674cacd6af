"""Names of styles: made safe from whatever was typed, and unlike those there are."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from app.ui.drafts import Draft
from trainers.safe_name import check_name

LONGEST = 60
LETTERS = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d"} | dict.fromkeys("’'“”", ""))


def safe_name(typed: str) -> str:
    """The name that something typed becomes; "" where nothing of it can be kept."""
    plain = unicodedata.normalize("NFKD", typed.translate(LETTERS)).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9 ._-]+", " ", plain)
    name = re.sub(r"\s+", " ", words).strip(" ._-")[:LONGEST].rstrip(" .")
    if not name:
        return ""
    try:
        return check_name(name)
    except ValueError:  # a device on Windows
        return check_name(f"{name} style")


def unlike(runs: Path, name: str) -> str:
    """The name, or with a number after it where a run has it already."""
    taken = (name if number == 1 else f"{name} {number}" for number in range(1, 10_000))
    return next(each for each in taken if not (runs / each).exists())


def suggest(draft: Draft) -> str:
    """A name for whoever has not given one: the trigger word, else a plain one."""
    name = safe_name(draft.trigger) or "my style"
    return name[:1].upper() + name[1:]
