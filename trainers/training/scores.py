"""Scores the pictures of a run that has ended, such as one of an earlier version."""

from __future__ import annotations

import re

import torch

from trainers.config.presets import STARTER
from trainers.config.sections import SCORED
from trainers.device import choose_device, choose_format
from trainers.errors import VelaturaError
from trainers.models.load import load_model
from trainers.runs.run import Run
from trainers.score.pictures import PictureScores
from trainers.score.score import Score
from trainers.training.opening import open_images
from trainers.training.previews import read_pictures
from trainers.training.reopen import check_idle

_FOLDER = re.compile(r"step-(\d{8})")


@torch.no_grad()
def score_run(run: Run) -> list[Score]:
    """Score the pictures that a run kept, of each step that drew every prompt, the base's first.

    Raises VelaturaError if the run is training, its base or images cannot be opened, or it drew too few pictures.
    """
    check_idle(run)
    config = run.config()
    device = choose_device(config.train.device)
    dtype = choose_format(config.train.precision, device, small=config.base.model == STARTER)
    model = load_model(config.base.whole(), dtype, device)
    dataset, plan = open_images(model, config, run.dataset)
    folders = {int(match[1]): path for path in run.samples.iterdir() if (match := _FOLDER.fullmatch(path.name))}
    pictures = {step: read_pictures(folders[step], plan.params) for step in sorted(folders)}
    before = pictures.pop(0, [])
    if len(before) < SCORED:
        raise VelaturaError(
            "{folder} has {count} pictures from before training, and scores need at least {fewest}: give it more "
            "prompts or seeds, with sample.prompts or sample.seeds",
            folder=run.folder,
            count=len(before),
            fewest=SCORED,
        )
    scores = PictureScores(model, dataset.items, before)
    whole = {step: drawn for step, drawn in pictures.items() if len(drawn) == len(before)}
    return [
        scores.score(scores.before, 0),
        *(scores.score(scores.observe(model, each), step) for step, each in whole.items()),
    ]
