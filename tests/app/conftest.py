"""Two runs that many tests look at and none changes, and the empty folders of a queue and of a studio."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from app.jobs.store import Store
from app.studio.dataset.drafts import Drafts
from app.studio.paths import Paths
from app.studio.studio_queue import StudioQueue
from tests.app.command import FEW_STEPS, Outcome, call, process
from tests.app.user_files import write_broken_pictures, write_pictures
from tests.shared import make_once
from tests.trainers.conftest import no_pictures, quick_runs

__all__ = ["no_pictures", "quick_runs"]


@dataclass(frozen=True)
class Trained:
    """A finished `velatura train --json`: how it ended, what it said, and its files."""

    outcome: Outcome
    facts: dict[str, Any]
    run: Path
    style: Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two steps on the starter as a process, on good images with broken ones among them; not to be written to."""

    def make(place: Path) -> None:
        write_broken_pictures(write_pictures(place / "images", "fox.png", "dog [red].png"))
        settings = ("method.name=lora", "method.rank=16", "method.alpha=16", "targets.unet=full")
        options = [word for setting in settings for word in ("--set", setting)]
        options += ["--images", "images", "--name", "dusk", *FEW_STEPS, "--out", "runs", "--json"]
        outcome = process("train", *options, cwd=place)
        assert outcome.code == 0, outcome.err
        (place / "outcome.json").write_text(json.dumps(asdict(outcome)), encoding="utf-8")

    place = make_once(tmp_path_factory, "trained", make)
    outcome = Outcome(**json.loads((place / "outcome.json").read_text("utf-8")))
    facts = json.loads(outcome.out)
    return Trained(outcome, facts, place / facts["run"], place / facts["style"])


@pytest.fixture(scope="session")
def sdxl_style(tmp_path_factory: pytest.TempPathFactory, tiny_bases: dict[str, Path]) -> Path:
    """The style file of two steps on a tiny SDXL base; not to be written to."""

    def make(place: Path) -> None:
        images = write_pictures(place / "images", "fox.png")
        options = ("--base", tiny_bases["sdxl"], *FEW_STEPS, "--set", "targets.unet=cross-kv", "--out", place / "runs")
        outcome = call("train", "--images", images, "--name", "other", *options)
        assert outcome.code == 0, outcome.err

    return make_once(tmp_path_factory, "sdxl", make) / "runs" / "other" / "style" / "other.safetensors"


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
