"""Which strength of a run's style to keep: the smallest with most of the style, by the rule for a run's steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trainers.models.model import Model
from trainers.runs.run import Run
from trainers.score.best import OF_STRENGTHS, Best, find_best

if TYPE_CHECKING:
    from PIL.Image import Image


def choose_strength(model: Model, run: Run, pictures: Mapping[float, Sequence[Image]], prompts: Sequence[str]) -> Best:
    """The strength to keep and why, of pictures of the same prompts at each strength, 0 among them.

    The base must be without styles. Raises VelaturaError if the run's training pictures cannot be read.
    """
    from trainers.data.dataset import load_dataset
    from trainers.score.pictures import PictureScores

    config = run.config()
    resolution = config.data.resolution or model.resolution
    data = load_dataset(run.dataset, config.data, config.seed, resolution, model.stride, config.tokens.word)
    scores = PictureScores(model, data.items, pictures[0.0], prompts)
    scored = [
        scores.score(scores.observe(model, drawn), 0, strength) for strength, drawn in pictures.items() if strength
    ]
    return find_best(scores.score(scores.before, 0, 0.0), scored, reasons=OF_STRENGTHS)
