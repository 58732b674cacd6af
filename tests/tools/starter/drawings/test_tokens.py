"""The tokenizer: a shortened CLIP that splits words as CLIP does."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from tools.starter.drawings.captions import describe
from tools.starter.drawings.sets import read_concepts, read_icon_sets
from tools.starter.drawings.tokens import whole_words
from trainers.models.files.source import starter_folder

START, END = 8_190, 8_191


@pytest.fixture(scope="module")
def clip() -> Any:
    source = files("trainers.models") / "configs" / "vocabulary"
    return CLIPTokenizer(str(source / "vocab.json"), str(source / "merges.txt"))


def test_whole_words_are_one_token_here_and_in_clip(tokenizer, clip):
    words = whole_words(tokenizer)
    assert len(words) == len(set(words)) > 4_000 and words == sorted(words) and min(map(len, words)) == 3
    assert {"fox", "house", "picture"} <= set(words) and "xylophone" not in words
    found, expected = (each(words, add_special_tokens=False).input_ids for each in (tokenizer, clip))
    assert found == expected and {len(numbers) for numbers in found} == {1}


@settings(max_examples=100)
@given(text=st.text("aeiourstnlmcdpghbk ,-", min_size=1, max_size=30))
def test_a_text_is_split_as_clip_splits_it_where_its_tokens_are_kept(text, tokenizer, clip):
    found, expected = tokenizer.tokenize(text), clip.tokenize(text)
    assert "".join(found) == "".join(expected)
    if max(clip.convert_tokens_to_ids(expected), default=0) < START:
        assert found == expected


def test_every_caption_fits_without_an_unknown_token(tokenizer):
    concepts = read_concepts()
    words = [*concepts.taught, *concepts.held_out, *(word for words in concepts.synonyms.values() for word in words)]
    styles = [f"{icon_set.style} style" for icon_set in read_icon_sets()]
    captions = [describe(word, styles[index % len(styles)], "dark blue") for index, word in enumerate(words)]
    numbers = tokenizer(captions).input_ids
    assert {(caption[0], caption[-1]) for caption in numbers} == {(START, END)} and max(map(len, numbers)) <= 30
    assert max(number for caption in numbers for number in caption[1:-1]) < START


def test_it_is_the_tokenizer_that_the_starter_ships(tokenizer):
    shipped = CLIPTokenizer.from_pretrained(str(starter_folder() / "tokenizer"))
    assert shipped.get_vocab() == tokenizer.get_vocab() and len(tokenizer) == 8_192
    assert shipped.special_tokens_map == tokenizer.special_tokens_map
    assert shipped.model_max_length == tokenizer.model_max_length == 77
