"""Settings in and out: TOML, layers, assignments, and errors that name the key and what is allowed."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.config.build import build_config, dump_config, read_config
from trainers.config.tables import overlay, parse_assignments
from trainers.errors import VelaturaError

NAMED = {"name": "dusk"}


def test_the_written_config_is_complete_and_reads_back_equal():
    config = build_config(
        NAMED,
        {
            "method": {"name": "lokr", "factor": 4, "full_matrix": False},
            "targets": {"blocks": {"mid_block.*": {"rank": 2}}},
        },
    )
    table = tomllib.loads(dump_config(config))
    assert build_config(table) == config
    assert set(table["train"]) == set(type(config.train).model_fields)
    assert table["method"]["factor"] == 4


@given(st.integers(1, 10**6), st.floats(1e-9, 10), st.text(max_size=40).filter(lambda s: s.isprintable()))
def test_values_survive_toml(steps, rate, text):
    config = build_config(NAMED, {"train": {"steps": steps, "learning_rate": rate}, "data": {"trigger": text}})
    assert build_config(tomllib.loads(dump_config(config))) == config


def test_another_method_replaces_its_section_and_the_same_one_merges():
    below = {"method": {"name": "lora", "rank": 4, "dora": True}, "train": {"steps": 5}}
    assert overlay(below, {"method": {"name": "loha"}})["method"] == {"name": "loha"}
    assert overlay(below, {"method": {"rank": 8}})["method"] == {"name": "lora", "rank": 8, "dora": True}
    assert overlay(below, {"train": {"warmup": 1}})["train"] == {"steps": 5, "warmup": 1}


def test_assignments():
    table = parse_assignments(
        [
            "train.steps=7",
            "data.trigger=by dusk",
            'targets.unet=["*.to_k"]',
            'targets.blocks."mid_block.*".rank=4',
            "data.flip=true",
        ]
    )
    assert table == {
        "train": {"steps": 7},
        "data": {"trigger": "by dusk", "flip": True},
        "targets": {"unet": ["*.to_k"], "blocks": {"mid_block.*": {"rank": 4}}},
    }


PRODIGY = {"optimizer": "prodigy", "learning_rate": 1.0}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"train": {"stepz": 3}}, ["train.stepz", "steps", "batch_size"]),
        ({"train": {"steps": 0}}, ["train.steps = 0", "greater than or equal to 1"]),
        ({"train": {"steps": "many"}}, ["train.steps = 'many'", "integer"]),
        ({"train": {"optimizer": "sgd"}}, ["train.optimizer = 'sgd'", "adamw", "lion"]),
        ({"method": {"name": "zork"}}, ["'zork'", "lora", "loha", "lokr"]),
        ({"method": {"rnk": 3}}, ["method.rnk", "rank", "alpha"]),
        ({"method": {"name": "lokr", "factor": 1}}, ["method.factor", "-1 or at least 2"]),
        ({"method": {"name": "lokr", "tucker": True}}, ["method", "full_matrix = false"]),
        ({"targets": {"unet": "everything"}}, ["targets.unet", "attn-mlp", "full"]),
        ({"targets": {"unet": "none"}}, ["targets.unet", "nothing would be trained"]),
        ({"targets": {"blocks": {"a.b": {"rk": 1}}}}, ["rk", "learning_rate"]),
        ({"train": {"steps": 10, "warmup": 10}}, ["train.warmup", "train.steps"]),
        ({"train": {"optimizer": "prodigy"}}, ["prodigy", "learning_rate"]),
        (
            {"train": {**PRODIGY, "text_encoder_learning_rate": 0.5}, "targets": {"text_encoder": "attn"}},
            ["train.text_encoder_learning_rate = 0.5", "of its own", "remove it"],
        ),
        ({"train": PRODIGY, "method": {"name": "sora"}}, ["method.gate_ratio = 10", "of its own"]),
        ({"train": PRODIGY, "targets": {"blocks": {"mid_block.*": {"learning_rate": 0.5}}}}, ['"mid_block.*" = 0.5']),
        ({"loss": {"huber_delta": 0.3}}, ["loss.huber_delta", 'kind = "huber"']),
        ({"data": {"keep_tags": 2}}, ["data.keep_tags", "shuffle_tags"]),
        ({"train": {"text_encoder_stop": 0.5}}, ["train.text_encoder_stop", "targets.text_encoder"]),
        ({"sample": {"seeds": []}}, ["sample.seeds", "at least one"]),
        ({"seed": -1}, ["seed = -1"]),
        ({"nope": 1}, ["nope", "train", "method"]),
        ({"name": "../up"}, ["../up", "letters"]),
        ({"name": "a/b"}, ["a/b", "letters"]),
        ({"name": "con"}, ["Windows"]),
        ({"schema_version": "two"}, ["schema_version", "4"]),
    ],
)
def test_errors_name_the_key_and_what_is_allowed(wrong, words):
    with pytest.raises(VelaturaError) as caught:
        build_config(NAMED, wrong)
    sentence = str(caught.value)
    assert all(word in sentence for word in words), sentence
    assert "\n" not in sentence


def test_a_missing_name_says_how_to_give_it():
    with pytest.raises(VelaturaError, match="--name"):
        build_config({})


def test_files_that_are_no_config(tmp_path):
    with pytest.raises(VelaturaError, match="there is no config file"):
        read_config(tmp_path / "none.toml")
    with pytest.raises(VelaturaError, match="is a folder"):
        read_config(tmp_path)
    (tmp_path / "bad.toml").write_text("= nothing")
    with pytest.raises(VelaturaError, match="not valid TOML"):
        read_config(tmp_path / "bad.toml")


def test_images_are_taken_relative_to_the_file(tmp_path):
    (tmp_path / "c.toml").write_text('name = "a"\n[data]\nimages = "pictures"\n')
    assert read_config(tmp_path / "c.toml").data.images == str(tmp_path / "pictures")


@pytest.mark.parametrize("line", ["train.steps", "=3", ""])
def test_lines_that_are_no_assignment(line):
    with pytest.raises(VelaturaError, match="is not a setting"):
        parse_assignments([line])


def test_what_trains_the_weights_themselves_needs_them_in_full():
    full = {"name": "x", "method": {"name": "full"}}
    build_config(full)
    build_config({"name": "x", "base": {"storage": "nf4"}})
    with pytest.raises(VelaturaError, match="only approximates them"):
        build_config({**full, "base": {"storage": "nf4"}})


@pytest.mark.parametrize("name", ['["lora"]', "{a = 1}", "5"])
def test_a_method_whose_name_is_no_text_is_refused(tmp_path, name):
    (tmp_path / "config.toml").write_text(f'name = "fox"\nmethod = {{name = {name}}}\n')
    with pytest.raises(VelaturaError, match="there is no method"):
        read_config(tmp_path / "config.toml")
