from __future__ import annotations

import itertools
import re

import pytest

from app.studio.dataset.drafts import Draft, Picture
from app.studio.settings.epochs import epoch_of
from app.studio.settings.fields import FOLDS, find_field, list_fields, list_folder_fields
from app.studio.settings.plan import (
    CARE,
    all_layers,
    changed_settings,
    choose,
    chosen_layers,
    folder_settings,
    from_table,
    plan,
    problems,
    values,
    with_choices,
    with_folder_setting,
    with_setting,
    without_settings,
)
from app.ui.train.settings_view import settings_fold
from trainers.adapters.methods import METHODS
from trainers.config.build import as_table
from trainers.config.presets import find_preset
from trainers.config.sections import ImageSet
from trainers.errors import VelaturaError
from trainers.messages import Message
from trainers.models.bases.recognise import recommendation_of


@pytest.fixture
def draft() -> Draft:
    return Draft(id="x", public="y")


def keys(table: dict, before: str = "") -> set[str]:
    """The leaves of a config's table."""
    found = set()
    for key, value in table.items():
        deeper = isinstance(value, dict) and key not in ("blocks", "sets")
        found |= keys(value, f"{before}{key}.") if deeper else {before + key}
    return found


@pytest.mark.parametrize("method", METHODS)
def test_every_leaf_of_the_config_is_a_field(draft: Draft, method: str) -> None:
    fields = list_fields(method)
    assert {one.key for one in fields} == keys(as_table(plan(choose(draft, "method", method))))
    assert all(one.fold in FOLDS and one.title and one.help for one in fields)
    assert {one.fold for one in fields} == set(FOLDS)
    assert len({(one.fold, one.title) for one in fields}) == len(fields), "no two are called the same in one fold"


def test_layers_that_the_base_does_not_have_are_said_before_it_is_loaded(draft: Draft) -> None:
    wrong = problems(with_setting(draft, "targets.unet", "*.to_zork"))
    assert "'*.to_zork' matches no layer of unet" in wrong["targets.unet"]
    assert problems(with_setting(draft, "targets.unet", "up_blocks.*.to_k")) == {}
    blocks = with_setting(draft, "targets.blocks", '["zork.*"]\nrank = 4')
    assert "matches no trained layer" in problems(blocks)["targets.blocks"]
    text = with_setting(with_setting(draft, "targets.text_encoder", "*.q_proj, *.zork"), "targets.unet", "none")
    assert "of text_encoder" in problems(text)["targets.text_encoder"]
    assert problems(with_choices(text, base="owner/not-here")) == {}, "its layers are not known"


@pytest.mark.parametrize("method", METHODS)
def test_texts_and_values_are_the_same_both_ways(draft: Draft, method: str) -> None:
    now = values(all_layers(choose(draft, "method", method)), method)
    for one in list_fields(method):
        value = now[one.key]
        if value is not None and one.kind not in ("choice", "text"):
            assert one.show(one.read(one.show(value))) == one.show(value), one.key
    blocks = find_field("targets.blocks", method)
    assert blocks is not None
    table = blocks.read('"mid_block.*" = { rank = 4 }')
    assert table == {"mid_block.*": {"rank": 4}} == blocks.read(blocks.show(table))


def test_every_combination_is_a_config(draft: Draft) -> None:
    for care, method, aim, base in itertools.product(CARE, METHODS, ("style", "subject"), ("starter", "owner/name")):
        chosen = choose(choose(choose(draft, "preset", care), "method", method), "aim", aim)
        config = plan(with_choices(chosen, base=base))
        assert (config.method.name, config.base.model) == (method, base)
        if method == "krona-b":  # which has no place in every preset's selection
            assert config.targets.unet == "attn-mlp"
        own = find_preset(care).settings_for(base)
        assert config.train.steps == own["train"]["steps"]
        assert config.targets.text_encoder == (METHODS[method].text_preset if aim == "subject" else "none")
        if method == own["method"]["name"]:
            assert config.train.learning_rate == own["train"]["learning_rate"]
        else:
            named = find_preset(method).settings_for(base)
            assert config.train.learning_rate == named["train"]["learning_rate"]


def test_a_setting_that_was_changed_under_its_old_name_is_kept(draft: Draft) -> None:
    kept = draft.with_(choices=draft.choices.model_copy(update={"settings": {"loss.timestep_bias": -1.5}}))
    assert changed_settings(kept.choices) == {"loss.timesteps": "power -1.5"}
    assert plan(kept, data={"images": "x"}).loss.timesteps == "power -1.5"


