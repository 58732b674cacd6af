"""Requests, as pages, programs and commands make them, with a sentence for what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FieldErrors
from app.studio.generation.cells import cells_of
from app.studio.generation.compatibility import resolve_files
from app.studio.generation.options import FIELDS, Series
from app.studio.generation.request import GenerateRequest, StyleRef, make_request, read_request
from app.ui.api_schemas import request_of
from tests.app.command import call
from tests.tiny_flow import tiny_flow_folder
from trainers.config.limits import SAMPLERS, SEED, SIDE, STRENGTH
from trainers.errors import VelaturaError

FOX: dict[str, Any] = {"prompts": ("a fox",)}
TWO = [{"style": "a"}, {"style": "b"}]


def test_values_are_read_as_people_write_them() -> None:
    written = {"prompts": (" a\nfox ",), "seed": "5", "guidance": "7,5", "size": "512 x 768", "steps": "30.0"}
    request = make_request(**written, styles=[{"style": "a", "strength": "−0,85"}])
    assert request == GenerateRequest(
        prompts=("a fox",),
        styles=(StyleRef(style="a", strength=-0.85),),
        seed=5,
        guidance=7.5,
        size=(512, 768),
        steps=30,
    )
    for square in ("640", 640, [640, 640]):
        assert make_request(**FOX, size=square).size == (640, 640)
    assert GenerateRequest.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("prompts", (" \n",), "Enter a prompt."),
        ("prompts", ("x" * 1001,), "Prompt can have at most 1,000 characters; this one has 1,001."),
        ("negative", "x" * 1001, "The negative prompt can have at most 1,000 characters; this one has 1,001."),
        ("steps", "0", "Steps must be a whole number from 1 to 1000; you wrote “0”."),
        ("steps", "2.5", "Steps must be a whole number from 1 to 1000; you wrote “2.5”."),
        ("steps", True, "Steps must be a whole number from 1 to 1000; you wrote “True”."),
        ("guidance", "nan", "CFG must be a number from 1 to 50; you wrote “nan”."),
        ("seed", str(2**63), f"Seed must be a whole number from 0 to {2**63 - 1:,}; you wrote “{2**63}”."),
        ("size", "large", "Write a size like 512 × 512; you wrote “large”."),
        ("size", "-64x64", "Write a size like 512 × 512; you wrote “-64x64”."),
        ("size", [1, 2, 3], "Write a size like 512 × 512; you wrote “[1, 2, 3]”."),
        ("size", "4x9000", "Width and height must be 8 to 4,096 pixels; you wrote 4 × 9000."),
        ("sampler", "magic", "There is no sampler “magic”; available are " + ", ".join(SAMPLERS) + "."),
        ("each", 1, "each must be true or false, not 1."),
        ("each", True, "Each draws one picture per style; select at least one style."),
        ("base", 5, "base cannot be 5."),
        ("styles", 5, "style-0 cannot be 5."),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(field: str, value: Any, sentence: str) -> None:
    request, problems = read_request(FOX | {field: value})
    assert list(problems.values()) == [sentence]
    default = (FIELDS | GenerateRequest.model_fields)[field].default
    assert getattr(request, field) == default, "all else holds"
    with pytest.raises(FieldErrors) as refused:
        make_request(**FOX | {field: value})
    assert str(refused.value) == sentence


def test_each_wrong_field_is_said_while_the_others_hold() -> None:
    styles = [{"style": "a", "strength": "3,5"}, {"style": "b", "strength": "much"}]
    request, problems = read_request(FOX | {"steps": "x", "size": "y", "seed": "7", "styles": styles})
    assert set(problems) == {"style-1", "steps", "size"}
    assert problems["style-1"] == "Strength must be a number from -100 to 100; you wrote “much”."
    assert (request.prompt, request.seed, request.steps, request.size) == ("a fox", 7, None, None)
    assert [(style.style, style.strength) for style in request.styles] == [("a", 3.5), ("b", 1.0)]


@given(
    st.dictionaries(
        st.sampled_from((*GenerateRequest.model_fields, *Series.model_fields, "other")),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers() | st.text()),
    )
)
def test_whatever_is_given_a_request_comes_of_it(values: dict[str, Any]) -> None:
    request, problems = read_request(values)
    assert all(sentence.endswith(".") for sentence in problems.values())
    assert SEED[0] <= request.seed <= SEED[1] and (request.steps is None or 1 <= request.steps <= 1000)
    assert request.sampler in (None, *SAMPLERS)
    assert request.guidance is None or 1 <= request.guidance <= 50
    assert request.size is None or all(SIDE[0] <= side <= SIDE[1] for side in request.size)
    assert all(STRENGTH[0] <= style.strength <= STRENGTH[1] for style in request.styles)


@pytest.mark.parametrize(
    ("styles", "options", "sentence"),
    [
        ({"a": 1}, {"compose": "ties"}, "Ties needs at least two styles; one is given"),
        ({"a": 1}, {"compose": "k-lora"}, "K-lora needs two styles, the content first, then the style; one is"),
        ({"a": 1, "b": 1}, {"compose": "mean"}, "There is no way 'mean' to combine styles"),
        ({"a": 1, "b": 1}, {"compose": "svd", "each": True}, "compose has no effect"),
        ({}, {"each": True}, "Each draws one picture per style; select at least one style"),
        ({"a": 1}, {"each": 1}, "each must be true or false, not 1"),
        ({}, {"compare": 1}, "compare must be true or false, not 1"),
        ({}, {"stepz": 1}, "there is no option 'stepz'; available are negative, seed"),
        ({}, {"prompts": ["a"]}, "there is no option 'prompts'"),
        ({}, {"batch": 64}, "there is no option 'batch'"),
        ({}, {"steps": 0}, "from 1 to 1000; you wrote “0”"),
    ],
)
def test_what_a_program_may_not_ask_for(styles: dict[str, Any], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(VelaturaError, match=sentence):
        request_of("a fox", styles, options)


def test_a_program_says_the_same_in_its_own_way() -> None:
    options = {"seed": 3, "steps": 1, "size": "32x32", "compare": False, "guidance": "", "each": True}
    assert request_of("a fox", {"a": 0.5}, options) == GenerateRequest(
        prompts=("a fox",), styles=(StyleRef(style="a", strength=0.5),), seed=3, steps=1, size=(32, 32), compare=False
    ), "one style has no picture of its own beside another"
    axes = request_of("a fox", {"a": 1, "b": 1}, {"axes": {"style": [1, 2]}})
    assert request_of("a fox", {"a": 1, "b": 1}, {"each": True}).compared and not axes.compared


@pytest.mark.parametrize(
    ("field", "value"),
    [("size", "large"), ("size", "4x9000"), ("sampler", "magic"), ("compose", "mean"), ("negative", "x" * 1001)],
)
def test_page_program_and_command_line_refuse_alike(field: str, value: str, tmp_path: Path) -> None:
    _, problems = read_request(FOX | {"styles": TWO, field: value})
    with pytest.raises(FieldErrors) as program:
        request_of("a fox", {"a": 1, "b": 1}, {field: value})
    styles = ("--style", tmp_path / "a", "--style", tmp_path / "b")
    command = call("generate", "--prompt", "a fox", *styles, f"--{field}", value, "--out", tmp_path / "fox.png")
    assert program.value.problems == problems == {field: str(program.value)}
    assert (command.code, command.err) == (1, f"error: {problems[field]}\n")


def test_an_axis_changes_along_a_row_and_another_from_row_to_row() -> None:
    styles = [{"style": name, "strength": 0.5} for name in "abc"]
    one, two = (make_request(**FOX, styles=styles[:count], strengths=(0, 1)) for count in (1, 2))
    assert [cell.strengths for cell in cells_of(one)] == [(0,), (1,)] and not one.compared
    assert [cell.strengths for cell in cells_of(two)] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert cells_of(make_request(**FOX, styles=styles, strengths=(0, 1)))[1].strengths == (1, 0, 0.5)
    axes = {"guidance": "2; 3,5", "words": ["fox", "owl", "fox"]}
    cells = cells_of(make_request(**FOX, axes=axes))
    assert [(cell.request.guidance, cell.request.prompts) for cell in cells] == [
        (2.0, ("a fox",)),
        (3.5, ("a fox",)),
        (2.0, ("a owl",)),
        (3.5, ("a owl",)),
    ]
    style_by_strength = make_request(**FOX, styles=styles, axes={"style": [3, 1], "strength": [0, 2]})
    assert [(cell.alone, cell.strengths) for cell in cells_of(style_by_strength)][2:] == [
        (2, (0.5, 0.5, 2)),
        (0, (2, 0.5, 0.5)),
    ]
    assert len(cells_of(make_request(**FOX))) == 1 and cells_of(make_request(**FOX, count=3))[2].request.seed == 3


@pytest.mark.parametrize(
    ("kind", "written", "values"),
    [
        ("seed", "1-4, 9", (1, 2, 3, 4, 9)),
        ("seed", str(2**63 - 1), (2**63 - 1,)),
        ("steps", "10-30 (+10)", (10, 20, 30)),
        ("strength", "-1 - 1 [5]", (-1, -0.5, 0, 0.5, 1)),
        ("strength", "0,4; 1,6", (0.4, 1.6)),
        ("guidance", "3, 3.0, 7", (3, 7)),
        ("sampler", "ddim, dpm++ 2m karras", ("ddim", "dpm++ 2m karras")),
        ("words", "fox, red-brown fox 1-3", ("fox", "red-brown fox 1-3")),
    ],
)
def test_values_of_an_axis_are_read_as_people_write_them(kind: str, written: str, values: tuple[Any, ...]) -> None:
    request = make_request(**FOX, styles=[{"style": "a"}], axes={kind: written})
    assert request.axes[0].values == values
    assert GenerateRequest.model_validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize(
    ("axes", "field", "sentence"),
    [
        ({"cfg": [1]}, "axis-0", "There is no axis “cfg”; available are strength, second_strength, style, step,"),
        ({"guidance": "x"}, "axis-0", "CFG must be a number from 1 to 50; you wrote “x”."),
        ({"guidance": [True]}, "axis-0", "CFG must be a number from 1 to 50; you wrote “True”."),
        ({"steps": "8, 9.5"}, "axis-0", "Steps must be a whole number from 1 to 1000; you wrote “9.5”."),
        ({"seed": 5}, "axis-0", "seed cannot be 5; write a list of values."),
        ({"seed": "1-13"}, "axis-0", "At most 12 values can be compared along an axis; this has 13."),
        ({"seed": "1-99999999999999"}, "axis-0", "At most 12 values can be compared along an axis; this has 9999"),
        ({"sampler": "ddim, magic"}, "axis-0", "There is no sampler “magic”; available are ddim"),
        ({"words": "cat, owl"}, "axis-0", "The prompt does not contain “cat”"),
        (
            {"seed": "1-12", "guidance": "1-12"},
            "axis-1",
            "At most 100 pictures can be compared at once; these would be",
        ),
        ([{"kind": "seed"}, {"kind": "seed"}], "axis-1", "Both axes compare the same."),
        ({"second_strength": []}, "axis-0", "This needs two styles; select another one."),
        ({"style": [3], "seed": []}, "axis-0", "This needs two styles"),
        ({"seed": [], "steps": [], "guidance": []}, "axes", "Pictures are compared along a row and from row to row"),
        (7, "axes", "axes cannot be 7."),
    ],
)
def test_what_is_wrong_with_an_axis_is_said(axes: Any, field: str, sentence: str) -> None:
    request, problems = read_request({**FOX, "styles": [{"style": "a"}], "axes": axes})
    assert list(problems) == [field] and problems[field].startswith(sentence) and request.axes == ()


def test_a_comparison_stands_alone() -> None:
    for other in ({"count": 2}, {"strengths": (1, 2)}, {"each": True}):
        _, problems = read_request({**FOX, "styles": TWO, "axes": {"seed": []}, **other})
        assert problems == {"axes": "Axes say what the pictures differ in; leave count, strengths and each out."}


@pytest.mark.parametrize(
    ("options", "field", "sentence"),
    [
        ({"strengths": (1, 2)}, "strengths", "Several strengths need a style; select one."),
        ({"count": 17}, "count", "Pictures must be a whole number from 1 to 16; you wrote “17”."),
        ({"count": 2, "seed": SEED[1]}, "seed", "There are no 2 seeds from here on; choose a smaller one."),
        ({"strengths": ("x",), "styles": [{"style": "a"}]}, "strengths", "Strength must be a number from"),
        ({"strengths": (1,) * 10, "styles": [{"style": "a"}]}, "strengths", "At most 9 strengths can be compared"),
        (
            {"strengths": (1, 2), "count": 2, "styles": [{"style": "a"}]},
            "count",
            "Several pictures differ in one thing",
        ),
    ],
)
def test_what_is_wrong_with_a_series_is_said(options: dict[str, Any], field: str, sentence: str) -> None:
    _, problems = read_request({**FOX, **options})
    assert list(problems) == [field] and problems[field].startswith(sentence)


@pytest.mark.parametrize(
    ("older", "axes", "compared"),
    [
        ({"count": 3, "seed": 5}, [("seed", (5, 6, 7))], False),
        ({"count": 16}, [("seed", tuple(range(1, 17)))], False),
        ({"each": True}, [("style", (1, 2))], True),
        ({"strengths": [0, 1.5]}, [("strength", (0, 1.5)), ("second_strength", (0, 1.5))], False),
        ({"axes": [{"kind": "style", "values": [1, 2]}]}, [("style", (1, 2))], False),
        ({}, [], True),
    ],
)
def test_what_older_versions_stored_is_read_as_axes(older: dict[str, Any], axes: list[Any], compared: bool) -> None:
    stored = {"prompts": ["a fox"], "styles": TWO, "count": 1, "each": False, "strengths": [], "axes": [], **older}
    request = GenerateRequest.model_validate(stored)
    assert [(axis.kind, axis.values) for axis in request.axes] == axes and request.compared == compared
    assert not request.model_dump().keys() & Series.model_fields
    again = GenerateRequest.model_validate_json(request.model_dump_json())
    assert again == request and again.compared == compared


def test_only_samplers_that_suit_the_base_are_offered_and_accepted(tmp_path: Path) -> None:
    base = str(tiny_flow_folder("sd3", tmp_path / "base", t5=False))
    asked = make_request(prompts=("a fox",), base=base, axes={"sampler": ""})
    found = resolve_files(asked)
    assert (found.sampler, found.steps, found.guidance) == ("euler", 28, 4.5)
    assert found.axes[0].values == ("euler", "unipc")
    refused: tuple[dict[str, Any], ...] = ({"sampler": "ddim"}, {"axes": {"sampler": "heun, ddim"}})
    for wrong in refused:
        with pytest.raises(FieldErrors, match=r"“ddim” does not suit this base model. Choose euler, heun, dpm\+\+"):
            resolve_files(make_request(prompts=("a fox",), base=base, **wrong))
