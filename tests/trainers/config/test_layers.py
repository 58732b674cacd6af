"""From options to one config: which layer wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainers.config.build import as_table, build_config, dump_config
from trainers.config.config import Config
from trainers.config.layers import gather_config, layers
from trainers.config.presets import find_preset
from trainers.config.tables import lay_over
from trainers.config.techniques import TECHNIQUES
from trainers.errors import VelaturaError
from trainers.models.bases.recognise import settings_of_base


def gather(
    *assignments: str, file: Path | None = None, preset: str | None = None, name: str | None = "dusk", **options: Any
) -> Config:
    return gather_config(file, preset, {"name": name, **options}, assignments, of_base=settings_of_base)


def test_without_a_preset_it_is_balanced() -> None:
    assert gather() == gather(preset="balanced")
    assert gather() != gather(preset="quick")


def test_a_preset_has_other_values_for_the_starter() -> None:
    preset = find_preset("balanced")
    own, starter = preset.settings["train"], preset.starter["train"]
    assert own["learning_rate"] != starter["learning_rate"]
    assert gather().train.learning_rate == starter["learning_rate"]
    assert gather(base="elsewhere").train.learning_rate == own["learning_rate"]
    assert gather("base.model=elsewhere").train.learning_rate == own["learning_rate"]


def test_a_base_that_is_known_by_name_has_settings_of_its_own() -> None:
    base = "OnomaAIResearch/Illustrious-xl-early-release-v0"
    plain, own = gather(base="elsewhere"), gather(base=base)
    assert own.sample.prefix == "masterpiece, best quality" and plain.sample.prefix == ""
    assert (own.sample.sampler, own.sample.steps, own.sample.guidance) == ("euler a", 28, 6.0)
    assert own.data.shuffle_tags and own.data.keep_tags == 1 and not plain.data.shuffle_tags
    assert own.train == plain.train and own.method == plain.method and own.data.flip == plain.data.flip
    assert gather("sample.prefix=", "sample.steps=9", base=base).sample.prefix == ""
    assert gather(base="hakurei/counterfeit-v3").base.clip_skip == 2
    # What would have no effect with the user's settings is left out, not refused.
    assert gather("data.shuffle_tags=false", base=base).data.keep_tags == 0
    assert gather("sample.guidance=1", base=base).sample.negative == "" and own.sample.negative
    # A method, or a technique, on top leaves them as they are.
    assert gather(base=base, preset="loha").sample == own.sample
    found = layers(preset="balanced", base=base, method="lokr", techniques=TECHNIQUES[:1], of_base=settings_of_base)
    assert lay_over(*found)["sample"]["prefix"] == "masterpiece, best quality"


def test_options_win_over_the_preset_and_set_over_options(tmp_path: Path) -> None:
    config = gather("train.steps=70", "method.rank=3", steps=60, seed=5, images=tmp_path, preset="quick")
    assert (config.train.steps, config.method.rank, config.seed) == (70, 3, 5)
    assert config.data.images == str(tmp_path)
    assert gather(steps=60).train.steps == 60


def test_a_file_stands_alone_and_options_win_over_it(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('name = "filed"\n[data]\nimages = "pictures"\n[train]\nsteps = 41\n', encoding="utf-8")
    config = gather(file=file, name=None)
    assert (config.name, config.train.steps) == ("filed", 41)
    assert config.data.images == str(tmp_path / "pictures")
    assert config.train.learning_rate == Config(name="x").train.learning_rate  # no preset is laid under a file
    assert gather(file=file, steps=9).train.steps == 9
    assert gather(file=file).name == "dusk"
    with_preset = gather(file=file, preset="quick")
    assert with_preset.train.steps == find_preset("quick").starter["train"]["steps"] != 41


def test_a_complete_file_gives_the_same_config(tmp_path: Path) -> None:
    config = gather("sample.prompts=['fox']", images=tmp_path, preset="lokr")
    (tmp_path / "config.toml").write_text(dump_config(config), encoding="utf-8")
    assert gather(file=tmp_path / "config.toml", name=None) == config


def test_a_presets_warm_up_leaves_room_for_few_steps() -> None:
    own = find_preset("balanced").starter["train"]["warmup"]
    assert own >= 2
    for steps, warmup in ((1, 0), (own, own // 10), (own + 1, own), (own * 30, own)):
        assert gather(steps=steps).train.warmup == gather(f"train.steps={steps}").train.warmup == warmup


def test_a_warm_up_that_was_asked_for_stays() -> None:
    assert gather("train.warmup=3", steps=5).train.warmup == 3
    with pytest.raises(VelaturaError, match=r"train\.warmup = 5 leaves no step"):
        gather("train.warmup=5", steps=5)


def test_a_files_warm_up_leaves_room_for_few_steps_too(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(dump_config(gather("train.warmup=50", steps=100, images=tmp_path)), encoding="utf-8")
    assert gather(file=file).train.warmup == 50
    assert gather(file=file, steps=20).train.warmup == 2
    whole = as_table(gather(file=file))
    assert build_config(*layers(file=whole, above=({"train": {"steps": 20}},))).train.warmup == 2


def test_each_layer_lies_over_the_one_below() -> None:
    qlora = next(one for one in TECHNIQUES if one.name == "qlora")
    file = {"name": "filed", "train": {"ema": 0.9, "steps": 7, "learning_rate": 0.5}, "data": {"flip": True}}
    word, last = {"data": {"trigger": "dusk"}, "seed": 1}, {"seed": 2}
    found = layers(
        file=file, preset="balanced", base="a/b", method="lokr", techniques=[qlora], aim="subject", above=(word, last)
    )
    table, balanced = lay_over(*found), find_preset("balanced").settings_for("a/b")
    assert found[0] is file and found[-2:] == (word, last)
    assert table["name"] == "filed" and table["train"]["ema"] == 0.9, "of the file, where nothing above says otherwise"
    assert table["train"]["steps"] == balanced["train"]["steps"], "a preset lies over a file"
    lokr = find_preset("lokr").settings_for("a/b")
    assert table["method"] == lokr["method"]
    assert table["train"]["learning_rate"] == lokr["train"]["learning_rate"], "a method lies over the preset"
    assert table["train"]["gradient_checkpointing"], "comes with qlora"
    subject = {"flip": False, "read_trigger": True, "trigger": "dusk"}
    assert table["data"] == subject, "an aim lies over them, and what is asked for over all"
    assert table["targets"]["text_encoder"] == "attn" and table["seed"] == 2


def test_a_word_alone_has_no_method_and_a_warm_up_too_large_for_any_layer_is_cut_once() -> None:
    found = layers(preset="balanced", method="", aim="subject", above=({"train": {"steps": 3}},))
    assert not any("method" in table or "text_encoder" in table.get("targets", {}) for table in found)
    assert [table for table in found if table == {"train": {"warmup": 0}}] == [{"train": {"warmup": 0}}]


def test_another_method_brings_its_own_settings() -> None:
    config = gather("method.name=lokr", preset="lora")
    assert config.method.name == "lokr"


@pytest.mark.parametrize("assignment", ["base=3", "train=3", "data=[]", "base=starter"])
def test_a_section_that_is_no_table_is_named(assignment: str) -> None:
    with pytest.raises(VelaturaError, match=rf"^{assignment.partition('=')[0]} = .*section"):
        gather(assignment)