def test_a_changed_setting_and_back(draft: Draft) -> None:
    changed = with_setting(draft, "train.learning_rate", "2e-3")
    assert changed_settings(changed.choices) == {"train.learning_rate": 0.002}
    assert plan(changed).train.learning_rate == 0.002
    assert with_setting(changed, "train.learning_rate", "0.001").choices.settings == {}, "as the preset has it"
    assert without_settings(changed, "train.learning_rate").choices.settings == {}
    assert without_settings(changed).choices.settings == {}
    for key in ("base.model", "nothing.here", "method.factor"):
        assert with_setting(draft, key, "x") == draft


def test_a_methods_settings_are_there_again_when_it_is_chosen_again(draft: Draft) -> None:
    nine = with_setting(draft, "method.rank", "9")
    lokr = choose(nine, "method", "lokr")
    assert changed_settings(lokr.choices) == {} and plan(lokr).method.name == "lokr"
    assert plan(choose(lokr, "method", "lora")).method.rank == 9
    assert choose(lokr, "method", "lora").choices.method == "", "the preset's own method follows the preset"
    assert choose(draft, "method", "nice") == draft == choose(draft, "preset", "lora")


def test_a_named_configuration_moves_its_switches(draft: Draft) -> None:
    tied = with_setting(choose(draft, "method", "tied"), "method.configuration", "vera")
    shown = values(all_layers(tied), "tied")
    assert [shown[f"method.train_{each}"] for each in "abuv"] == [False, False, True, True]
    assert with_setting(tied, "method.train_a", "off") == tied, "as the configuration has it"
    against = with_setting(tied, "method.train_a", "on")
    assert 'configuration = "vera" has train_a = false; remove train_a' in problems(against)["method"]
    assert problems(with_setting(against, "method.configuration", "custom")) == {}
    assert plan(with_setting(tied, "method.configuration", "tl5")).method.train_a


