"""The techniques beside a method in a draft: on, off, alone, and back from a file."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from app.studio.base_models import Base
from app.studio.dataset.drafts import Draft
from app.studio.runs.clone import with_settings_of
from app.studio.settings.plan import (
    CARE,
    all_layers,
    changed_settings,
    choose,
    from_table,
    method_of,
    plan,
    problems,
    refusal,
    techniques_on,
    train_word_alone,
    values,
    with_choices,
    with_setting,
    with_technique,
)
from app.studio.settings.techniques import BY_NAME, WORD, first_value, fits
from app.ui.document.templates import render
from app.ui.train import text as style_words
from app.ui.train.start_view import summary
from app.ui.train.style_view import Card, read_method, read_methods
from app.ui.train.techniques_view import read_techniques
from trainers.adapters.methods import METHODS
from trainers.config.build import as_table
from trainers.config.config import Config
from trainers.config.presets import find_preset
from trainers.config.techniques import TECHNIQUES

ANYWHERE = ("textual-inversion", "dreambooth", "qlora")
STARTER, REAL = Base("starter", "Velatura starter", "Stable Diffusion 1"), "owner/name"


@pytest.fixture
def draft() -> Draft:
    return Draft(id="x", public="y")


def at(config: Config, key: str) -> object:
    """One setting of a config."""
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda one: one.name)
def test_its_preset_has_it_on_as_it_says(technique) -> None:
    settings = find_preset(technique.name).settings
    assert technique.is_on(settings) and not technique.is_on({})
    assert technique.takes_words or first_value(technique, REAL) == technique.value
    assert technique.takes_words == (technique.name in ("textual-inversion", "dreambooth"))


def test_beside_which_method_and_on_which_base_it_makes_sense() -> None:
    def shown(method: str, base: Base = STARTER) -> set[str]:
        return {one.name for one in TECHNIQUES if fits(one, method, base)}

    assert shown("lora") == {"pissa", "lora-fa", "b-lora", *ANYWHERE}
    assert shown("oft") == {"boft", "b-lora", *ANYWHERE} and shown("loha") == {"b-lora", *ANYWHERE}
    assert shown("krona-b") == {"krona-b-res", *ANYWHERE} and shown("vpt") == shown("") == set(ANYWHERE)
    assert "b-lora" not in shown("lora", Base("x", "x", "Stable Diffusion 1"))
    assert "b-lora" in shown("lora", Base("x", "x", "Stable Diffusion XL"))
    assert "b-lora" in shown("lora", Base("owner/name", "owner/name")), "nobody knows yet what it is"


@pytest.mark.parametrize("base", ["starter", REAL])
@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda one: one.name)
def test_on_and_off_again(draft: Draft, technique, base: str) -> None:
    for method in METHODS:
        if not fits(technique, method, STARTER):
            assert with_technique(choose(draft, "method", method), technique, False).choices.settings == {}
            continue
        plain = with_choices(choose(draft, "method", method), base=base)
        on = with_technique(plain, technique, True)
        assert techniques_on(*all_layers(on)) == [technique] and len(on.choices.settings) == 1
        assert list(changed_settings(on.choices)) == [technique.key] and method_of(on.choices) == method
        assert with_technique(on, technique, False) == plain
        said = refusal(on, technique)
        assert (technique.name, method) == ("qlora", "full") if said else problems(on) == {}
        assert refusal(plain, technique) == ""
        if not said:
            assert at(plan(on), technique.key) == first_value(technique, base)


def test_what_comes_with_it(draft: Draft) -> None:
    real = with_choices(draft, base=REAL)
    quick = choose(real, "preset", "quick")
    pissa = plan(with_technique(quick, BY_NAME["pissa"], True))
    assert (pissa.train.learning_rate, pissa.method.rank, pissa.train.steps) == (5e-5, 8, 400), "the care's own rank"
    assert plan(with_technique(draft, BY_NAME["pissa"], True)).train.learning_rate == 1e-4, "the starter's own"
    b_lora = plan(with_technique(real, BY_NAME["b-lora"], True))
    assert (b_lora.targets.unet, b_lora.method.rank, b_lora.train.learning_rate) == ("b-lora", 64, 5e-5)
    loha = choose(real, "method", "loha")
    beside = plan(with_technique(loha, BY_NAME["b-lora"], True))
    assert beside == plan(loha).model_copy(update={"targets": beside.targets}), "the rank is LoRA's"
    dreambooth = plan(with_technique(loha, BY_NAME["dreambooth"], True)).prior
    assert (dreambooth.prompt, dreambooth.images) == ("an illustration", 200)
    assert plan(with_technique(loha, BY_NAME["qlora"], True)).train.gradient_checkpointing
    low = choose(draft, "preset", "low-memory")
    assert plan(with_technique(low, BY_NAME["qlora"], True)).train.gradient_checkpointing, "what saves memory stays on"
    butterfly = plan(with_technique(choose(real, "method", "oft"), BY_NAME["boft"], True)).method
    assert butterfly == plan(from_table(real, find_preset("boft").settings)).method


def test_it_stays_with_its_method(draft: Draft) -> None:
    pissa = with_technique(draft, BY_NAME["pissa"], True)
    loha = choose(pissa, "method", "loha")
    assert plan(loha) == plan(choose(draft, "method", "loha"))
    assert plan(choose(loha, "method", "lora")) == plan(pissa)
    hand = with_setting(pissa, "train.learning_rate", "0.02")
    assert plan(hand).train.learning_rate == 0.02, "what is set by hand lies above"


def test_what_has_no_effect_without_it_goes_with_it(draft: Draft) -> None:
    word = with_setting(with_setting(with_technique(draft, WORD, True), "tokens.vectors", "7"), "tokens.initial", "ink")
    word = with_setting(word, "train.steps", "50")
    assert plan(word).tokens.vectors == 7
    off = with_technique(word, WORD, False)
    assert off.choices.settings == {"train.steps": 50} and problems(off) == {}
    four_bits = with_setting(with_technique(draft, BY_NAME["qlora"], True), "base.double_quantisation", "off")
    assert with_technique(four_bits, BY_NAME["qlora"], False) == draft
    mistaken = with_setting(with_technique(draft, BY_NAME["pissa"], True), "method.rank", "0")
    assert refusal(mistaken, BY_NAME["pissa"]) == "", "that is not about it"
    assert list(problems(with_technique(mistaken, BY_NAME["pissa"], False))) == ["method.rank"], "it was wrong before"


def test_a_word_that_is_none(draft: Draft) -> None:
    wrong = with_setting(with_technique(draft, WORD, True), WORD.key, "two words")
    assert "not a single word" in refusal(wrong, WORD) and list(problems(wrong)) == [WORD.key]


@pytest.mark.parametrize("aim", ["style", "subject"])
def test_the_word_alone(draft: Draft, aim: str) -> None:
    for care, method, base in itertools.product(CARE, ("lora", "krona-b"), ("starter", REAL)):
        made = with_choices(choose(choose(draft, "preset", care), "method", method), base=base)
        made = with_setting(choose(made, "aim", aim), "method.rank", "9")
        alone = train_word_alone(with_technique(made, WORD, True), True)
        config, own = plan(alone), find_preset(WORD.name).settings_for(base)
        assert (config.targets.unet, config.targets.text_encoder) == ("none", "none") and problems(alone) == {}
        assert config.method == METHODS["lora"]() and method_of(alone.choices) == ""
        assert config.train.learning_rate == own["train"]["learning_rate"]
        assert (config.tokens.vectors, config.data.caption_dropout) == (own["tokens"]["vectors"], 0)
        assert config.data.flip == (aim == "style")
        assert config.train.steps == find_preset(care).settings_for(base)["train"]["steps"]
        beside = train_word_alone(alone, False)
        assert plan(beside) == plan(with_technique(made, WORD, True)) and method_of(beside.choices) == method
        assert plan(with_technique(alone, WORD, False)) == plan(made)
        assert plan(choose(alone, "method", "loha")).method.name == "loha", "a method is for layers"
        assert values(all_layers(alone), "")["targets.unet"] == "none"
        assert with_setting(alone, "method.rank", "3") == alone


def test_alone_leaves_out_what_only_goes_beside_layers(draft: Draft) -> None:
    rate = with_setting(with_technique(draft, WORD, True), "tokens.learning_rate", "0.01")
    assert problems(train_word_alone(rate, True)) == {}
    assert train_word_alone(draft, False) == draft
    text = with_setting(
        with_setting(with_technique(draft, WORD, True), "targets.text_encoder", "attn"), "targets.unet", "none"
    )
    assert method_of(text.choices) == "lora" and plan(text).targets.text_encoder == "attn"
    assert plan(train_word_alone(text, True)).targets.text_encoder == "none"


@pytest.mark.parametrize("aim", ["style", "subject"])
def test_a_clone_and_a_file_bring_it_back(draft: Draft, aim: str) -> None:
    made = choose(choose(choose(draft, "preset", "quick"), "aim", aim), "method", "lora")
    word = with_technique(made, WORD, True)
    drafts = [with_technique(made, one, True) for one in TECHNIQUES if fits(one, "lora", STARTER)]
    drafts += [with_technique(choose(made, "method", "oft"), BY_NAME["boft"], True), train_word_alone(word, True)]
    drafts += [with_setting(with_technique(word, BY_NAME["qlora"], True), "tokens.vectors", "5")]
    drafts += [with_setting(with_setting(word, "targets.text_encoder", "attn"), "targets.unet", "none")]
    drafts += [with_setting(with_technique(made, BY_NAME["b-lora"], True), "method.rank", "16")]
    for one in drafts:
        config = plan(one)
        clone = with_settings_of(draft, config)
        assert plan(clone) == config and changed_settings(clone.choices) == changed_settings(one.choices)
        assert techniques_on(*all_layers(clone)) == techniques_on(*all_layers(one)) != []
        assert plan(from_table(choose(draft, "preset", "faithful"), as_table(config))) == config


def beside_fold(draft: Draft, base: Base) -> str:
    """The fold as a page shows it."""
    return render("train/techniques.html", advanced={"techniques": read_techniques(draft, base)})


def method_cards(draft: Draft) -> list[Card]:
    return [card for pick in read_methods(draft) for card in pick.cards]


def test_the_fold_says_what_is_on_and_what_does_not_go_together(draft: Draft) -> None:
    plain = beside_fold(draft, STARTER)
    assert plain.count('class="extra"') == 6 and " open" not in plain and "checked" not in plain
    wrong = with_setting(
        with_technique(choose(draft, "method", "full"), BY_NAME["qlora"], True), "prior.prompt", '<b>"a"</b>'
    )
    fold = beside_fold(wrong, STARTER)
    assert " open" in fold and "2 on" in fold and fold.count(" checked") == 2
    assert fold.count('role="alert"') == 1 and 'id="beside-qlora-problem"' in fold and "only approximates them" in fold
    assert "&lt;b&gt;" in fold and "<b>&quot;" not in fold and 'value="&lt;b&gt;' in fold
    alone = train_word_alone(with_technique(draft, WORD, True), True)
    assert "b-lora" not in beside_fold(alone, STARTER) and beside_fold(alone, STARTER).count(" checked") == 2
    elsewhere = beside_fold(with_technique(draft, BY_NAME["b-lora"], True), Base("x", "x", "Stable Diffusion 1"))
    assert 'id="beside-b-lora"' in elsewhere, "what is on can be with_technique off"


def test_every_technique_has_words_and_every_method_a_group(draft: Draft) -> None:
    assert set(style_words.TECHNIQUES) == set(BY_NAME)
    assert all(len(style_words.TECHNIQUES[one.name]) == (4 if one.takes_words else 2) for one in TECHNIQUES)
    assert {kind.about.group for kind in METHODS.values()} == {*style_words.METHOD_GROUPS} - {""}
    for name in METHODS:
        cards = method_cards(choose(draft, "method", name))
        assert {card.value for card in cards} == METHODS.keys() and len(cards) == len(METHODS)
        assert [card.value for card in cards if card.chosen] == [name]
        shown = read_method(choose(draft, "method", name), Base("x", "x", "Stable Diffusion 1"))
        assert shown and shown.title == METHODS[name].about.title and shown.strip and shown.opens
        assert read_method(choose(draft, "method", name), STARTER) == replace(shown, opens=""), "only Velatura opens it"
    alone = train_word_alone(with_technique(draft, WORD, True), True)
    assert not any(card.chosen for card in method_cards(alone)) and read_method(alone, STARTER) is None


def test_the_line_before_the_start_names_them(draft: Draft) -> None:
    word = with_technique(with_technique(draft, BY_NAME["pissa"], True), WORD, True)
    assert "LoRA + PiSSA + A new word (textual inversion)" in summary(word, STARTER)
    assert "No method + A new word" in summary(train_word_alone(word, True), STARTER)
