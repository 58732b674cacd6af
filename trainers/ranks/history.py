"""The rank history: the ranks that rank-adapting methods record in a run's events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from trainers.adapters.about import RankInfo
from trainers.adapters.method import Method
from trainers.adapters.methods import METHODS
from trainers.adapters.network import Network
from trainers.layer_names import block, sort_layers
from trainers.runs.events import Recorder, latest_events
from trainers.runs.run import Run

MOMENTS = 100
"""Approximate number of times that ranks are recorded in a run: the columns of a rank map."""
MARKS = "▁▂▃▄▅▆▇█"


def rank_info_of(method: str) -> RankInfo:
    """The meaning of a method's ranks by its name; the default for unknown methods."""
    kind = METHODS.get(method)
    return (kind and kind.about.ranks) or RankInfo()


@dataclass(frozen=True)
class RankHistory:
    """Ranks of layers over the steps of a run: `ranks[i][j]` is the rank of layer j after step `steps[i]`."""

    layers: tuple[str, ...]
    steps: tuple[int, ...]
    ranks: tuple[tuple[int, ...], ...]
    run: str = ""
    method: str = ""

    @property
    def largest(self) -> int:
        return max(map(max, self.ranks))

    @property
    def rank_info(self) -> RankInfo:
        return rank_info_of(self.method)

    @property
    def final(self) -> dict[str, int]:
        return dict(zip(self.layers, self.ranks[-1], strict=True))


def current_ranks(network: Network) -> dict[str, int]:
    """Ranks by layer name, for layers whose method changes them."""
    by_layer = {}
    for site in network.hook_points:
        trained = [(p.method.hooks, p.theta) for p in site.placed if isinstance(p.method, Method)]
        ranks = [rank for hooks, theta in trained if (rank := hooks.rank_of(theta)) is not None]
        if ranks:
            by_layer[site.name] = sum(ranks)
    return by_layer


def note_ranks(record: Recorder, network: Network, step: int, steps: int) -> None:
    """Record the ranks after a step, about `MOMENTS` times per run, if a method changes them."""
    if step % max(1, steps // MOMENTS) and step != steps:
        return
    ranks = current_ranks(network)
    if ranks:
        record("ranks", step=step, ranks=ranks)


def read_ranks(folder: Path) -> RankHistory | None:
    """The ranks in a run's events; None if there are none. For repeated steps the later ranks count."""
    noted: dict[int, Mapping[str, int]] = {}
    for event in latest_events(folder):
        if event["type"] == "ranks":
            noted = {step: ranks for step, ranks in noted.items() if step < event["step"]}
            noted[event["step"]] = event["ranks"]
    if not noted:
        return None
    layers = tuple(sort_layers(next(reversed(noted.values()))))
    rows = tuple(tuple(ranks.get(layer, 0) for layer in layers) for ranks in noted.values())
    return RankHistory(layers, tuple(noted), rows, *names_of(folder))


def names_of(folder: Path) -> tuple[str, str]:
    """Names of a run and its method, from its settings; empty if they cannot be read."""
    settings = Run(folder).table()
    try:
        return str(settings["name"]), str(settings["method"]["name"])
    except (KeyError, TypeError):
        return "", ""


def summarise(history: RankHistory, columns: int = 24) -> list[tuple[str, str, float]]:
    """For each block: its name, the mean rank of its layers over the steps as a line of bars, and the final mean.

    A full bar is the history's `largest`.
    """
    moments = [(len(history.steps) - 1) * i // max(1, columns - 1) for i in range(columns)]
    blocks = []
    for name, layers in groupby(range(len(history.layers)), lambda i: block(history.layers[i])):
        rows = list(layers)
        means = [sum(history.ranks[moment][layer] for layer in rows) / len(rows) for moment in moments]
        shares = (mean / max(1, history.largest) for mean in means)
        blocks.append((name, "".join(MARKS[round(share * (len(MARKS) - 1))] for share in shares), means[-1]))
    return blocks
