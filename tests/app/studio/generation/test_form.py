"""What stands in the Playground's fields, and the request in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.studio.generation.cells import cells_of
from app.studio.generation.form import LOST, RESTORED, FormStore, GenerateForm, begin_with, is_kept, keep_cell
from app.studio.generation.request import GenerateRequest, StyleRef, make_request
from app.studio.paths import Paths
from app.ui.playground import text as words
from trainers.composition.ways import WAYS

WORDS_BY_STYLE = {"words": ("fox", "owl"), "style": (1, 2)}


def test_what_was_typed_becomes_a_request_and_back() -> None:
    form = GenerateForm(prompt=" a\nfox ", styles=(("a", "0,85"),))
    form = form.with_(seed="5", guidance="7,5", size="512x768", steps="30")
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


def test_a_series_differs_in_one_thing_and_a_comparison_in_two() -> None:
    form = GenerateForm(prompt="a", styles=(("a", "0.8"), ("b", "1")), count="4", each=True, compose="ties")
    compared = form.with_(across="guidance", across_values="2-8 (+3)", down="second_strength")
    request, problems = compared.parse()
    assert [(axis.kind, axis.values) for axis in request.axes] == [("guidance", (2, 5, 8)), ("second_strength", ())]
    assert (request.count, request.each, request.compose, problems) == (1, False, "ties", {})
    alone, _ = compared.with_(styles=form.styles[:1]).parse()
    assert [axis.kind for axis in alone.axes] == ["guidance"], "there is no second style"
    assert compared.with_(across="").parse()[0].each, "what is from row to row needs something along a row"
    each, _ = form.parse()
    assert ([axis.kind for axis in each.axes], each.count, each.each) == (["style"], 1, True)
    seeds, _ = form.with_(each=False).parse()
    assert (seeds.count, seeds.compared, seeds.compose) == (4, False, "ties")
    back = GenerateForm.of(request)
    assert (back.across, back.across_values, back.down) == ("guidance", "2, 5, 8", "second_strength")
    assert back.parse() == (request, {}) and GenerateForm.of(seeds).count == "4"
    _, problems = compared.with_(across_values="much", down_values="1;1,5").parse()
    assert problems == {"axis-0": "CFG must be a number from 1 to 50; you wrote “much”."}


def test_what_a_compared_picture_was_drawn_with_is_kept() -> None:
    form = GenerateForm(prompt="a fox", styles=(("a", "0.8"), ("b", "1")), across="strength", down="seed")
    request, _ = form.with_(across_values="0,0.5", down_values="7-9").parse()
    cells = cells_of(request)
    assert [(cell.strengths[0], cell.request.seed) for cell in cells[:3]] == [(0, 7), (0.5, 7), (0, 8)]
    kept = keep_cell(form, request, cells[3])
    assert kept.styles == (("a", "0.5"), ("b", "1")) and kept.options["seed"] == "8" and kept.axes() == []
    assert [is_kept(kept, request, cell) for cell in cells] == [place == 3 for place in range(6)]
    assert not is_kept(form, request, cells[3]), "it is still compared"
    words, _ = form.with_(across="words", across_values="fox, owl", down="style").parse()
    alone = keep_cell(form, words, cells_of(make_request(**words.model_dump() | {"axes": WORDS_BY_STYLE}))[3])
    assert (alone.prompt, alone.styles) == ("a owl", (("b", "1"),))


def test_each_wrong_field_is_said_while_the_others_hold() -> None:
    form = GenerateForm(styles=(("a", "300"), ("b", "1")), compose="mean")
    form = form.with_(steps="0", seed="9", guidance="x")
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
    store, form = FormStore(paths), GenerateForm(prompt="my own words").with_(seed="9")
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
    before = GenerateForm(prompt="my own words").with_(seed="9", base="b", size="64")
    assert begin_with(None, "a lighthouse") == GenerateForm(prompt="a lighthouse")
    assert begin_with(None, "a lighthouse", before) == before.with_(base="", size="")
    assert begin_with(None, "a lighthouse", before, {"my own words"}).prompt == "a lighthouse"


def test_a_form_with_the_switch_of_an_older_version_compares_strengths() -> None:
    one = '{"prompt":"a","styles":[["a","1"]],"ribbon":true}'
    two = one.replace("]]", '],["b","1"]]')
    kinds = [[axis["kind"] for axis in GenerateForm.model_validate_json(form).axes()] for form in (one, two)]
    assert kinds == [["strength"], ["strength", "second_strength"]]
    older = make_request(prompts=("a",), styles=[{"style": "a"}], strengths=(0, 1))
    assert GenerateForm.of(older).across_values == "0, 1"


@pytest.mark.parametrize("notice", ["", "The file with these fields was damaged; it is kept."])
def test_fields_of_an_older_version_are_read(notice: str) -> None:
    older = '{"prompt":"a","styles":[["01fa","0.8"]],"seed":"3","compose":"sum","each":false,"notice":"%s","x":1}'
    form = GenerateForm.model_validate_json(older % notice)
    assert form == GenerateForm(prompt="a", styles=(("01fa", "0.8"),), notice=notice).with_(seed="3")
