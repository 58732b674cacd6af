"""The limits of a picture hold in config files and on the command line alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.app.command import call
from trainers.config.limits import SAMPLERS, SEED, SIDE
from trainers.config.sections import Sample
from trainers.errors import VelaturaError


@pytest.mark.parametrize(("setting", "least", "most"), [("steps", 1, 1000), ("guidance", 1, 50), ("size", 0, SIDE[1])])
def test_a_config_takes_what_is_within_and_nothing_beyond(setting: str, least: float, most: float) -> None:
    for value in (least, most):
        assert getattr(Sample.model_validate({setting: value}), setting) == value
    for value in (least - 1, most + 1):
        with pytest.raises(ValidationError, match=setting):
            Sample.model_validate({setting: value})


def test_seeds_and_samplers_of_a_config() -> None:
    assert Sample(seeds=SEED).seeds == SEED
    for seed in (SEED[0] - 1, SEED[1] + 1):
        with pytest.raises(VelaturaError, match="seed"):
            Sample(seeds=(seed,))
    for sampler in SAMPLERS:
        assert Sample.model_validate({"sampler": sampler}).sampler == sampler
    with pytest.raises(ValidationError, match="sampler"):
        Sample.model_validate({"sampler": "magic"})


@pytest.mark.parametrize(
    ("option", "least", "most"),
    [("--seed", *SEED), ("--steps", 1, 1000), ("--guidance", 1, 50), ("--batch", 1, 64)],
)
def test_the_command_line_has_the_same_limits(option: str, least: int, most: int, tmp_path: Path) -> None:
    words = ("generate", "--prompt", "a fox", "--style", tmp_path / "none", "--out", tmp_path / "fox.png")
    for value in (least, most):
        assert "there is no style file" in call(*words, option, value).err
    for value in (least - 1, most + 1):
        outcome = call(*words, option, value)
        assert outcome.code == 1 and f"{least} to" in outcome.err and f"you wrote “{value}”" in outcome.err
