"""Texts of `lightbox.js`, which shows a picture over the whole page."""

from __future__ import annotations

from app.ui.components import text as words


def light_words(earlier: str, later: str) -> dict[str, str]:
    """The texts; `earlier` and `later` are the labels of the arrows."""
    return {
        "close": words.CLOSE,
        "download": words.DOWNLOAD,
        "actual": words.ACTUAL_SIZE,
        "fit": words.FIT,
        "earlier": earlier,
        "later": later,
    }
