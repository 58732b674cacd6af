"""The ranks of a run's layers, for its page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.jobs.view import View
from app.studio.public_files import link_or_copy
from app.ui.runs import text as words
from trainers.messages import Message, joined
from trainers.ranks.history import names_of, rank_info_of
from trainers.regular_files import is_inside
from trainers.runs.run import RANK_MAP


@dataclass(frozen=True)
class RankMap:
    """The picture of a run's ranks."""

    title: str
    hint: str
    picture: Path
    alt: str


def read_rank_map(view: View, public: Path) -> RankMap | None:
    """The map of a run whose method changes ranks or serves several; None for others, and until it is drawn."""
    drawn = view.job.folder / RANK_MAP
    if not is_inside(view.job.folder, drawn):
        return None
    copy = public / f"ranks-{drawn.stat().st_mtime_ns}.png"  # a run that trains on has another address
    if not copy.exists():
        link_or_copy(drawn, copy)
    info = rank_info_of(names_of(view.job.folder)[1])
    title, hint, description = words.RANKS, words.RANKS_HINT, words.RANKS_PICTURE
    if not info.moves:
        held = (words.RANKS_HELD_HINT, words.RANKS_HELD_PICTURE)
        title, (hint, description) = words.RANKS_HELD, (sentence.format(Message(info.word)) for sentence in held)
    return RankMap(title, joined(" ", (hint, Message(info.hint))), copy, description)
