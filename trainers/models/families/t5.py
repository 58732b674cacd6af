"""Encodes text with T5's frozen encoder (Raffel et al. 2019, arXiv 1910.10683) for SD 3, Flux and Chroma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def encode_t5(
    tokenizer: Any, encoder: Any, captions: Sequence[str], length: int, masked: bool = False
) -> tuple[Tensor, Tensor]:
    """The last states `(n, length, d)` of captions, and a mask of their tokens, `(n, length)` of 0 and 1.

    Captions are truncated or padded to `length` positions. Padding is attended to unless `masked`. T5 reads added words
    as ordinary text.
    """
    import torch

    settings = {"padding": "max_length", "max_length": length, "truncation": True}
    tokens = tokenizer(list(captions), return_tensors="pt", **settings)
    ids, mask = tokens.input_ids.to(encoder.device), tokens.attention_mask.to(encoder.device)
    with torch.no_grad():
        states: Tensor = encoder(ids, attention_mask=mask if masked else None)[0]
    return states, mask


def count_t5(tokenizer: Any, caption: str, _sizes: Mapping[str, int]) -> int:
    """Number of tokens of a caption, without the end."""
    return len(tokenizer(caption, add_special_tokens=False, verbose=False).input_ids)
