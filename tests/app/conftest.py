"""Two runs that many tests look at and none changes, and the empty folders of a queue and of a studio."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.jobs.store import Store
from app.studio.dataset.drafts import Drafts
from app.studio.paths import Paths
from app.studio.studio_queue import StudioQueue
from tests.app.command import FEW_STEPS, Outcome, call, process
from tests.app.user_files import write_broken_pictures, write_pictures
from tests.trainers.conftest import quick_runs

__all__ = ["quick_runs"]


@dataclass(frozen=True)
class Trained:
    """A finished `velatura train --json`: how it ended, what it said, and its files."""

    outcome: Outcome
    facts: dict[str, Any]
    run: Path
    style: Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two steps on the starter as a real process, on good images with broken ones among them."""
    place = tmp_path_factory.mktemp("trained")
    write_broken_pictures(write_pictures(place / "images", "fox.png", "dog [red].png"))
    settings = ("method.name=lora", "method.rank=16", "method.alpha=16", "targets.unet=full")
    options = [word for setting in settings for word in ("--set", setting)]
    options += ["--images", "images", "--name", "dusk", *FEW_STEPS, "--out", "runs", "--json"]
    outcome = process("train", *options, cwd=place)
    assert outcome.code == 0, outcome.err
    facts = json.loads(outcome.out)
    return Trained(outcome, facts, place / facts["run"], place / facts["style"])


@pytest.fixture(scope="session")
def sdxl_style(tmp_path_factory: pytest.TempPathFactory, tiny_bases: dict[str, Path]) -> Path:
    """The style file of two steps on a tiny SDXL base."""
    place = tmp_path_factory.mktemp("sdxl")
    images = write_pictures(place / "images", "fox.png")
    options = ("--base", tiny_bases["sdxl"], *FEW_STEPS, "--set", "targets.unet=cross-kv", "--out", place / "runs")
    outcome = call("train", "--images", images, "--name", "other", *options, "--json")
    assert outcome.code == 0, outcome.err
    return Path(json.loads(outcome.out)["style"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The empty queue of a folder of runs."""
    return Store(tmp_path / "runs")


@pytest.fixture
def drafts(tmp_path: Path) -> Drafts:
    """The drafts of a studio that nobody has used yet."""
    paths = Paths(tmp_path / "outputs")
    paths.make()
    return Drafts(paths)


@pytest.fixture
def queue(drafts: Drafts) -> StudioQueue:
    """The empty queue of the same studio, as pages read it."""
    return StudioQueue(drafts.paths)


@pytest.fixture
def anonymous(tmp_path: Path) -> str:
    """A name for a draft in unit tests."""
    return re.sub(r"\W", "", tmp_path.name)
