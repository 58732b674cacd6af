"""How a style was trained is read off its metadata, and nonsense there is passed over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainers.config.sections import Base
from trainers.formats.read import Style
from trainers.formats.training_metadata import BaseSettings, base_settings_of


def style(**metadata: str) -> Style:
    return Style(Path("s.safetensors"), {}, {key.replace("__", "."): value for key, value in metadata.items()})


def test_the_whole_config_counts_before_the_one_number():
    table = {"base": {"model": "owner/m", "clip_skip": 3, "prediction": "v_prediction"}, "data": {"chunks": 2}}
    found = base_settings_of(style(velatura__config=json.dumps(table), ss_clip_skip="1"))
    assert found == BaseSettings(Base(model="owner/m", clip_skip=3, prediction="v_prediction"), 2)


def test_a_style_names_no_files_of_this_computer():
    table = {"base": {"model": "flux.gguf", "parts": ["/etc/passwd"], "guidance": 3.5}, "data": {"chunks": 1}}
    found = base_settings_of(style(velatura__config=json.dumps(table)))
    assert found == BaseSettings(Base(model="flux.gguf", guidance=3.5))


def test_a_style_does_not_decide_how_the_base_is_held():
    held = {"storage": "nf4", "swap_blocks": 200, "offload_encoders": True, "double_quantisation": False}
    table = {"base": {"model": "owner/m", "clip_skip": 2, **held}, "data": {"chunks": 1}}
    found = base_settings_of(style(velatura__config=json.dumps(table)))
    assert found == BaseSettings(Base(model="owner/m", clip_skip=2))
    assert Base.model_validate(held).whole() == Base(swap_blocks=200, offload_encoders=True), "as a run's previews do"


@pytest.mark.parametrize(
    ("metadata", "clip_skip"),
    [
        ({"ss_clip_skip": "2"}, 2),
        ({"ss_clip_skip": "None"}, 1),
        ({"ss_clip_skip": "99"}, 1),
        ({}, 1),
        ({"velatura__config": "[1, 2]", "ss_clip_skip": "2"}, 2),
        ({"velatura__config": '{"base": {"clip_skip": 99}, "data": {"chunks": 1}}'}, 1),
        ({"velatura__config": '{"base": 3, "data": {"chunks": 1}}'}, 1),
        ({"velatura__config": "{not json"}, 1),
        ({"velatura__config": "[" * 60000}, 1),
        ({"velatura__config": "9" * 5000}, 1),
    ],
)
def test_what_is_not_valid_is_passed_over(metadata, clip_skip):
    found = base_settings_of(style(**metadata))
    assert (found.base.clip_skip, found.chunks) == (clip_skip, 1)
