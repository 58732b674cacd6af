"""Textual inversion (Gal et al. 2022, arXiv 2208.01618): a learned word, alone or with any method.

    V ∈ R^{n×d} for each text encoder         the n embedding rows that it reads for the word
    v* = argmin_V E‖ε − ε_θ(z_t, t, c_θ(caption with V))‖²

The rows are parameters of their own; the embedding table is unchanged. With m initial tokens, row j starts as the
embedding of token j mod m; if m > n, as the mean embedding of tokens j·m/n to (j + 1)·m/n.

The norm prior (Ryu's *lora*, pivotal tuning) moves each row's norm towards μ, the mean norm of the table's rows, by a
share λ after each step: v ← v · (1 + λ (μ / ‖v‖ − 1)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn


class Vocabulary(Protocol):
    """A base's vocabulary, to which words can be added."""

    def put(self, word: str, rows: Sequence[Tensor]) -> None: ...

    def remove(self, word: str) -> None: ...

    def leave_out(self, words: str) -> None: ...

    def restore(self, words: str) -> None: ...


class Word(nn.Module):
    """A word and its embedding rows `(n, d)` by text encoder (`text_encoder`, `text_encoder_2`)."""

    def __init__(
        self,
        text: str,
        rows: Mapping[str, Tensor],
        learning_rate: float = 0.0,
        pull: float = 0.0,
        usual: Mapping[str, float] | None = None,
    ) -> None:
        """`pull` is λ; `usual` is μ by text encoder, needed if λ is not 0."""
        super().__init__()
        self.text, self.learning_rate = text, learning_rate
        self._pull, self._usual = pull, dict(usual or {})
        self._initial = {part: values.detach().cpu().clone() for part, values in rows.items()}
        for part, values in rows.items():
            self.register_parameter(part, nn.Parameter(values))

    @property
    def rows(self) -> dict[str, nn.Parameter]:
        """The current rows by text encoder."""
        return dict(self.named_parameters())

    @property
    def is_idle(self) -> bool:
        """Whether the rows have their initial values."""
        return all(torch.equal(rows.detach().cpu(), self._initial[part]) for part, rows in self.rows.items())

    @torch.no_grad()
    def after_step(self) -> None:
        """Apply the norm prior to rows that still train."""
        for part, rows in self.rows.items():
            if self._pull and rows.requires_grad:
                length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)  # (n, 1)
                rows.mul_(1 + self._pull * (self._usual[part] / length - 1))


def initial_rows(table: Tensor, tokens: Sequence[int], n: int) -> Tensor:
    """n initial rows `(n, d)` in fp32, from the embeddings of m tokens in the table `(vocabulary, d)`."""
    m = len(tokens)
    shares = [tokens[j * m // n : (j + 1) * m // n] if m > n else [tokens[j % m]] for j in range(n)]
    return torch.stack([table[list(share)].float().mean(0) for share in shares])


def usual_length(table: Tensor) -> float:
    """μ: the mean norm of the rows of a table `(vocabulary, d)`."""
    return torch.linalg.vector_norm(table.float(), dim=-1).mean().item()
