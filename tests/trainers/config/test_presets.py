"""Every preset makes a valid config, on the starter and on a real base, and methods have one named after them."""

from __future__ import annotations

import pytest

from trainers.adapters.methods import METHODS
from trainers.config.build import build_config
from trainers.config.presets import find_preset, list_presets
from trainers.errors import VelaturaError

PRESETS = {preset.name: preset for preset in list_presets()}


@pytest.mark.parametrize("base", ["starter", "owner/model"])
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_loads_on_every_base(name, base):
    preset = PRESETS[name]
    config = build_config({"name": "x", "base": {"model": base}}, preset.settings_for(base))
    assert config.train.steps >= 40 and preset.summary
    assert ("starter" in preset.settings) is False
    drawn = (config.sample.steps, config.sample.sampler, config.sample.guidance)
    assert drawn == ((8, "dpm++ 2m quick", 3.0) if base == "starter" else (25, "ddim", 7.0))


def test_each_method_has_a_preset_of_its_name():
    assert set(METHODS) <= set(PRESETS)
    assert all(PRESETS[name].settings["method"]["name"] == name for name in METHODS)


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(VelaturaError, match=r"'zork'.*lora"):
        find_preset("zork")
