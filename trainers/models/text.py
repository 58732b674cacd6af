"""Encodes captions with CLIP, in the same way for training and sampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainers.adapters.op import weights_on_device
from trainers.errors import VelaturaError
from trainers.models.words import CHUNK, Group, token_groups

if TYPE_CHECKING:
    from trainers.models.networks import Networks


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Encoded text: context `(n, tokens, d)`, and in some families a pooled embedding `(n, d₂)`."""

    context: Tensor
    pooled: Tensor | None = None
    mask: Tensor | None = None
    """Attention mask, `(n, tokens)` of 0 and 1; None attends to all."""

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name, without those that are None."""
        named = {"context": self.context, "pooled": self.pooled, "mask": self.mask}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def map(self, change: Callable[[Tensor], Tensor]) -> Conditioning:
        """Apply a function to each tensor."""
        return Conditioning(**{name: change(tensor) for name, tensor in self.tensors().items()})

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Conditioning:
        """Move to a device, and convert to `dtype` all but the mask."""
        return self.map(lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else None))

    def row(self, index: int) -> Conditioning:
        """Select one text of the batch."""
        return self.map(lambda tensor: tensor[index : index + 1])

    @classmethod
    def cat(cls, parts: Sequence[Conditioning]) -> Conditioning:
        """Concatenate along the batch."""
        names = parts[0].tensors()
        return cls(**{name: torch.cat([part.tensors()[name] for part in parts]) for name in names})


def clip_states(
    base: Networks, count: int, captions: Sequence[str], clip_skip: int, chunks: int, last: bool
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """States `(n, 77·chunks, d)` and projection `(n, d₂)` of the first `count` encoders, which are CLIP's.

    Both are differentiable in weights and words. `clip_skip` k selects the k-th hidden state from the end, with the
    final norm; unless `last`, from the second to last, without the norm. Tokens fill up to `chunks` chunks of 75, each
    with its own start, end and padding; longer captions are truncated. The projection is that of the first chunk; None
    for an encoder that has none. Raises VelaturaError if an encoder has too few layers for `clip_skip`.
    """
    for index, (tokenizer, encoder) in enumerate(list(zip(base.tokenizers, base.text_encoders, strict=True))[:count]):
        ids = _chunked_ids(tokenizer, [token_groups(tokenizer, c, base.words.sizes) for c in captions], chunks)
        with base.words.spliced(encoder, index, ids) as known:  # (n·chunks, 77)
            out = encoder(known, output_hidden_states=True)
        back = clip_skip if last else clip_skip + 1
        if clip_skip < 1 or back > len(out.hidden_states) - 1:
            most = len(out.hidden_states) - (1 if last else 2)
            raise VelaturaError(
                "base.clip_skip = {clip_skip} does not fit {title}; set it from 1 to {most}",
                clip_skip=clip_skip,
                title=base.title,
                most=most,
            )
        hidden = out.hidden_states[-back]
        if last:
            norm = _inner(encoder).final_layer_norm
            with weights_on_device(norm):
                hidden = norm(hidden)
        embeds = getattr(out, "text_embeds", None)  # only with a projection
        pooled = None if embeds is None else embeds.unflatten(0, (len(captions), chunks))[:, 0]
        # (n·chunks, 77, d) → (n, 77·chunks, d)
        yield hidden.unflatten(0, (len(captions), chunks)).flatten(1, 2), pooled


def unread_clip_layers(base: Networks, names: Sequence[str], clip_skip: int, last: bool) -> tuple[str, ...]:
    """Layers of CLIP encoders after the state that `clip_states` reads, such as `text_encoder.encoder.layers.11`.

    `names` are those of the first encoders. The layers get no gradient. Encoders with a projection, which the UNet
    reads, have no such layers.
    """
    unread: list[str] = []
    for name, encoder in zip(names, base.text_encoders, strict=False):
        if hasattr(encoder, "text_projection"):
            continue
        inner = _inner(encoder)
        stem = name if inner is encoder else f"{name}.text_model"
        count = len(inner.encoder.layers)
        after = clip_skip - 1 if last else clip_skip
        unread += [f"{stem}.encoder.layers.{n}" for n in range(max(0, count - after), count)]
        unread += [] if last else [f"{stem}.final_layer_norm"]
    return tuple(unread)


def _inner(encoder: nn.Module) -> Any:
    # transformers 5 flattened CLIPTextModel; the variant with a projection still wraps a `text_model`.
    return getattr(encoder, "text_model", encoder)


def count_positions(groups: Sequence[Group]) -> int:
    """Positions that tokens take in chunks of 75, including the free ones before a word in the next chunk."""
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
