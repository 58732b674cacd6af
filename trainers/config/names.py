"""Names that are safe as folder and file names and in other tools' prompts, in any script."""

from __future__ import annotations

import re
import unicodedata

MOST_LETTERS, MOST_BYTES = 100, 150
"""Of a name; file systems take 255 bytes, of which suffixes and unfinished files need some."""
PUNCTUATION = " ._-"
# Devices on Windows, with any suffix; it takes superscript digits for digits.
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[\d¹²³])( *\..*)?", re.IGNORECASE)


def check_name(name: str) -> str:
    """The name in composed form (NFC), or ValueError saying what a name may be."""
    name = unicodedata.normalize("NFC", name)
    fits = 0 < len(name) <= MOST_LETTERS and len(name.encode("utf-8", "replace")) <= MOST_BYTES
    if not fits or not all(map(is_allowed, name)) or not is_word(name[0]) or name[-1] in ". ":
        raise ValueError(
            f"the name {name!r:.150} is not allowed; use up to {MOST_LETTERS} letters of any script, digits, spaces, "
            f"dots, dashes and underscores (at most {MOST_BYTES} bytes), starting with a letter or digit and not "
            "ending with a dot or space"
        )
    if is_reserved(name):
        raise ValueError(f"the name {name!r} is a device on Windows; choose another")
    return name


def is_word(letter: str) -> bool:
    """Whether a name may begin with this letter: it is one, or a digit."""
    return unicodedata.category(letter)[0] in "LN"


def is_allowed(letter: str) -> bool:
    """Whether a name may hold this letter; controls, marks of direction and what file systems forbid are none."""
    return letter in PUNCTUATION or unicodedata.category(letter)[0] in "LNM"


def is_reserved(name: str) -> bool:
    """Whether Windows takes a name for a device."""
    return bool(_RESERVED.fullmatch(name))
