"""Scores the pictures that a run has drawn: those of one that has ended, such as one of an earlier version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

import torch

from trainers.config.presets import STARTER
from trainers.config.sections import SCORED
from trainers.data.dataset import LATENT_FACTOR, load_dataset
from trainers.data.decode import flatten, open_image
from trainers.device import choose_device, choose_format
from trainers.errors import VelaturaError
from trainers.models.load import load_model
from trainers.planning.findings import native_size
from trainers.runs.events import Recorder
from trainers.runs.run import Run
from trainers.score.encoders import cosine_distance, load_encoder
from trainers.score.pictures import PictureScores, as_pixels, some_of, trained_pixels
from trainers.score.score import Score
from trainers.training.opening import open_images
from trainers.training.previews import read_pictures
from trainers.training.reopen import check_idle

_FOLDER = re.compile(r"step-(\d{8})")


@torch.no_grad()
def score_run(run: Run) -> list[Score]:
    """Score the pictures that a run kept, of each step that drew every prompt, the base's first, and record the scores.

    Raises VelaturaError if the run is training, its base or images cannot be opened, or it drew too few pictures.
    """
    check_idle(run)
    config = run.config()
    device = choose_device(config.train.device)
    dtype = choose_format(config.train.precision, device, small=config.base.model == STARTER)
    model = load_model(config.base.whole(), dtype, device)
    dataset, plan = open_images(model, config, run.dataset)
    folders = {int(match[1]): path for path in run.samples.glob("*") if (match := _FOLDER.fullmatch(path.name))}
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
    scores = PictureScores(model, dataset.items, before, [prompt for prompt, _ in plan.params.pictures])
    whole = {step: drawn for step, drawn in pictures.items() if len(drawn) == len(before)}
    computed = [
        scores.score(scores.before, 0),
        *(scores.score(scores.observe(model, each), step) for step, each in whole.items()),
    ]
    with suppress(OSError):  # a run that may only be read is scored, too
        record = Recorder(run.folder)
        for score in computed:
            record("score", pictures=len(before), **score.as_event())
    return computed


def encoder_distances(run: Run, names: Sequence[str], steps: Sequence[int]) -> list[list[float | None]]:
    """The distances of each step's pictures from the training pictures, to four decimals, one by each named encoder.

    None if a step has no pictures. The base is not loaded. Raises VelaturaError if an encoder is missing or unusable.
    """
    config = run.config()
    encoders = [load_encoder(name, choose_device(config.train.device)) for name in names]
    places = [sorted(run.sample(step).glob("*.png")) for step in steps]
    sides = [max(open_image(place[0]).size) for place in places if place][:1]
    if not sides:
        return [[None] * len(names) for _ in steps]
    native, stride = native_size(config.base.model) or (sides[0], LATENT_FACTOR)  # the base may be gone
    resolution = config.data.resolution or native
    items = some_of(load_dataset(run.dataset, config.data, config.seed, resolution, stride).items)
    trained = [torch.cat([embed(trained_pixels(item)) for item in items]) for embed in encoders]
    distances: list[list[float | None]] = []
    for place in places:
        drawn = [as_pixels([flatten(open_image(path))]) for path in place]  # each of its own size
        distances.append(
            [
                round(cosine_distance(torch.cat([*map(embed, drawn)]), others), 4) if drawn else None
                for embed, others in zip(encoders, trained, strict=True)
            ]
        )
    return distances
