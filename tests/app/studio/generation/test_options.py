"""Every option of a generation passes through all that sets, stores and uses it; `Options` is the only list of them."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from app.studio.base_models import Bases
from app.studio.generation import compatibility
from app.studio.generation.compatibility import check_compatibility, resolve_files
from app.studio.generation.form import GenerateForm
from app.studio.generation.generate import generate
from app.studio.generation.options import FOLDED, OPTIONS, Option, Options
from app.studio.generation.record import Record
from app.studio.generation.request import GenerateRequest, make_request
from app.ui.api_schemas import request_of
from app.ui.document.templates import render
from app.ui.playground import text as words
from app.ui.playground.events import FormSubmitted
from app.ui.playground.form_view import FormState, read_form
from tests.app.command import call
from trainers.config.sections import Base
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.sampling import sample

SPECIAL: dict[str, Any] = {"size": (32, 64), "compose": "ties:0.3", "strengths": (0.5, 1.5), "steps": 2}
STYLES = {"a": 1.0, "b": 0.5}
API = [name for name, option in OPTIONS.items() if option.api]
COMMAND_LINE = [name for name, option in OPTIONS.items() if option.command_line]


def other_value(option: Option) -> Any:
    """A value other than the default."""
    if option.name in SPECIAL:
        return SPECIAL[option.name]
    match option.kind:
        case "switch":
            return not option.default
        case "name":
            return next(choice for choice in option.choices if choice != option.default)
        case "whole" | "number":
            least, most = option.allowed
            return least + (most - least) * 0.25 if option.kind == "number" else int(least) + 3
    return f"other {option.name}"


def request_with(name: str) -> GenerateRequest:
    styles = [{"style": style, "strength": strength} for style, strength in STYLES.items()]
    request = make_request(prompts=("a fox",), styles=styles, **{name: other_value(OPTIONS[name])})
    assert value_in(request, name) == other_value(OPTIONS[name]) != OPTIONS[name].default
    return request


def value_in(request: GenerateRequest, name: str) -> Any:
    """The value of an option, also of one that is read as axes."""
    return request.axes[0].values if name == "strengths" and request.axes else getattr(request, name)


@pytest.mark.parametrize("name", API)
def test_it_returns_to_the_form_and_is_read_from_it(name: str) -> None:
    request = request_with(name)
    form = GenerateForm.of(request)
    again, problems = form.parse()
    assert (value_in(again, name), again.axes, problems) == (value_in(request, name), request.axes, {})
    assert GenerateForm.model_validate_json(form.model_dump_json()) == form
    typed = form.model_dump(exclude={"styles", "notice", "count"})
    styles = [{"id": style, "strength": strength} for style, strength in form.styles]
    event = FormSubmitted.model_validate_json(
        json.dumps(typed | {"count": 1, "count_of_pictures": form.count, "styles": styles})
    )
    assert event.form() == form


def test_the_form_has_a_field_for_each_that_is_folded() -> None:
    form = GenerateForm.of(request_with("negative"))
    request, _ = form.parse()
    bases = Bases(anywhere=True)
    found = check_compatibility(request, {}, bases)
    it = read_form(FormState(form, (), (), found.base, found, {}, 1))
    page = render("playground/more_fields.html", it=it, text={"MORE": ""})
    assert [option.name for option in FOLDED if f'name="{option.name}"' not in page] == []
    assert all(option.label in page for option in FOLDED)


@pytest.mark.parametrize("name", API)
def test_programs_set_it(name: str) -> None:
    request = request_with(name)
    assert request_of("a fox", STYLES, {name: value_in(request, name)}) == request


@pytest.mark.parametrize("name", COMMAND_LINE)
def test_the_command_line_sets_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[GenerateRequest] = []

    def resolve(request: GenerateRequest, at_once: Any = resolve_files) -> GenerateRequest:
        requests.append(request)
        resolved: GenerateRequest = at_once(request)
        return resolved

    monkeypatch.setattr(compatibility, "resolve_files", resolve)
    option, value = OPTIONS[name], other_value(OPTIONS[name])
    words = [f"--{name}"] if option.kind == "switch" else [f"--{name}", option.write(value)]
    styles = [word for style in STYLES for word in ("--style", tmp_path / style)]
    call("generate", "--prompt", "a fox", *styles, *words, "--out", tmp_path / "fox.png")
    assert [value_in(request, name) for request in requests] == [value]


@pytest.mark.parametrize("name", OPTIONS)
def test_the_record_keeps_it(name: str) -> None:
    record = Record(request=request_with(name), whose="anna", made=0)
    assert Record.model_validate_json(record.model_dump_json()).request == record.request


def test_it_is_drawn_with_and_the_picture_says_so(
    tiny_bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[sample.SamplingParams] = []

    def draw(model: Any, params: sample.SamplingParams, *others: Any, at_once: Any = sample.draw) -> Any:
        used.append(params)
        return at_once(model, params, *others)

    monkeypatch.setattr(sample, "draw", draw)
    acting = [option for option in OPTIONS.values() if option.sampled or option.recorded]
    values = {option.name: other_value(option) for option in acting} | {"base": str(tiny_bases["sd1"])}
    request = resolve_files(make_request(prompts=("a fox",), **values))
    (picture,) = generate(request, tmp_path / "fox.png").pictures
    sampled = {option.name: values[option.name] for option in acting if option.sampled}
    assert {name: getattr(used[0], name) for name in sampled} == sampled
    assert used[0].seeds == (values["seed"],)
    with Image.open(picture) as image:
        metadata = json.loads(image.info["velatura"])
    expected = values | {"size": [32, 64], "base": tiny_bases["sd1"].name}
    recorded = {option.name: expected[option.name] for option in acting if option.recorded}
    assert {name: metadata.get(name) for name in recorded} == recorded


@pytest.fixture(scope="module")
def model(tiny_bases: dict[str, Path]) -> Model:
    return load_model(Base(model=str(tiny_bases["sd1"])), torch.float32, torch.device("cpu"))


@pytest.mark.parametrize("name", [option.name for option in OPTIONS.values() if option.sampled])
def test_it_changes_the_picture_both_alone_and_in_a_batch(name: str, model: Model) -> None:
    plain = sample.SamplingParams(("a fox", "rain"), steps=3, size=(32, 32), guidance=3.0, sampler="euler")
    changed = replace(plain, **{name: other_value(OPTIONS[name])})
    before, alone, batch = (
        [np.asarray(picture, dtype=int) for picture in sample.draw(model, params)]
        for params in (plain, changed, replace(changed, batch=2))
    )
    assert not np.array_equal(before, alone), f"{name} does nothing in trainers/sampling"
    assert np.abs(np.subtract(batch, alone)).max() <= 1, f"{name} lets pictures of a batch depend on one another"


def test_the_page_says_how_a_picture_is_drawn() -> None:
    values = {option.name: other_value(option) for option in OPTIONS.values() if option.recorded}
    elsewhere = {"negative", "base"}
    assert words.settings(values).keys() == values.keys() - elsewhere
    assert list(words.settings(values).values())[:2] == ["Seed 3", "2 steps"]


def test_every_option_is_described() -> None:
    lacking = [name for name, option in OPTIONS.items() if not option.meaning.endswith(".")]
    assert not lacking, f"without a docstring below the field in {Options.__name__}: {', '.join(lacking)}"
    for lacks, options in {
        "folded without a control": [option for option in FOLDED if not option.control],
        "a number without a noun or a range": [
            option
            for option in OPTIONS.values()
            if option.range and not (option.noun and option.allowed[0] < option.allowed[1])
        ],
        "a line without a hint": [
            option for option in FOLDED if option.control == "line" and not (option.hint or option.choices)
        ],
        "without a placeholder for the command line's help": [
            option
            for option in OPTIONS.values()
            if option.command_line and option.kind != "switch" and not option.metavar
        ],
    }.items():
        assert not options, f"{lacks}: {', '.join(option.name for option in options)}"


def test_sampling_has_the_same_defaults() -> None:
    defaults = {entry.name: entry.default for entry in fields(sample.SamplingParams)}
    options = {name: option.default for name, option in OPTIONS.items() if option.sampled and not option.may_be_empty}
    assert options and {name: defaults.get(name) for name in options} == options
