"""The rank history: what rank-adapting methods write into a run's events, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from trainers.adapters.about import RankInfo
from trainers.adapters.method import Method
from trainers.adapters.methods import METHODS
from trainers.adapters.network import Network
from trainers.layer_names import block, in_order
from trainers.runs.events import Recorder, latest_events
from trainers.runs.run import Run

MOMENTS = 100
"""Columns of a map, about: how often ranks are noted in a run."""
MARKS = "▁▂▃▄▅▆▇█"


def counted_by(method: str) -> RankInfo:
    """What the ranks of a method are, by its name; a layer's own where it says nothing, or there is no such method."""
    kind = METHODS.get(method)
    return (kind and kind.about.ranks) or RankInfo()


@dataclass(frozen=True)
class RankHistory:
    """Ranks of layers over the steps of a run: `ranks[i][j]` is that of layer j after step `steps[i]`."""

    layers: tuple[str, ...]
    steps: tuple[int, ...]
    ranks: tuple[tuple[int, ...], ...]
    run: str = ""
    method: str = ""

    @property
    def largest(self) -> int:
        return max(map(max, self.ranks))

    @property
    def counted(self) -> RankInfo:
        return counted_by(self.method)

    @property
    def at_the_end(self) -> dict[str, int]:
        return dict(zip(self.layers, self.ranks[-1], strict=True))


def current_ranks(network: Network) -> dict[str, int]:
    """The rank of each layer whose method changes it, by the layer's name."""
    found = {}
    for site in network.hook_points:
        trained = [(p.method.hooks, p.theta) for p in site.placed if isinstance(p.method, Method)]
        ranks = [rank for hooks, theta in trained if (rank := hooks.rank_of(theta)) is not None]
        if ranks:
            found[site.name] = sum(ranks)
    return found


def note_ranks(record: Recorder, network: Network, step: int, steps: int) -> None:
    """Record the ranks as they are after a step, some `MOMENTS` times a run, if a method changes them."""
    if step % max(1, steps // MOMENTS) and step != steps:
        return
    ranks = current_ranks(network)
    if ranks:
        record("ranks", step=step, ranks=ranks)


def read_ranks(folder: Path) -> RankHistory | None:
    """The ranks in a run's events, None if there are none; of steps that were done twice the later ones count."""
    noted: dict[int, Mapping[str, int]] = {}
    for event in latest_events(folder):
        if event["type"] == "ranks":
            noted = {step: ranks for step, ranks in noted.items() if step < event["step"]}
            noted[event["step"]] = event["ranks"]
    if not noted:
        return None
    layers = tuple(in_order(next(reversed(noted.values()))))
    rows = tuple(tuple(ranks.get(layer, 0) for layer in layers) for ranks in noted.values())
    return RankHistory(layers, tuple(noted), rows, *names_of(folder))


def names_of(folder: Path) -> tuple[str, str]:
    """The names of a run and of its method as its settings have them; empty if they cannot be read."""
    settings = Run(folder).table()
    try:
        return str(settings["name"]), str(settings["method"]["name"])
    except (KeyError, TypeError):
        return "", ""


def summarise(history: RankHistory, columns: int = 24) -> list[tuple[str, str, float]]:
    """Of each block its name, the mean rank of its layers over the steps as a line of bars, and at the end.

    A whole bar is the history's `largest`.
    """
    moments = [(len(history.steps) - 1) * i // max(1, columns - 1) for i in range(columns)]
    found = []
    for name, layers in groupby(range(len(history.layers)), lambda i: block(history.layers[i])):
        rows = list(layers)
        means = [sum(history.ranks[moment][layer] for layer in rows) / len(rows) for moment in moments]
        shares = (mean / max(1, history.largest) for mean in means)
        found.append((name, "".join(MARKS[round(share * (len(MARKS) - 1))] for share in shares), means[-1]))
    return found
