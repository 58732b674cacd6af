"""The rows of a word: what they start from, and the prior on their length."""

from __future__ import annotations

import pytest
import torch

from trainers.adapters.network import Network
from trainers.adapters.tokens import Word, initial_rows, usual_length

TABLE = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0], [2.0, 0.0, 0.0], [0.0, 7.0, 0.0]], dtype=torch.bfloat16)


@pytest.mark.parametrize(
    ("tokens", "n", "rows"),
    [
        ([2], 3, [[2, 0, 0]] * 3),
        ([2, 1], 3, [[2, 0, 0], [0, 0, 1], [2, 0, 0]]),
        ([2, 3, 1], 1, [[2 / 3, 7 / 3, 1 / 3]]),
        ([0, 1, 2], 2, [[3, 4, 0], [1, 0, 0.5]]),
    ],
)
def test_rows_start_as_the_initial_tokens(tokens, n, rows):
    found = initial_rows(TABLE, tokens, n)
    assert found.dtype == torch.float32
    assert torch.allclose(found, torch.tensor(rows, dtype=torch.float32))


def test_the_prior_moves_the_length_and_keeps_the_direction():
    assert usual_length(TABLE) == pytest.approx((5 + 1 + 2 + 7) / 4)
    rows = {"text_encoder": torch.tensor([[3.0, 4.0], [0.0, 0.5]]), "text_encoder_2": torch.tensor([[2.0], [1.0]])}
    word = Word("<dusk>", rows, pull=0.25, usual={"text_encoder": 1.0, "text_encoder_2": 6.0})
    word.after_step()
    assert torch.allclose(word.rows["text_encoder"], torch.tensor([[2.4, 3.2], [0.0, 0.625]]))  # lengths 4 and 0.625
    assert torch.allclose(word.rows["text_encoder_2"], torch.tensor([[3.0], [2.25]]))
    word.requires_grad_(False).after_step()
    assert torch.allclose(word.rows["text_encoder_2"], torch.tensor([[3.0], [2.25]])), "once it stays as it is"
    free = Word("<dusk>", {"text_encoder": torch.ones(1, 2)})
    free.after_step()
    assert torch.equal(free.rows["text_encoder"], torch.ones(1, 2))


def test_a_network_speaks_its_words_until_it_is_removed():
    class Known:
        def __init__(self) -> None:
            self.words: dict[str, object] = {}

        def put(self, word, rows):
            self.words[word] = rows

        def remove(self, word):
            del self.words[word]

    network, known = Network(), Known()
    word = Word("<dusk>", {"text_encoder": torch.ones(2, 3), "text_encoder_2": torch.ones(2, 5)})
    network.add_word(word, known)
    assert network.is_idle()
    with torch.no_grad():
        word.rows["text_encoder_2"][0] += 1e-6
    assert not network.is_idle()
    assert [tuple(rows.shape) for rows in known.words["<dusk>"]] == [(2, 3), (2, 5)]
    assert all(row is own for row, own in zip(known.words["<dusk>"], network.parameters(), strict=True))
    assert set(network.state_dict()) == {"spoken.0.text_encoder", "spoken.0.text_encoder_2"}
    network.remove()
    network.remove()
    assert known.words == {} and network.words == (word,)
