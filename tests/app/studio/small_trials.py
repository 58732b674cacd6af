"""Drafts whose trials take a moment."""

from __future__ import annotations

import time
from pathlib import Path

from app.studio.dataset.drafts import Draft, Drafts
from app.studio.dataset.uploads import take_folder
from app.studio.runs.estimates import Cost, Measured, Pace, pace_key, work_of
from app.studio.settings.plan import choose, plan, with_choices, with_settings
from tests.trainers.tiny_runs import write_images

SETTINGS = {"data.resolution": 64, "train.steps": 3, "train.warmup": 0}


def make_draft(drafts: Drafts, key: str, base: Path, images: Path) -> Draft:
    """A draft of three small pictures and three steps."""
    take_folder(drafts, key, write_images(images))
    return drafts.change(key, lambda now: with_settings(with_choices(now, base=str(base)), SETTINGS))


def keep_pace(drafts: Drafts, draft: Draft, step: float, load: float = 0.0) -> None:
    """Keep a measurement of so many seconds a step of *Quick*, at a load of the cores by other programs."""
    config = plan(choose(draft, "preset", "quick"), name="style")
    pace = Pace(pace_key(config), work_of(config), step, once=1.0, at=time.time(), load=load)
    Measured(drafts.paths).keep_as(f"{step}", Cost(1.0, 2, 3, 4, pace=pace))
