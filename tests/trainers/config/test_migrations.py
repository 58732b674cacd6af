"""Configs of earlier layouts: what they meant is what they mean, and what they were is kept."""

from __future__ import annotations

import copy
import tomllib
from typing import Any

import pytest

from tests.trainers.tiny_runs import equal, quick_settings, state_of, stopping_at
from trainers.config.build import build_config, dump_config, read_config
from trainers.config.layers import gather_config
from trainers.config.migrations import MIGRATIONS, VERSION, migrate
from trainers.config.tables import overlay
from trainers.errors import VelaturaError
from trainers.runs.events import read_events
from trainers.runs.run import Run, write_config
from trainers.training.prepare import prepare
from trainers.training.train import resume, train

OLD = {"schema_version": 1, "name": "dusk"}
FLAT = {"loss": {"min_snr_gamma": 0.0}, "sample": {"every": 0, "prompts": ["a fox"]}, "train": {"fused": False}}
"""With which timesteps weigh the same under every rule, and what is drawn and rounded is the same."""


OVERRIDDEN = {"blocks": {"mid_block.*": {"rank": 2}, "up_blocks.*": {"rank": 0}}}


def kept(**sections: Any) -> dict[str, Any]:
    """What migrating a table of version 1 adds to it."""
    before = {**OLD, **FLAT, **sections}
    after = migrate(copy.deepcopy(before))
    added = {}
    for name, section in after.items():
        if name not in before:
            added[name] = section
        elif isinstance(section, dict):
            assert section.items() >= before[name].items()
            added |= {f"{name}.{key}": value for key, value in section.items() if key not in before[name]}
    return added


def test_every_version_has_its_step_and_the_last_one_is_written():
    assert list(MIGRATIONS) == list(range(1, VERSION))
    assert build_config({"name": "dusk"}).schema_version == VERSION
    assert f"schema_version = {VERSION}\n" in dump_config(build_config({"name": "dusk"}))


@pytest.mark.parametrize(
    ("sections", "added"),
    [
        ({"method": {"name": "lora", "start": "pissa"}}, {"method.decay_towards": "zero"}),
        ({"method": {"name": "lora", "dora": True}}, {"method.decay_towards": "zero"}),
        ({"method": {"start": "pissa"}, "train": {"weight_decay": 0.0}}, {"train.fused": False}),
        ({"method": {"name": "lora", "start": "zero", "dora": False}}, {}),
        ({"method": {"name": "loha"}}, {}),
        (
            {"method": {"name": "t-lora"}},
            {"method.decay_towards": "zero", "method.start_std": "1/sqrt(rank)"},
        ),
        ({"method": {"name": "t-lora", "orthogonal": False}}, {}),
        ({"method": {"name": "selora"}}, {"method.start_bound": "sqrt(1/in)"}),
        (
            {"method": {"name": "selora", "budget": 99}, "targets": OVERRIDDEN},
            {"method.start_bound": "sqrt(1/in)", "method.budget_scope": "rank"},
        ),
        ({"method": {"name": "selora"}, "targets": OVERRIDDEN}, {"method.start_bound": "sqrt(1/in)"}),
        ({"method": {"name": "adalora"}, "targets": OVERRIDDEN}, {"method.budget_scope": "rank"}),
        ({"method": {"name": "adalora"}, "targets": {"blocks": {"mid_block.*": {"learning_rate": 0.5}}}}, {}),
        ({"loss": {"kind": "huber"}}, {"loss.weighting": "min-snr"}),
        ({"targets": {"text_encoder": "attn"}}, {}),
        ({"targets": {"text_encoder": "attn"}, "base": {"clip_skip": 2}}, {"targets.unread_layers": True}),
        ({"targets": {"text_encoder": ["*.q_proj"]}, "base": {"model": "a/b"}}, {"targets.unread_layers": True}),
        ({"targets": {"text_encoder": "none"}, "base": {"model": "a/b"}}, {}),
        ({"base": {"storage": "nf4"}}, {"base.scale_code": "linear"}),
        ({"base": {"storage": "nf4", "double_quantisation": False}}, {}),
        ({"base": {"storage": "full", "double_quantisation": True}}, {}),
    ],
)
def test_version_1_keeps_its_rules(sections, added):
    assert kept(**sections) == added
    build_config(migrate({**OLD, **sections}))  # and they go together


