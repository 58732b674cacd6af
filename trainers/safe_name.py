"""Names that are safe as a folder, a file and a word in other tools' prompts."""

from __future__ import annotations

import re

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # devices on Windows, with any suffix


def check_name(name: str) -> str:
    """The name itself, or ValueError saying what a name may be."""
    if not _SAFE.fullmatch(name) or name[-1] in ". ":
        raise ValueError(
            f"the name {name!r} cannot be used: up to 100 letters, digits, spaces, dots, dashes and underscores, "
            "beginning with a letter or digit and not ending with a dot or space"
        )
    if _RESERVED.fullmatch(name):
        raise ValueError(f"the name {name!r} is a device on Windows; choose another")
    return name
