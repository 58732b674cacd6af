"""What `velatura inspect` says about ranks: that of each layer of a file, and where it went in the run that made it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.console import print_table, say

if TYPE_CHECKING:
    from trainers.ranks.history import RankHistory


def show_ranks(ranks: Mapping[str, int], run: Path) -> None:
    """Print the rank of each layer where they differ, and of a run whose method moves them how they went."""
    from trainers.layer_names import by_block
    from trainers.ranks.history import read_ranks
    from trainers.runs.run import is_run

    history = read_ranks(run) if is_run(run) else None
    known = history is not None and history.counted.moves
    every = _with_closed(ranks, history) if history is not None and known else ranks
    if len(set(every.values())) > 1:
        print_table(("block", "rank of each of its layers"), by_block(every))
        if not known:
            say("layers that a method has closed altogether are not in a file, so none of them is listed")
    if history is not None:
        _show_history(history)


def _with_closed(ranks: Mapping[str, int], history: RankHistory) -> Mapping[str, int]:
    """The ranks in a run's file, and 0 for those of its layers that are not in it.

    A file of SDXL calls layers otherwise than its run does: then what the run noted last is taken.
    """
    from trainers.layer_names import dotted

    noted = {dotted(layer): rank for layer, rank in history.at_the_end.items()}
    if not ranks.keys() <= noted.keys():
        return noted
    # A file may hold a part of the layers, as B-LoRA's twins do: what is not in it is closed only if the run says so.
    return {layer: ranks.get(layer, 0) for layer, rank in noted.items() if layer in ranks or not rank}


def _show_history(history: RankHistory) -> None:
    from trainers.ranks.history import MARKS, summarise

    first, last = history.steps[0], history.steps[-1]
    mean_of = "mean rank" if history.counted.moves else f"{history.counted.word}, mean"
    title = f"{mean_of} ({MARKS[-1]} = {history.largest}), step {first} to {last}"
    rows = [(name, line, f"{mean:.1f}") for name, line, mean in summarise(history)]
    print_table(("block", title, "at the end"), rows)
    if history.counted.hint:
        say(history.counted.hint)
