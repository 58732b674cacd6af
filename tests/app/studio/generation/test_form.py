"""What stands in the Playground's fields, and the request in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.studio.generation.form import LOST, RESTORED, FormStore, GenerateForm, begin_with, keep_strengths
from app.studio.generation.request import RIBBON, GenerateRequest, StyleRef
from app.studio.paths import Paths
from app.ui.playground import text as words
from trainers.composition.ways import WAYS


def test_what_was_typed_becomes_a_request_and_back() -> None:
    form = GenerateForm(
        prompt=" a\nfox ", styles=(("a", "0,85"),), seed="5", guidance="7,5", size="512x768", steps="30"
    )
    request, problems = form.parse()
    assert problems == {} and request == GenerateRequest(
        prompts=("a fox",),
        styles=(StyleRef(style="a", strength=0.85),),
        seed=5,
        guidance=7.5,
        size=(512, 768),
        steps=30,
    )
    assert GenerateForm.of(request).parse() == (request, {})
    assert GenerateForm(prompt="a").parse() == (GenerateRequest(prompts=("a",)), {}), "empty fields are the base's"


def test_a_series_differs_in_one_thing() -> None:
    form = GenerateForm(
        prompt="a", styles=(("a", "0.8"), ("b", "1")), count="4", each=True, ribbon=True, compose="ties"
    )
    ribbon, problems = form.parse()
    assert (ribbon.strengths, ribbon.count, ribbon.each, ribbon.compose, problems) == (RIBBON, 1, False, "sum", {})
    each, _ = form.with_(ribbon=False).parse()
    assert (each.strengths, each.count, each.each) == ((), 1, True)
    seeds, _ = form.with_(ribbon=False, each=False).parse()
    assert (seeds.seeds, seeds.compared, seeds.compose) == ((1, 2, 3, 4), False, "ties")
    assert form.with_(styles=()).parse()[0].seeds == (1, 2, 3, 4), "without a style there are no strengths"
    assert GenerateForm.of(ribbon).ribbon and GenerateForm.of(seeds).count == "4"
    kept = keep_strengths(form, {"a": 1.2})
    assert kept.styles == (("a", "1.2"), ("b", "1")) and not kept.ribbon


def test_each_wrong_field_is_said_while_the_others_hold() -> None:
    form = GenerateForm(styles=(("a", "300"), ("b", "1")), steps="0", seed="9", guidance="x", compose="mean")
    request, problems = form.parse()
    assert set(problems) == {"prompt", "style-0", "steps", "guidance", "compose"}
    assert (request.seed, request.steps, request.compose, len(request.styles)) == (9, None, "sum", 2)


def test_what_is_typed_of_several_styles() -> None:
    several = GenerateForm(prompt="a", styles=(("a", "1"), ("b", "1")), compose="k-lora")
    for form, compose, each in (
        (several, "k-lora", False),
        (several.with_(each=True), "sum", True),
        (several.with_(styles=several.styles[:1], each=True), "sum", False),
        (several.with_(styles=()), "sum", False),
    ):
        request, problems = form.parse()
        assert (problems, request.compose, request.each) == ({}, compose, each)
        assert GenerateForm.of(request).parse() == (request, {})
    assert set(words.WAYS) == set(WAYS), "the page offers every way there is"


def test_the_fields_are_kept_for_whoever_typed_in_them(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.make()
    store, form = FormStore(paths), GenerateForm(prompt="my own words", seed="9")
    assert store.read("anna") is None
    store.keep("anna", form)
    assert FormStore(paths).read("anna") == form and store.read("ben") is None
    store.keep("anna", form.with_(seed="10"))
    (file,) = (path for path in (paths.root / "desks").glob("*.json") if "." not in path.stem)
    file.write_bytes(b"\0")
    assert FormStore(paths).read("anna") == form.with_(notice=RESTORED)
    for path in file.parent.glob("*.json"):
        path.write_bytes(b"\0")
    assert FormStore(paths).read("anna") == GenerateForm(notice=LOST)
    assert set(words.NOTICES) == {RESTORED, LOST}


def test_a_prompt_that_was_typed_and_not_drawn_is_kept() -> None:
    before = GenerateForm(prompt="my own words", seed="9", base="b", size="64")
    assert begin_with(None, "a lighthouse") == GenerateForm(prompt="a lighthouse")
    assert begin_with(None, "a lighthouse", before) == before.with_(base="", size="")
    assert begin_with(None, "a lighthouse", before, {"my own words"}).prompt == "a lighthouse"


@pytest.mark.parametrize("notice", ["", "The file with these fields was damaged; it is kept."])
def test_fields_of_an_older_version_are_read(notice: str) -> None:
    older = '{"prompt":"a","styles":[["01fa","0.8"]],"seed":"3","compose":"sum","each":false,"notice":"%s","x":1}'
    form = GenerateForm.model_validate_json(older % notice)
    assert form == GenerateForm(prompt="a", styles=(("01fa", "0.8"),), seed="3", notice=notice)
