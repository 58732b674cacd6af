"""Names that are safe as folder and file names and in other tools' prompts, in any script."""

from __future__ import annotations

import re
import unicodedata

from trainers.messages import Message as _

MOST_LETTERS, MOST_BYTES = 100, 150
"""File systems allow 255 bytes; suffixes and temporary files need some of them."""
PUNCTUATION = " ._-"
# Device names on Windows, with any suffix; superscript digits count as digits.
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[\d¹²³])( *\..*)?", re.IGNORECASE)


def check_name(name: str) -> str:
    """The name in composed form (NFC); ValueError with the rules for names if it is invalid."""
    name = unicodedata.normalize("NFC", name)
    fits = 0 < len(name) <= MOST_LETTERS and len(name.encode("utf-8", "replace")) <= MOST_BYTES
    if not fits or not all(map(is_allowed, name)) or not is_letter_or_digit(name[0]) or name[-1] in ". ":
        raise ValueError(
            _(
                "the name {name!r:.150} is not allowed; use up to {letters} letters of any script, digits, spaces, "
                "dots, dashes and underscores (at most {bytes} bytes), starting with a letter or digit and not ending "
                "with a dot or space",
                name=name,
                letters=MOST_LETTERS,
                bytes=MOST_BYTES,
            )
        )
    if is_reserved(name):
        raise ValueError(_("the name {name!r} is a device on Windows; choose another", name=name))
    return name


def is_letter_or_digit(letter: str) -> bool:
    """Whether a character is a letter or a digit, with which names must begin."""
    return unicodedata.category(letter)[0] in "LN"


def is_allowed(letter: str) -> bool:
    """Whether a name may contain this character: not controls, direction marks or what file systems forbid."""
    return letter in PUNCTUATION or unicodedata.category(letter)[0] in "LNM"


def is_reserved(name: str) -> bool:
    """Whether a name is a device name on Windows."""
    return bool(_RESERVED.fullmatch(name))
