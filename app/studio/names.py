"""Style names: safe for files and unique."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from app.language import translate
from app.studio.dataset.drafts import Draft
from trainers.config.names import PUNCTUATION, check_name, is_allowed, is_letter_or_digit, is_reserved
from trainers.errors import VelaturaError
from trainers.messages import Message as _

LONGEST, LONGEST_BYTES = 60, 96
"""Maximum characters and bytes of a name; some download names combine two."""
MANY_MARKS = re.compile(r"([\u0300-\u036f]{3})[\u0300-\u036f]+")
"""Maximum combining marks on a letter."""
JOINERS = "\u200c\u200d"
"""Invisible, but part of many emoji and of words in several scripts."""
STRAY_JOINERS = re.compile(rf"(?<![^\x00-\x7f{JOINERS}])[{JOINERS}]+")
MY_STYLE = _("My style")
QUOTES = str.maketrans(dict.fromkeys("’'“”„«»"))


def safe_name(typed: str) -> str:
    """The safe name of typed text in any script; empty without letters or digits."""
    composed = unicodedata.normalize("NFC", typed.translate(QUOTES))
    visible = "".join(letter for letter in composed if unicodedata.category(letter) not in ("Cf", "Cs"))
    legible = MANY_MARKS.sub(r"\1", visible)
    words = "".join(letter if is_allowed(letter) else " " for letter in legible)
    name = re.sub(r"\s+", " ", words).strip(PUNCTUATION)
    while name and not is_letter_or_digit(name[0]):  # a combining mark without its letter
        name = name[1:]
    name = _shortened(name)
    if is_reserved(name):
        name = re.sub(r"[ .]+", " ", name)
        name = f"{name} style" if is_reserved(name) else name
    return check_name(name) if name else ""


def name_of(typed: str) -> str:
    """The safe name; VelaturaError if it is empty."""
    name = safe_name(typed)
    if not name:
        raise VelaturaError("the name {typed!r} has no letter or digit; choose one that does", typed=typed[:80])
    return name


def unlike(runs: Path, name: str) -> str:
    """The name, with a number if a run has it already, ignoring case."""
    existing = {alike(path.name) for path in runs.iterdir()} if runs.is_dir() else set()
    taken = (name if number == 1 else f"{name} {number}" for number in range(1, 10_000))
    return next(candidate for candidate in taken if alike(candidate) not in existing)


def suggest(draft: Draft) -> str:
    """A default name: the trigger word, or a generic one in the request's language."""
    name = safe_name(draft.trigger) or safe_name(translate(MY_STYLE))
    return name[:1].upper() + name[1:]


def alike(name: str) -> str:
    """A key under which file systems may treat names as equal."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _shortened(name: str) -> str:
    """A name cut to the limit, without separating a letter from its marks."""
    if len(name) <= LONGEST and len(name.encode()) <= LONGEST_BYTES:
        return name
    end = min(len(name), LONGEST)
    while len(name[:end].encode()) > LONGEST_BYTES:
        end -= 1
    while end and end < len(name) and unicodedata.category(name[end])[0] == "M":
        end -= 1
    return name[:end].rstrip(PUNCTUATION)


def plain(words: str, longest: int = 80) -> str:
    """Untrusted text on one line, truncated, without invisible characters that join nothing."""
    joined = STRAY_JOINERS.sub("", words[: 4 * longest])
    line = " ".join("".join(sign if sign.isprintable() or sign in JOINERS else " " for sign in joined).split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"
