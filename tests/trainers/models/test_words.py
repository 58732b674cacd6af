"""Words of a base's own: where they are found, the places they take, and that nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import FAMILIES
from trainers.errors import VelaturaError
from trainers.models.model import Model
from trainers.models.text import count_positions
from trainers.models.words import CHUNK, contains_word, known_tokens, token_groups

PIECES = ["a red fox", "snow,", "the Moon", "!", "12 cats", "Été", "fox"]
SIZES = {"<dusk>": 3, "dusk-style": 2, "<dusk>er": 1}


@contextmanager
def speaking(model: Model, word: str, *tokens: str) -> Iterator[None]:
    """The base with a word whose rows are those of known words of one token each, in every encoder."""
    ids = [known_tokens(model.tokenizers[0], token)[0] for token in tokens]
    model.words.put(word, [encoder.get_input_embeddings().weight.detach()[ids] for encoder in model.text_encoders])
    try:
        yield
    finally:
        model.words.remove(word)


def same(left, right) -> bool:
    pooled = left.pooled is right.pooled is None or torch.equal(left.pooled, right.pooled)
    return torch.equal(left.context, right.context) and pooled


@given(st.lists(st.sampled_from([*PIECES, *SIZES, "<DUSK>", "Dusk-Style"]), max_size=12))
@settings(max_examples=80)
def test_a_text_is_cut_where_words_stand(starter, pieces):
    tokenizer = starter.tokenizers[0]
    groups = token_groups(tokenizer, " ".join(pieces), SIZES)
    expected: list[tuple[int, ...]] = []
    rest: list[str] = []
    tokens = {"<dusk>": (-1, -2, -3), "dusk-style": (-4, -5), "<dusk>er": (-6,)}
    for piece in [*pieces, None]:
        if piece is None or piece.casefold() in tokens:
            expected += [(token,) for token in known_tokens(tokenizer, " ".join(rest))]
            rest = []
            expected += [tokens[piece.casefold()]] if piece else []
        else:
            rest.append(piece)
    assert groups == expected


@given(st.lists(st.integers(1, CHUNK), max_size=9))
@settings(max_examples=80)
def test_no_word_is_cut_in_two(sizes):
    groups, next_one = [], -1
    for size in sizes:
        groups.append(tuple(range(next_one, next_one - size, -1)))
        next_one -= size
    taken, room = 0, CHUNK
    for size in sizes:
        if size > room:
            taken, room = taken + room, CHUNK
        taken, room = taken + size, room - size
    assert count_positions(groups) == taken >= sum(sizes)


def test_words_are_found_as_words_and_in_any_case():
    assert contains_word("a fox, <Dusk>!", "<dusk>") and contains_word("x<dusk>y", "<dusk>")
    assert contains_word("in Dusk.", "dusk") and not contains_word("dusky, induskt", "dusk")
    assert not contains_word("", "<dusk>") and not contains_word("a . b", "a.b") and contains_word("a.b", "a.b")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_word_reads_as_what_its_rows_are(family, tiny_models):
    model = tiny_models[family]
    plain = ["a red fox sun in the snow", "red fox sun red fox sun", "a fox"]
    before = [deepcopy(encoder.state_dict()) for encoder in model.text_encoders]
    expected = model.encode(plain, chunks=2)
    tokenizers = [(len(t), t.get_added_vocab()) for t in model.tokenizers]
    with speaking(model, "<dusk>", "red", "fox", "sun"):
        found = model.encode(["a <dusk> in the snow", "<Dusk><dusk>", "a fox"], chunks=2)
        assert same(found, expected)
        assert model.count_tokens("a <dusk> in <dusk>") == 8
        again = model.encode(plain, chunks=2)
        assert same(again, expected), "a caption without the word"
    assert all(
        torch.equal(encoder.state_dict()[k], t)
        for encoder, old in zip(model.text_encoders, before, strict=True)
        for k, t in old.items()
    )
    assert tokenizers == [(len(t), t.get_added_vocab()) for t in model.tokenizers]
    without = model.encode(["a <dusk> in the snow"], chunks=2)
    assert not torch.equal(without.context[0], expected.context[0]), "it is text again"
    assert all(not encoder.get_input_embeddings()._forward_hooks for encoder in model.text_encoders)


@pytest.mark.parametrize("before", [72, 73, 74, 75])
def test_at_the_border_of_a_chunk_it_begins_the_next(before, tiny_models):
    model = tiny_models["sdxl"]
    with speaking(model, "<dusk>", "red", "fox", "sun"):
        text = "cat " * before + "<dusk> hat"
        found = model.encode([text], chunks=2)
        assert model.count_tokens(text) == (76 if before == 72 else 79)
        cut = model.encode([text])
    first = "cat " * before + ("red fox sun" if before == 72 else "")
    second = "hat" if before == 72 else "red fox sun hat"
    parts = model.encode([first, second])
    assert torch.allclose(found.context[0], parts.context.flatten(0, 1), atol=1e-5)
    assert torch.allclose(found.pooled[0], parts.pooled[0], atol=1e-5)
    assert torch.allclose(cut.context[0], parts.context[0], atol=1e-5)


def test_gradients_reach_the_rows_that_are_read_and_no_others(tiny_models):
    model = tiny_models["sdxl"]
    rows = [torch.randn(2, width, requires_grad=True) for width in (24, 40)]
    others = [torch.randn(3, width, requires_grad=True) for width in (24, 40)]
    model.words.put("<other>", others)
    model.words.put("<dusk>", rows)
    try:
        out = model.encode(["a <dusk> fox", "a fox"])
        (out.context[0].square().sum() + out.pooled.square().sum()).backward()
        with torch.no_grad():
            half = model.encode(["<dusk>"])
    finally:
        model.words.remove("<dusk>")
        model.words.remove("<other>")
    assert all(each.grad.abs().min() > 0 for each in rows)
    assert all(not each.grad.any() for each in others)
    assert not half.context.requires_grad


def test_a_word_stands_for_one_thing(tiny_models):
    model = tiny_models["sd1"]
    with (
        speaking(model, "<dusk>", "red"),
        pytest.raises(VelaturaError, match="two embeddings have the same word '<DUSK>'"),
    ):
        model.words.put("<DUSK>", [torch.ones(1, 24)])
    assert model.words.sizes == {}


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("dusk style, a red fox", "a red fox"),
        ("Dusk Style a red fox", "a red fox"),
        ("a red fox, dusk style", "a red fox"),
        ("a red fox, dusk style, snow", "a red fox, snow"),
        ("dusk style", ""),
        ("dusk styles, a red fox", "dusk styles, a red fox"),
        ("a red fox, snow", "a red fox, snow"),
    ],
)
def test_words_that_are_left_out_are_not_read(text, read, tiny_models):
    model = tiny_models["sd1"]
    assert model.words.as_read(text) == text
    for _ in range(2):  # by two styles with the same trigger word
        model.words.leave_out("dusk style")
    for _ in range(2):
        assert model.words.as_read(text) == read
        assert same(model.encode([text]), model.family.encode(model, [read], 1, 1))
        assert model.count_tokens(text) == len(known_tokens(model.tokenizers[0], read))
        model.words.restore("dusk style")
    assert model.words.as_read(text) == text