@pytest.mark.parametrize(
    ("train", "after"), [({}, {"fused": False}), ({"optimizer": "lion"}, {}), ({"fused": True}, {})]
)
def test_version_3_steps_each_parameter_by_itself(train, after):
    assert migrate({"schema_version": 3, "name": "dusk", "train": train})["train"] == {**train, **after}


def test_what_is_no_section_is_left_for_the_config_to_refuse():
    wrong = {**OLD, **FLAT, "method": "lora", "base": 3, "targets": None}
    assert migrate(wrong) == {**wrong, "schema_version": VERSION}


def test_a_table_without_a_version_means_what_it_means_today(tmp_path):
    table = {"name": "dusk", "method": {"name": "selora"}}
    assert migrate(table) == table
    (tmp_path / "own.toml").write_text('name = "dusk"\n[method]\nname = "selora"\n')
    assert read_config(tmp_path / "own.toml").method.start_bound == "sqrt(6/in)"


def test_a_newer_version_is_refused_in_one_sentence_that_names_the_file(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(f'schema_version = {VERSION + 1}\nname = "dusk"\n')
    for read in (read_config, lambda path: gather_config(path, None, {}, [])):
        with pytest.raises(
            VelaturaError, match=f"config.toml has schema_version = {VERSION + 1}.*Update Velatura"
        ) as e:
            read(path)
        assert "\n" not in str(e.value)


def version_1(folder: Run, config: Any) -> str:
    """A run's config as version 1 wrote it."""
    import tomli_w

    table = tomllib.loads(dump_config(config))
    new = {
        "method": ("decay_towards", "start_std", "start_bound", "budget_scope", "side"),
        "base": ("scale_code",),
        "loss": ("weighting",),
        "targets": ("unread_layers",),
        "train": ("fused",),
    }
    for section, names in new.items():
        table[section] = {key: value for key, value in table[section].items() if key not in names}
    written = tomli_w.dumps({**table, "schema_version": 1, "data": {**table["data"], "images": "dataset"}})
    (folder.folder / "config.toml").write_text(written)
    return written


def test_every_way_in_migrates_and_nothing_is_written_until_something_changes(tmp_path):
    run = Run(tmp_path)
    config = build_config({"name": "dusk", "method": {"name": "t-lora"}})
    before = version_1(run, config)
    for method in (run.config().method, gather_config(tmp_path / "config.toml", None, {}, []).method):
        assert (method.decay_towards, method.start_std) == ("zero", "1/sqrt(rank)")
    assert run.table()["method"]["decay_towards"] == "zero"
    assert (tmp_path / "config.toml").read_text() == before and [p.name for p in tmp_path.iterdir()] == ["config.toml"]

    for _ in range(2):  # a second change keeps the first copy
        write_config(run, run.config())
        assert (tmp_path / "config.v1.toml").read_text() == before
        assert run.config().method.start_std == "1/sqrt(rank)" and run.table()["schema_version"] == VERSION


@pytest.mark.parametrize(
    ("sections", "assignment", "key"),
    [
        ({"method": {"name": "lora", "dora": True}}, "method.dora=false", "method.decay_towards"),
        ({"method": {"name": "t-lora"}}, "method.orthogonal=false", "method.start_std"),
        ({"method": {"name": "selora"}}, "method.name=loha", None),
        ({"base": {"storage": "nf4"}}, "base.storage=full", "base.scale_code"),
        ({"targets": {"text_encoder": "attn"}, "base": {"model": "a/b"}}, "targets.text_encoder=none",
         "targets.unread_layers"),
        ({"loss": {"kind": "huber"}}, "loss.min_snr_gamma=0", "loss.weighting"),
        ({"method": {"name": "t-lora"}}, "method.start_std=1/rank", "method.start_std"),
        ({"method": {"name": "lora"}}, "train.optimizer=lion", "train.fused"),
    ],
)  # fmt: skip
def test_what_is_laid_over_an_old_file_decides_which_of_its_rules_matter(sections, assignment, key, tmp_path):
    """An option may make an old rule idle, which nobody who gives it has heard of."""
    import tomli_w

    (tmp_path / "old.toml").write_text(tomli_w.dumps({**OLD, **sections}))
    made = tomllib.loads(dump_config(gather_config(tmp_path / "old.toml", None, {}, [assignment])))
    if key is not None:
        section, name = key.split(".")
        default = build_config({"name": "dusk", "method": {"name": made["method"]["name"]}}).model_dump(mode="json")
        assert made[section][name] == default[section][name]


def losses(run: Run) -> list[float]:
    """Of each step, the last time that it was done."""
    return list({event["step"]: event["loss"] for event in read_events(run.folder) if event["type"] == "step"}.values())


PISSA = {"method": {"name": "lora", "rank": 2, "start": "pissa"}}
DORA = {"method": {"name": "lora", "rank": 2, "dora": True}}
TLORA = {"method": {"name": "t-lora", "rank": 4}}
SELORA = {"method": {"name": "selora", "rank": 3, "interval": 1, "threshold": 1.0}}


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("sections", "begun"),
    [
        pytest.param(PISSA, True, id="pissa", marks=pytest.mark.thorough),
        pytest.param(DORA, True, id="dora", marks=pytest.mark.thorough),
        pytest.param(TLORA, True, id="t-lora", marks=pytest.mark.thorough),
        pytest.param(TLORA, False, id="t-lora-waiting"),
        pytest.param(SELORA, True, id="selora", marks=pytest.mark.thorough),
        pytest.param(SELORA, False, id="selora-waiting", marks=pytest.mark.thorough),
        pytest.param({"base": {"prediction": "v_prediction", "zero_terminal_snr": "on"}}, True, id="min-snr"),
    ],
)
def test_an_old_run_goes_on_with_its_own_rule(sections, begun, tmp_path, tiny_bases, images):
    """Cut after a step and given back its old config, it ends as one does that had the old rule throughout.

    One that only waited begins with the old start, too.
    """
    table = {**sections, "train": {"steps": 3, "weight_decay": 0.3}, "save": {"every": 1}}
    old = migrate(overlay(OLD, table))
    del old["name"], old["schema_version"]
    whole = train(quick_settings(tiny_bases["sd1"], images, old), tmp_path / "whole")
    today = train(quick_settings(tiny_bases["sd1"], images, table), tmp_path / "today")

    config = quick_settings(tiny_bases["sd1"], images, old)
    cut = Run(tmp_path / "cut" / config.name)
    if begun:
        train(config, tmp_path / "cut", listener=stopping_at(cut, 1))
    else:
        prepare(config, tmp_path / "cut")
    version_1(cut, config)
    resume(cut)
    assert losses(cut) == losses(Run(whole.run)) != losses(Run(today.run))
    states = {name: state_of(Run(result.run), 3) for name, result in (("whole", whole), ("today", today))}
    states["cut"] = state_of(cut, 3)
    assert equal(states["cut"], states["whole"]) and not equal(states["today"], states["whole"])


@pytest.mark.parametrize(
    ("sample", "after"),
    [
        ({}, {"every": 0, "subjects": "captions"}),
        ({"every": 50, "prompts": []}, {"every": 50, "prompts": [], "subjects": "captions"}),
        ({"prompts": ["a fox"]}, {"every": 0, "prompts": ["a fox"]}),
    ],
)
def test_version_2_draws_captions_before_and_after_unless_it_says_otherwise(sample, after):
    old = {"schema_version": 2, "name": "dusk", "sample": sample}
    assert migrate(old)["sample"] == after
    new = build_config({"name": "dusk"}).sample
    assert (new.every, new.subjects) == ("auto", "new")
