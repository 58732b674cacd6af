"""The cards of the styles as template data."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.jobs.permissions import Actor
from app.jobs.view import View
from app.studio.programs.find import Place
from app.studio.runs import chosen, samples
from app.studio.studio_queue import StudioQueue
from app.studio.styles.entry import StyleEntry
from app.studio.styles.library import StyleLibrary
from app.studio.styles.train_on import METHODS
from app.ui.components.download_menu import DownloadOffer, find_installs, find_offers
from app.ui.components.runs.text import by
from app.ui.styles import text as words
from app.units import day, readable_size
from trainers.config.techniques import TEXTUAL_INVERSION

PICTURES = 4


@dataclass(frozen=True)
class Card:
    """A style in the list."""

    id: str
    name: str
    art: tuple[Path, ...]
    """Up to four pictures of its run, the first one large."""
    facts: tuple[str, ...]
    words: tuple[str, ...]
    """Its trigger words."""
    notes: tuple[tuple[str, str], ...]
    """Labelled notes in the metadata of an imported file."""
    written: str
    """The note and the tags of its run on one line; "" without any."""
    offers: tuple[DownloadOffer, ...]
    copy: str
    """The text to copy into a prompt; "" if the style needs none."""
    run: str
    """The run that made it; "" for an imported style."""
    steps: bool
    """Whether its run kept several steps to compare."""
    can_start: bool
    """Whether a training can start from it."""
    may_change: bool


def read_card(
    library: StyleLibrary, item: StyleEntry, view: View | None, actor: Actor, places: Sequence[Place] | None = None
) -> Card:
    """The card of a style for `actor`; `view` is its run, if it exists.

    `places` are programs that may take it; None if styles may not be put into any.
    """
    facts = (
        words.method(item.method),
        words.ON_STARTER if item.starter else words.ON.format(item.base) if item.base else words.ON_UNKNOWN,
        words.OF_STEP.format(step=item.step) if item.step is not None else "",
        readable_size(item.size),
        day(item.made, time.time()),
        by(item.owner, actor),
    )
    return Card(
        item.id,
        item.name,
        _art(library.queue, view),
        tuple(filter(None, facts)),
        tuple(item.words),
        tuple((words.NOTES[key], note) for key, note in item.notes),
        item.about.line,
        (*find_offers(library, item), *(find_installs(item, places) if places is not None else ())),
        _prompt(item),
        item.run,
        view is not None and len(chosen.snapshots(view.job.folder)) > 1,
        item.method in METHODS and not item.only_here,
        actor.may_change(item.owner),
    )


def _art(queue: StudioQueue, view: View | None) -> tuple[Path, ...]:
    """Pictures that the run has drawn since its start."""
    if view is None:
        return ()
    drawn = [sample for sample in chosen.chosen_samples(view) if sample.step or sample.file][:PICTURES]
    public = queue.public(view)
    return tuple(samples.put_sample(sample, public, bool(place)) for place, sample in enumerate(drawn))


def _prompt(item: StyleEntry) -> str:
    if item.method == TEXTUAL_INVERSION:  # prompts call it by its file name
        return item.name
    called = ", ".join(item.words)
    return called if item.only_here or not called else words.PROMPT.format(item.stem, called)
