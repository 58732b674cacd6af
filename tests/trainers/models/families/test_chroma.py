"""Chroma: its mask, in T5 and in the transformer, also under gradient checkpointing."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from trainers.models.families.chroma import with_one_padding
from trainers.models.model import Model
from trainers.models.text import Conditioning
from trainers.randomness import generator

SHORT, LONG = "a fox", "the moon over a long row of houses"


def test_one_padding_token_counts() -> None:
    tokens = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])
    assert with_one_padding(tokens).tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]


def test_padding_does_not_reach_the_image(packed_models: dict[str, Model]) -> None:
    model = packed_models["chroma"]
    latents = torch.randn(2, 16, 4, 6, generator=generator(1, "latents"))
    t = torch.tensor([200.0, 800.0])
    text = model.encode([SHORT, LONG])
    assert text.mask is not None and text.pooled is None
    assert text.mask.sum(1).tolist() == [len(SHORT) + 3, len(LONG) + 3]  # ▁, letters, end, one padding
    noise = torch.randn(text.context.shape, generator=generator(2, "noise")) * (text.mask == 0)[..., None]
    changed = Conditioning(text.context + noise, mask=text.mask)
    together = model.predict(latents, t, text)
    assert torch.equal(together, model.predict(latents, t, changed))
    # Alone, nothing is masked, since padding is cut off.
    for index in range(2):
        alone = model.predict(latents[index : index + 1], t[index : index + 1], text.row(index))
        assert (alone - together[index : index + 1]).abs().max() < 1e-5
    open_to_all = Conditioning(text.context, mask=torch.ones_like(text.mask))
    assert (model.predict(latents, t, open_to_all) - together).abs().max() > 1e-3


def test_checkpointing_keeps_the_mask(packed_models: dict[str, Model]) -> None:
    original = packed_models["chroma"]
    latents = torch.randn(2, 16, 4, 6, generator=generator(1, "latents"))
    t, text = torch.tensor([200.0, 800.0]), original.encode([SHORT, LONG])
    found = []
    for on in (False, True):
        model = replace(original, denoiser=copy.deepcopy(original.denoiser))
        weight = model.denoiser.single_transformer_blocks[0].attn.to_q.weight.requires_grad_(True)
        if on:
            model.denoiser.enable_gradient_checkpointing()
            model.denoiser.train()
        first, second = model.predict(latents, t, text), model.predict(latents[:1], t[:1], text.row(0))
        (first.square().mean() + second.square().mean()).backward()
        assert weight.grad is not None
        found.append((first.detach(), weight.grad))
    (plain, gradient), (checkpointed, same) = found
    assert (plain - checkpointed).abs().max() < 1e-6
    assert (gradient - same).abs().max() < 1e-6 * max(1.0, gradient.abs().max().item())
