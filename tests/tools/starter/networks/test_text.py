"""The text encoder: its phrases, its tokens, and that it learns what it is taught."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.tools.starter.small import SCHEDULE, read_log, write_recipe
from tools.starter.drawings import sets
from tools.starter.drawings.captions import article
from tools.starter.drawings.sets import read_concepts
from tools.starter.networks.text import WIDTH, list_phrases, tokenize, train_text_encoder
from trainers.randomness import generator

STYLES = ("soft shading", "flat shapes", "glossy", "sticker", "cartoon", "blob", "black line")


@pytest.fixture
def few_phrases(monkeypatch, tmp_path) -> None:
    """Let the concepts be few, and the words of the vocabulary as well."""
    monkeypatch.setattr(sets, "FOLDER", write_recipe(tmp_path / "recipe", tmp_path / "drawings"))
    words = ("anchor", "bread", "cloud", "door", "fox")
    monkeypatch.setattr("tools.starter.networks.text.whole_words", lambda _: [*words])


def test_captions_become_77_numbers_filled_and_cut_with_the_end(tokenizer):
    found = tokenize(tokenizer, ["", "fox", "fox " * 100])
    assert found.shape == (3, 77) and found.dtype == torch.int64
    fox = tokenizer.convert_tokens_to_ids("fox</w>")
    assert found[0].tolist() == [8190] + [8191] * 76
    assert found[1].tolist() == [8190, fox] + [8191] * 75
    assert found[2].tolist() == [8190] + [fox] * 75 + [8191]


def test_every_concept_is_taught_in_every_style_held_out_ones_too(drawings, tokenizer):
    phrases = list_phrases(drawings, tokenizer)
    assert phrases == sorted(set(phrases)) and "" not in phrases
    held = set(phrases)
    concepts = read_concepts()
    words = [*concepts.taught, *concepts.held_out, *(word for words in concepts.synonyms.values() for word in words)]
    assert {f"{word}, {style}" for word in words for style in STYLES} | set(words) <= held
    assert {f"{opening}{article(word)}{word}" for opening in ("", "a picture of ") for word in words} <= held
    assert {f"one {word}" for word in words} <= held and {"an ant", "a fox", "grapes"} <= held


@pytest.mark.thorough
@pytest.mark.slow
def test_training_brings_phrases_near_their_targets(drawings, tokenizer, few_phrases, tmp_path, every_step_is_logged):
    phrases = list_phrases(drawings, tokenizer)
    with_style, without = torch.randn(2, WIDTH, generator=generator("targets"))
    targets = torch.stack([with_style if "," in phrase else without for phrase in phrases])
    folder = tmp_path / "text"
    folder.mkdir()
    torch.save(targets, folder / "targets.pt")
    schedule = replace(SCHEDULE, steps=20, batch=16, measure_every=5)
    model = train_text_encoder(folder, drawings, tokenizer, torch.device("cpu"), schedule)
    lines = read_log(folder)
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[0] == pytest.approx(1, abs=0.2)  # a random direction is at right angles to any other
    assert losses[-1] < 0.1
    measured = [line["unseen phrases' cosine"] for line in lines if "loss" not in line]
    assert len(measured) == 4 and measured[-1] > 0.9 > measured[0] + 0.1
    # What it learned is what it says of the end and of the padding, for phrases it did not see: every twentieth.
    unseen = range(0, len(phrases), 20)[::4]
    ids = tokenize(tokenizer, [phrases[index] for index in unseen])
    with torch.no_grad():
        hidden = model(ids).last_hidden_state
    nearness = torch.nn.functional.cosine_similarity(hidden, targets[unseen][:, None], dim=-1)[ids == 8191].mean()
    assert float(nearness) == pytest.approx(measured[-1], abs=0.02) and not model.training
