"""One order of settings: the command line, the page, programs and copies of a run come to the same config."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER, Actor
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.dataset.uploads import take_folder
from app.studio.runs.start import start_run, with_orders
from app.studio.services import Services, open_services
from app.studio.settings.plan import with_choices, with_setting
from tests.app.user_files import write_pictures
from trainers.config.config import Config
from trainers.config.layers import gather_config
from trainers.errors import VelaturaError
from trainers.runs.run import Run

STEPS = {"few": 6, "many": 900}


@pytest.fixture
def services(drafts: Drafts, tmp_path: Path) -> Services:
    return open_services(drafts.paths, tmp_path / "uploads")


@pytest.fixture
def draft(services: Services, tmp_path: Path) -> Draft:
    return take_folder(services.drafts, "user:ann", write_pictures(tmp_path / "mine", "fox.png", "owl.png"))


def settings_of(config: Config) -> Config:
    """The config without its name and where its pictures are."""
    return config.model_copy(update={"name": "x", "data": config.data.model_copy(update={"images": ""})})


def test_layers_that_the_base_does_not_have_are_refused_before_a_run_waits(services: Services, draft: Draft) -> None:
    with pytest.raises(VelaturaError, match=r"'\*\.to_zork' matches no layer of unet"):
        start_run(services.queue, services.drafts, with_setting(draft, "targets.unet", "*.to_zork"), MACHINE_OWNER)
    assert services.queue.store.jobs() == [] if services.queue.store.exists() else True


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("preset", ["balanced", "quick"])
def test_every_way_to_start_a_run_gives_the_same_config(
    services: Services, draft: Draft, preset: str, steps: str
) -> None:
    asked = {"train.steps": STEPS[steps], "train.ema": 0.5, "method.rank": 5}
    lines = [f"{key}={value}" for key, value in asked.items()]
    command = settings_of(gather_config(None, preset, {"name": "x", "images": "pictures"}, lines))
    assert preset != "balanced" or command.train.warmup == (0 if steps == "few" else 10), "where there is room for it"

    by_hand = with_choices(draft, preset=preset)
    for key, value in asked.items():
        by_hand = with_setting(by_hand, key, str(value))
    page = start_run(services.queue, services.drafts, by_hand, MACHINE_OWNER)
    program = start_run(services.queue, services.drafts, *_ordered(draft, preset, asked))
    store = services.queue.store
    waits, ended = (
        start_run(services.queue, services.drafts, with_choices(draft, preset=preset), MACHINE_OWNER) for _ in range(2)
    )
    actions.stop(store, ended.id, "cancel", actor=MACHINE_OWNER)
    changes = {"train": {"steps": STEPS[steps], "ema": 0.5}, "method": {"rank": 5}}
    clone = actions.clone(store, ended.id, "clone", changes, actor=MACHINE_OWNER)
    actions.change(store, waits.id, changes, actor=MACHINE_OWNER)
    actions.retry(store, ended.id, changes, actor=MACHINE_OWNER)
    for job in (page, program, clone, waits, ended):
        assert settings_of(Run(job.folder).config()) == command, job.name


def _ordered(draft: Draft, preset: str, asked: dict[str, object]):
    chosen, table = with_orders(draft, preset, "starter", asked)
    return chosen, MACHINE_OWNER, table


@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 works on a card")
def test_what_this_computer_cannot_train_is_refused_before_a_run_waits(services: Services, draft: Draft) -> None:
    with pytest.raises(VelaturaError, match=r"fp16 does not work on a CPU.*--set train\.precision=auto"):
        start_run(services.queue, services.drafts, with_setting(draft, "train.precision", "fp16"), MACHINE_OWNER)
    with pytest.raises(VelaturaError, match=r"4 pictures of 4096 × 4096"):
        start_run(services.queue, services.drafts, draft, Actor("ann"), {"sample": {"size": 4096, "steps": 25}})
    assert services.queue.store.jobs() == [] if services.queue.store.exists() else True
