"""The config of a command: the preset `recommended` of a base."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.studio.paths import Paths
from app.studio.settings.gather import gather_settings
from app.studio.settings.own_presets import OwnPresets
from tests.tiny import tiny_single_file
from trainers.errors import VelaturaError


def test_recommended_takes_what_others_published_for_the_base(tmp_path: Path) -> None:
    base = str(tiny_single_file("sdxl", tmp_path / "illustriousXL.safetensors"))
    options = {"name": "dusk", "base": base}
    config = gather_settings(tmp_path, None, "recommended", options, ["train.learning_rate=1e-4"])
    assert (config.method.rank, config.train.optimizer, config.train.cycles) == (32, "adafactor", 3)
    assert config.train.learning_rate == 1e-4 and config.loss.noise_offset == 0.1
    assert config.sample.prefix == "masterpiece, best quality"  # of the base itself
    with pytest.raises(VelaturaError, match="no recommendation is known for the base starter; without --preset"):
        gather_settings(tmp_path, None, "recommended", {"name": "dusk"}, [])


def test_a_preset_of_ones_own_may_be_called_recommended(tmp_path: Path) -> None:
    OwnPresets(Paths(tmp_path)).save("", "recommended", {"method": {"name": "loha"}, "train": {"steps": 7}})
    config = gather_settings(tmp_path, None, "recommended", {"name": "dusk"}, [])
    assert (config.method.name, config.train.steps) == ("loha", 7)
