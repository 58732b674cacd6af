"""The rank that is enough: how well each rank of one training denoises, and the smallest nearly as good as the best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainers.adapters.context import ForwardContext
from trainers.runs.run import Run
from trainers.score import TIMES, TOLERANCE
from trainers.score.denoising import ask, denoising_errors
from trainers.training.reopen import ranks_of, reopened
from trainers.training.train import open_dataset


@dataclass(frozen=True)
class RankCurve:
    """The denoising error of the bare base and of each rank, on the same questions, and the rank that is enough."""

    ranks: tuple[int, ...]
    errors: tuple[float, ...]
    base: float
    enough: int


def enough(ranks: tuple[int, ...], errors: tuple[float, ...], base: float, tolerance: float) -> int:
    """The smallest rank that gives up at most the share `tolerance` of the best one's gain over the bare base.

    Where none gains anything, the best of them; ranks from small to large.
    """
    best = min(errors)
    most = best + tolerance * max(0.0, base - best)
    return next(rank for rank, error in zip(ranks, errors, strict=True) if error <= most)


def measure_ranks(
    run: Run,
    tolerance: float = TOLERANCE,
    times: int = TIMES,
    images: Path | None = None,
    told: Callable[[int, int], None] | None = None,
) -> RankCurve:
    """Measure every rank of a run that serves several; `told(done, of)` is called after each.

    The questions are the images of a folder, else those that the run was trained on, each at `times` timesteps. Raises
    VelaturaError where the method serves one rank only, or the run or the images cannot be opened.
    """
    ranks = ranks_of(run)
    with reopened(run) as found:
        session, errors = found.session, list[float]()
        model, network, config = session.model, session.network, session.config
        asked, _ = open_dataset(session, images)
        questions = ask(model, asked.items, config, times)
        with network.at_strength(0):
            base = float(denoising_errors(model, network, questions, config).mean())
        for done, rank in enumerate(ranks, 1):
            errors.append(float(denoising_errors(model, network, questions, config, ForwardContext(rank=rank)).mean()))
            if told is not None:
                told(done, len(ranks))
    return RankCurve(ranks, tuple(errors), base, enough(ranks, tuple(errors), base, tolerance))
