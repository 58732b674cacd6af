"""The sufficient rank of a training: the smallest whose denoising error is close to the best rank's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainers.adapters.context import ForwardContext
from trainers.runs.run import Run
from trainers.score import TIMES, TOLERANCE
from trainers.training.opening import open_dataset
from trainers.training.reopen import ranks_of, reopened
from trainers.training.step.denoising import denoising_errors, make_probes


@dataclass(frozen=True)
class RankCurve:
    """The denoising error of the bare base and of each rank, and the sufficient rank."""

    ranks: tuple[int, ...]
    errors: tuple[float, ...]
    base: float
    enough: int


def sufficient_rank(ranks: tuple[int, ...], errors: tuple[float, ...], base: float, tolerance: float) -> int:
    """The smallest rank that loses at most the share `tolerance` of the best rank's gain over the bare base.

    If no rank gains anything, the best one; ranks in ascending order.
    """
    best = min(errors)
    most = best + tolerance * max(0.0, base - best)
    return next(rank for rank, error in zip(ranks, errors, strict=True) if error <= most)


def measure_ranks(
    run: Run,
    tolerance: float = TOLERANCE,
    times: int = TIMES,
    images: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> RankCurve:
    """Measure every trained rank of a run; `on_progress(done, of)` is called after each.

    Uses the images of a folder, otherwise the run's training images, each at `times` timesteps. Raises VelaturaError if
    the method trains only one rank, or the run or the images cannot be opened.
    """
    ranks = ranks_of(run)
    with reopened(run) as reopening:
        session, errors = reopening.session, list[float]()
        model, network, config = session.model, session.network, session.config
        dataset, _ = open_dataset(session, images)
        probes = make_probes(model, dataset.items, config, times)
        with network.at_strength(0):
            base = float(denoising_errors(model, network, probes, config).mean())
        for done, rank in enumerate(ranks, 1):
            errors.append(float(denoising_errors(model, network, probes, config, ForwardContext(rank=rank)).mean()))
            if on_progress is not None:
                on_progress(done, len(ranks))
    return RankCurve(ranks, tuple(errors), base, sufficient_rank(ranks, tuple(errors), base, tolerance))
