"""Added words, for which text encoders read learned rows in place of token embeddings.

Text is split at these words, and only the rest goes to the tokenizer. The token ids of words are negative, unlike those
of vocabularies. The embedding table is unchanged: the rows are inserted into its output.
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
"""Caption tokens in a pass of a CLIP text encoder: its 77 positions minus start and end."""
Rows = Sequence[Tensor]
"""A word's rows `(n, d)` for each text encoder."""
Group = tuple[int, ...]
"""Tokens that stay together: one of the vocabulary, or all of a word."""


class Words:
    """Words added to a base's vocabulary."""

    def __init__(self) -> None:
        self._rows: dict[str, Rows] = {}
        self._unread: list[str] = []  # one entry for each network that leaves it out

    @property
    def sizes(self) -> dict[str, int]:
        """Number of tokens of each word."""
        return {word: len(rows[0]) for word, rows in self._rows.items()}

    def put(self, word: str, rows: Rows) -> None:
        """Add a word with its rows; VelaturaError if the word exists already, in upper or lower case."""
        if word.casefold() in map(str.casefold, self._rows):
            raise VelaturaError("two embeddings have the same word {word!r}; use only one of them", word=word)
        self._rows[word] = rows

    def remove(self, word: str) -> None:
        """Remove a word, which is then ordinary text."""
        del self._rows[word]

    def leave_out(self, words: str) -> None:
        """Leave these words out of every text until `restore`, which has to be called as often."""
        self._unread.append(words)

    def restore(self, words: str) -> None:
        """Undo one `leave_out`."""
        self._unread.remove(words)

    def as_read(self, text: str) -> str:
        """The text as encoders read it: without the words that are left out, in any case, and their commas."""
        if not self._unread:
            return text
        words = "|".join(map(_alone, sorted(self._unread, key=len, reverse=True)))
        return re.sub(rf"[\s,]*(?:{words})[\s,]*$|(?:{words})\s*,?\s*", "", text, flags=re.IGNORECASE)

    @contextmanager
    def spliced(self, encoder: Any, index: int, ids: Tensor) -> Iterator[Tensor]:
        """Insert the words' rows into the embeddings of the text encoder with this index, within the context.

        Yields the ids for the encoder: `ids (n, 77)` with 0, which is not the end of the text, for the words' tokens.
        """
        added = ids < 0
        if not added.any():
            yield ids.to(encoder.device)
            return
        rows = torch.cat([word[index] for word in self._rows.values()])  # (all words' tokens, d)
        index_of, added = (-1 - ids).clamp(min=0).to(rows.device), added[..., None].to(rows.device)

        def splice(table: nn.Module, args: tuple[Tensor, ...], embeddings: Tensor) -> Tensor:
            return torch.where(added, rows[index_of].to(embeddings.dtype), embeddings)

        handle = encoder.get_input_embeddings().register_forward_hook(splice)
        try:
            yield ids.clamp(min=0).to(encoder.device)
        finally:
            handle.remove()


def contains_word(text: str, word: str) -> bool:
    """Whether a text contains a word, in any case and not as part of a longer word."""
    return _pattern([word]).search(text) is not None


def token_groups(tokenizer: Any, text: str, sizes: Mapping[str, int]) -> list[Group]:
    """The tokens of a text of any length, without start and end.

    `sizes` is the number of tokens of each added word; these are −1, −2 …, in its order.
    """
    if not sizes:
        return [(token,) for token in known_tokens(tokenizer, text)]
    firsts, groups, last = _first_tokens(sizes), list[Group](), 0
    for match in _pattern(sizes).finditer(text):
        groups += [(token,) for token in known_tokens(tokenizer, text[last : match.start()])]
        word = list(sizes)[int(str(match.lastgroup).removeprefix("word"))]
        groups.append(tuple(range(firsts[word], firsts[word] - sizes[word], -1)))
        last = match.end()
    return groups + [(token,) for token in known_tokens(tokenizer, text[last:])]


def _first_tokens(sizes: Mapping[str, int]) -> dict[str, int]:
    firsts, token = {}, -1
    for word, size in sizes.items():
        firsts[word] = token
        token -= size
    return firsts


def known_tokens(tokenizer: Any, text: str) -> list[int]:
    """The tokenizer's tokens of a text of any length, without start and end."""
    return tokenizer(text, add_special_tokens=False, padding=False, truncation=False, verbose=False).input_ids


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    """A pattern for words in a text, the longest first, that does not match within longer words."""
    numbered = sorted(enumerate(words), key=lambda item: -len(item[1]))
    return re.compile("|".join(f"(?P<word{number}>{_alone(word)})" for number, word in numbered), re.IGNORECASE)


def _alone(word: str) -> str:
    before, after = (r"(?<!\w)" if word[0].isalnum() else ""), (r"(?!\w)" if word[-1].isalnum() else "")
    return f"{before}{re.escape(word)}{after}"
