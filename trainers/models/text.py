"""Encodes captions, in the same way for training and sampling.

SD 1 and SD 2: a hidden state of the text encoder after its final layer norm. SDXL: the penultimate hidden states of
both encoders, concatenated, without the norm, and the second encoder's projected end-of-text state as `pooled`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainers.errors import VelaturaError
from trainers.models.model import Model
from trainers.models.words import CHUNK, Group, token_groups

__all__ = ["CHUNK", "Conditioning", "add_time_ids", "count_positions", "count_tokens", "encode_captions"]


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Encoded text: context (n, 77·chunks, d), and for SDXL the pooled embedding (n, d₂)."""

    context: Tensor
    pooled: Tensor | None = None

    def to(self, *args: Any, **kwargs: Any) -> Conditioning:
        """Move or cast both tensors, as `Tensor.to` does."""
        pooled = None if self.pooled is None else self.pooled.to(*args, **kwargs)
        return Conditioning(self.context.to(*args, **kwargs), pooled)


def count_tokens(model: Model, caption: str) -> int:
    """Number of positions that a caption takes, without start and end; a chunk has 75."""
    return count_positions(token_groups(model.tokenizers[0], caption, model.words.sizes))


def encode_captions(model: Model, captions: Sequence[str], clip_skip: int = 1, chunks: int = 1) -> Conditioning:
    """Encode captions, differentiably in the text encoders' weights and the rows of added words.

    `clip_skip` k selects the k-th hidden state from the end (SDXL: from the second to last). A caption's tokens fill up
    to `chunks` chunks of 75, each with its own start, end and padding; longer captions are truncated. `pooled` comes
    from the first chunk. Raises VelaturaError if the text encoder has too few layers for `clip_skip`.
    """
    contexts, pooled = [], None
    last = model.family.text_encoders == 1
    for index, (tokenizer, encoder) in enumerate(zip(model.tokenizers, model.text_encoders, strict=True)):
        ids = _chunked_ids(tokenizer, [token_groups(tokenizer, c, model.words.sizes) for c in captions], chunks)
        with model.words.spliced(encoder, index, ids) as known:  # (n·chunks, 77)
            out = encoder(known, output_hidden_states=True)
        back = clip_skip if last else clip_skip + 1
        if clip_skip < 1 or back > len(out.hidden_states) - 1:
            most = len(out.hidden_states) - (1 if last else 2)
            raise VelaturaError(
                "base.clip_skip = {clip_skip} does not fit {title}; set it from 1 to {most}",
                clip_skip=clip_skip,
                title=model.title,
                most=most,
            )
        hidden = out.hidden_states[-back]
        if last:
            hidden = _inner(encoder).final_layer_norm(hidden)
        else:
            embeds = getattr(out, "text_embeds", None)  # only with a projection
            pooled = pooled if embeds is None else embeds.unflatten(0, (len(captions), chunks))[:, 0]
        # (n·chunks, 77, d) → (n, 77·chunks, d)
        contexts.append(hidden.unflatten(0, (len(captions), chunks)).flatten(1, 2))
    return Conditioning(torch.cat(contexts, dim=-1), pooled)


def unread_layers(model: Model, clip_skip: int = 1) -> tuple[str, ...]:
    """Layers of the text encoders after the hidden state that the UNet reads, as `text_encoder.encoder.layers.11`.

    They get no gradient. An encoder with a projection, which the UNet reads, has none of them.
    """
    found: list[str] = []
    last = model.family.text_encoders == 1
    for name, encoder in zip(model.encoder_names, model.text_encoders, strict=True):
        if hasattr(encoder, "text_projection"):
            continue
        inner = _inner(encoder)
        stem = name if inner is encoder else f"{name}.text_model"
        count = len(inner.encoder.layers)
        after = clip_skip - 1 if last else clip_skip
        found += [f"{stem}.encoder.layers.{n}" for n in range(max(0, count - after), count)]
        found += [] if last else [f"{stem}.final_layer_norm"]
    return tuple(found)


def add_time_ids(
    model: Model,
    original: Sequence[tuple[int, int]],
    crop: Sequence[tuple[int, int]],
    target: Sequence[tuple[int, int]],
) -> Tensor | None:
    """SDXL's size conditioning (n, 6); None for other families.

    Per image, in pixels: original (height, width), crop (top, left), target (height, width).
    """
    if model.family.name != "sdxl":
        return None
    rows = [[*o, *c, *t] for o, c, t in zip(original, crop, target, strict=True)]
    return torch.tensor(rows, dtype=torch.float32, device=model.device)


def _inner(encoder: nn.Module) -> Any:
    # transformers 5 flattened CLIPTextModel; the variant with a projection still wraps a `text_model`.
    return getattr(encoder, "text_model", encoder)


def count_positions(groups: Sequence[Group]) -> int:
    """Number of positions that tokens take in chunks of 75, including free ones before a word in the next chunk."""
    filled = _filled(groups)
    return CHUNK * (len(filled) - 1) + len(filled[-1])


def _filled(groups: Sequence[Group]) -> list[list[int]]:
    """The tokens by chunk; a word that does not fit into a chunk begins the next."""
    filled: list[list[int]] = [[]]
    for group in groups:
        if len(filled[-1]) + len(group) > CHUNK:
            filled.append([])
        filled[-1] += group
    return filled


def _chunked_ids(tokenizer: Any, captions: Sequence[Sequence[Group]], chunks: int) -> Tensor:
    rows = []
    for groups in captions:
        filled = _filled(groups)
        for ids in (*filled[:chunks], *[[]] * (chunks - len(filled))):
            row = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
            rows.append(row + [tokenizer.pad_token_id] * (CHUNK + 2 - len(row)))
    return torch.tensor(rows)