@pytest.mark.parametrize(
    ("key", "typed", "said"),
    [
        ("method.rank", "0", "Rank must be a whole number from 1 to 1,024; you wrote 0."),
        ("method.rank", "", "Rank must be a whole number from 1 to 1,024; it is empty."),
        ("train.steps", "many", "Steps must be a whole number from 1 to 1,000,000; you wrote many."),
        ("train.ema", "1", "EMA must be a number from 0 to below 1; you wrote 1."),
        ("train.learning_rate", "0", "Learning rate must be a number above 0, up to 10; you wrote 0."),
        ("train.optimizer", "sgd", "'sgd': it should be 'adamw'"),
        ("targets.unet", "none", "nothing would be trained"),
        ("targets.blocks", "rubbish", "Overrides by block must be TOML such as"),
        ("sample.seeds", "1, x", "Seeds must be whole numbers separated by commas; you wrote 1, x."),
        ("loss.huber_delta", "0.2", 'loss.huber_delta = 0.2 has no effect without loss.kind = "huber".'),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_is_kept(draft: Draft, key: str, typed: str, said: str) -> None:
    wrong = with_setting(draft, key, typed)
    found = problems(wrong)
    assert list(found) == ([key] if key != "targets.unet" else [""])
    assert said in next(iter(found.values()))
    assert all(isinstance(each, Message) and each.named for each in found.values())
    one = find_field(key, "lora")
    assert one is not None and one.show(values(all_layers(wrong), "lora")[key]) == typed
    with pytest.raises(VelaturaError):
        plan(wrong)


def test_few_steps_leave_room_for_the_warm_up(draft: Draft) -> None:
    assert values(chosen_layers(draft), "lora")["train.warmup"] == 10
    assert plan(with_setting(draft, "train.steps", "5")).train.warmup == 0


def test_an_unsafe_name_is_no_problem_of_the_settings(draft: Draft) -> None:
    assert problems(draft.with_(name="../Häuser?")) == {}
    assert plan(draft.with_(name="../Häuser?")).name == "Häuser"


def test_exported_settings_come_back_the_same(draft: Draft) -> None:
    made = with_setting(choose(choose(draft, "preset", "faithful"), "method", "loha"), "method.rank", "5")
    made = with_setting(with_setting(made, "sample.seeds", "1, 2"), "data.flip", "on")
    made = made.with_(trigger="dusk", prompts=("a fox", "an owl"), name="Dusk")
    table = as_table(plan(made))
    back = from_table(draft, table)
    assert plan(back) == plan(made) and (back.name, back.trigger, back.prompts) == ("Dusk", "dusk", ("a fox", "an owl"))
    assert plan(from_table(made, table)) == plan(made)


def test_settings_of_the_pictures_stay_when_others_are_read(draft: Draft) -> None:
    made = with_folder_setting(with_setting(draft, "data.wildcards", "on"), "10_ink", "weight", "2")
    made = with_setting(with_setting(made, "train.steps", "77"), "data.flip", "off")
    published = recommendation_of("black-forest-labs/FLUX.1-dev")
    assert published is not None
    used = plan(from_table(made, published.settings))
    assert used.data.wildcards and used.data.sets["10_ink"].weight == 2.0 and used.method.rank == 16
    assert used.train.steps != 77 and used.data.flip, "those of the preset"
    named = from_table(made, {**published.settings, "data": {"wildcards": False, "sets": {"ink": {"weight": 3.0}}}})
    assert not plan(named).data.wildcards and list(plan(named).data.sets) == ["ink"]


def test_settings_that_are_none_are_refused(draft: Draft) -> None:
    with pytest.raises(VelaturaError, match=r"no setting train\.speed; allowed are"):
        from_table(draft, {"train": {"speed": 3}})
    with pytest.raises(VelaturaError, match="no method 'nice'"):
        from_table(draft, {"method": {"name": "nice"}})
    with pytest.raises(VelaturaError, match="this file has schema_version = 99, from a newer Velatura"):
        from_table(draft, {"schema_version": 99})
    old = plan(from_table(draft, {"schema_version": 1, "method": {"name": "t-lora"}}))
    new = plan(from_table(draft, {"method": {"name": "t-lora"}}))
    assert [(one.method.start_std, one.method.decay_towards) for one in (old, new)] == [
        ("1/sqrt(rank)", "zero"),
        ("1/rank", "start"),
    ]
    partial = from_table(draft, {"train": {"steps": 77}})
    assert plan(partial).train.steps == 77 and partial.choices.preset == "balanced"


def test_settings_are_found_by_the_names_that_they_have_elsewhere(draft: Draft) -> None:
    sheet = str(settings_fold(choose(draft, "method", "lora"), is_open=True))
    found_by = dict(re.findall(r'data-key="([\w.]+)" data-search="([^"]*)"', sheet))
    for name, key in {
        "network dim": "method.rank", "max train steps": "train.steps", "lr warmup steps": "train.warmup",
        "vram": "train.memory", "dora wd": "method.dora", "output name": "name", "keep tokens": "data.keep_tags",
    }.items():  # fmt: skip
        assert name in found_by[key]


def test_settings_with_a_place_of_their_own_say_where_it_is() -> None:
    places = {one.key: str(one.set_elsewhere) for one in list_fields("lora") if one.set_elsewhere}
    assert places["method.name"] == places["base.model"] == "Chosen above."
    assert places["name"] == "Set in step 3." and places["prior.folder"] == "Set on the command line, with --set."
    assert len(places) == 11 and not find_field("method.rank", "lora").set_elsewhere


def test_the_settings_of_a_folder_are_a_table_by_its_name(draft: Draft) -> None:
    typed = {"weight": "2", "flip": "off", "resolutions": "64, 96", "crop": "random", "keep_tags": "900"}
    for name, text in typed.items():
        draft = with_folder_setting(draft, "10_a.b", name, text)
    chosen = {"weight": 2.0, "flip": False, "resolutions": [64, 96], "crop": "random", "keep_tags": 900}
    assert changed_settings(draft.choices) == {"data.sets": {"10_a.b": chosen}} == {"data.sets": folder_settings(draft)}
    assert list(problems(draft)) == ["data.sets.10_a.b.keep_tags"]
    draft = with_folder_setting(draft, "10_a.b", "keep_tags", " ")
    data = plan(draft).data.of_folder("10_a.b")
    assert (data.flip, data.crop, data.resolution, data.more_resolutions) == (False, "random", 64, (96,))
    unreadable = with_setting(draft, "data.sets", "not [toml")
    assert folder_settings(unreadable) is None and with_folder_setting(unreadable, "ink", "weight", "3") is unreadable
    assert with_folder_setting(draft, "ink", "no setting", "3") is draft
    for name in typed:
        draft = with_folder_setting(draft, "10_a.b", name, "")
    assert changed_settings(draft.choices) == {} and set(list_folder_fields()) == set(ImageSet.model_fields)


def test_an_epoch_shows_each_picture_as_often_as_a_training_does(draft: Draft) -> None:
    names = ("10_ink/a.png", "10_ink/b.png", "loose.png", "wash/c.png")
    pictures = tuple(Picture(id=str(number), name=name, caption="", size=(64, 64)) for number, name in enumerate(names))
    draft = draft.with_(pictures=pictures)

    def images(now: Draft) -> tuple[int, int]:
        epoch = epoch_of(now, values(all_layers(now), "lora"))
        return epoch.images, epoch.steps

    assert images(draft) == (2 * 10 + 2, 6)
    draft = with_folder_setting(draft, "wash", "repeats", "3")
    assert images(draft) == (20 + 1 + 3, 6)
    draft = with_setting(draft, "data.more_resolutions", "96")
    assert images(with_folder_setting(draft, "10_ink", "resolutions", "64")) == (20 + 2 + 6, 7)
    invalid = with_setting(draft, "train.batch_size", "many")
    assert images(invalid) == (48, 12) and "wrong" in settings_fold(invalid, is_open=True)
    assert settings_fold(with_setting(draft, "train.steps", "many"), is_open=True)
