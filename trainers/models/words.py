"""Added words: each stands in prompts for rows that the text encoders read in place of embeddings.

Text is split at such words and only the rest goes to the tokenizer, which stays unchanged. A word's token ids are
negative, which no vocabulary has; the embedding table is unchanged, since the rows are inserted into its output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainers.errors import VelaturaError

CHUNK = 75
"""Caption tokens in one pass of a CLIP text encoder: its 77 positions less start and end."""
Rows = Sequence[Tensor]
"""A word's rows `(n, d)` for each text encoder."""
Group = tuple[int, ...]
"""Tokens that stay together: one of the vocabulary, or all those of a word."""


class Words:
    """The words that a base has besides its vocabulary, while something holds them there."""

    def __init__(self) -> None:
        self._rows: dict[str, Rows] = {}

    @property
    def sizes(self) -> dict[str, int]:
        """How many tokens each word has."""
        return {word: len(rows[0]) for word, rows in self._rows.items()}

    def put(self, word: str, rows: Rows) -> None:
        """Let a word stand for its rows; VelaturaError if it, in large or small letters, stands for others."""
        if word.casefold() in map(str.casefold, self._rows):
            raise VelaturaError(f"two embeddings have the same word {word!r}; use only one of them")
        self._rows[word] = rows

    def remove(self, word: str) -> None:
        """Let a word be text again."""
        del self._rows[word]

    @contextmanager
    def spliced(self, encoder: Any, index: int, ids: Tensor) -> Iterator[Tensor]:
        """Let the text encoder with this index read the rows where `ids (n, 77)` has words' tokens, for a while.

        Yields the ids that it is to be called with: 0 there, so that no end of text is mistaken. Without such tokens
        nothing is touched.
        """
        own = ids < 0
        if not own.any():
            yield ids.to(encoder.device)
            return
        rows = torch.cat([each[index] for each in self._rows.values()])  # (all words' tokens, d)
        place, own = (-1 - ids).clamp(min=0).to(rows.device), own[..., None].to(rows.device)

        def splice(table: nn.Module, args: tuple[Tensor, ...], embeddings: Tensor) -> Tensor:
            return torch.where(own, rows[place].to(embeddings.dtype), embeddings)

        handle = encoder.get_input_embeddings().register_forward_hook(splice)
        try:
            yield ids.clamp(min=0).to(encoder.device)
        finally:
            handle.remove()


def contains_word(text: str, word: str) -> bool:
    """Whether a word stands in a text, in large or small letters, and not as a part of a longer word."""
    return _pattern([word]).search(text) is not None


def token_groups(tokenizer: Any, text: str, sizes: Mapping[str, int]) -> list[Group]:
    """The tokens of a text of any length without start and end; `sizes` has words and how many tokens each has.

    The tokens of words are −1, −2 …, word after word in the order of `sizes`.
    """
    if not sizes:
        return [(token,) for token in known_tokens(tokenizer, text)]
    firsts, groups, last = _first_tokens(sizes), list[Group](), 0
    for found in _pattern(sizes).finditer(text):
        groups += [(token,) for token in known_tokens(tokenizer, text[last : found.start()])]
        word = list(sizes)[int(str(found.lastgroup).removeprefix("word"))]
        groups.append(tuple(range(firsts[word], firsts[word] - sizes[word], -1)))
        last = found.end()
    return groups + [(token,) for token in known_tokens(tokenizer, text[last:])]


def _first_tokens(sizes: Mapping[str, int]) -> dict[str, int]:
    firsts, next_one = {}, -1
    for word, size in sizes.items():
        firsts[word] = next_one
        next_one -= size
    return firsts


def known_tokens(tokenizer: Any, text: str) -> list[int]:
    """The vocabulary's tokens of a text of any length, without start and end."""
    return tokenizer(text, add_special_tokens=False, padding=False, truncation=False, verbose=False).input_ids


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    """What finds words in a text, the longest first; a word that ends in a letter is not found within a longer one."""
    numbered = sorted(enumerate(words), key=lambda item: -len(item[1]))
    return re.compile("|".join(f"(?P<word{number}>{_alone(word)})" for number, word in numbered), re.IGNORECASE)


def _alone(word: str) -> str:
    before, after = (r"(?<!\w)" if word[0].isalnum() else ""), (r"(?!\w)" if word[-1].isalnum() else "")
    return f"{before}{re.escape(word)}{after}"
