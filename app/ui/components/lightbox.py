"""One picture over the whole page, as `lightbox.js` shows it."""

from __future__ import annotations

from app.ui.components import text as words


def light_words(earlier: str, later: str) -> dict[str, str]:
    """What the script says; `earlier` and `later` name the pictures that its arrows lead to."""
    return {
        "close": words.CLOSE,
        "download": words.DOWNLOAD,
        "actual": words.ACTUAL_SIZE,
        "fit": words.FIT,
        "earlier": earlier,
        "later": later,
    }
