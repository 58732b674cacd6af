"""Where the rank went in a run, for its page."""

from __future__ import annotations

from pathlib import Path

from app.jobs.views import View
from app.ui import run_words as words
from app.ui.html import file_address, text
from app.ui.run_samples import put_copy
from trainers.ranks import RANK_MAP


def rank_map(view: View, public: Path) -> str:
    """The map of a run whose method moves the rank; empty of others, and until it is drawn."""
    drawn = view.job.folder / RANK_MAP
    if not drawn.is_file():
        return ""
    copy = public / f"ranks-{drawn.stat().st_mtime_ns}.png"  # one that is trained on has another address
    if not copy.exists():
        put_copy(drawn, copy)
    return (
        f'<figure class="ranks"><h2>{text(words.RANKS)}</h2><p class="hint">{text(words.RANKS_HINT)}</p>'
        f'<img loading="lazy" src="{text(file_address(copy))}" alt="{text(words.RANKS_PICTURE)}"></figure>'
    )
