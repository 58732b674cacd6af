"""Learned tokens in attention: where they lie, what they leave, and who gets them."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.adapters.blocks import IN, TEXT, VARIANTS, at, make_block, run
from trainers.adapters.block import Call
from trainers.adapters.context import ForwardContext
from trainers.adapters.methods.prompts import Prompts, run_with_prompts
from trainers.errors import VelaturaError


def attention(block, x, text):
    """Softmax over the text's tokens, by hand."""
    q, k, v = block.to_q(x), block.to_k(text), block.to_v(text)
    return block.to_out[0](torch.softmax(q @ k.mT / 8**0.5, -1) @ v)


@pytest.mark.parametrize("kind", ["attn1", "attn2"])
def test_the_output_is_attention_over_the_tokens_and_the_prompts(kind):
    method = VARIANTS["vpt-image" if kind == "attn1" else "vpt-context"][1]
    site = make_block(kind, method, size=0.3)
    P = site.thetas[0].P
    assert P.shape == (3, IN if kind == "attn1" else TEXT)
    x, text = torch.randn(2, 5, IN, dtype=torch.float64), torch.randn(2, 4, TEXT, dtype=torch.float64)
    own = P.expand(2, -1, -1)
    tokens = torch.cat([own, x] if kind == "attn1" else [text, own], 1)
    found = site.block(x, encoder_hidden_states=None if kind == "attn1" else text)
    torch.testing.assert_close(found, attention(site.block, x, tokens))
    assert found.shape == (2, 5, 20)


@pytest.mark.parametrize("kind", ["attn1", "attn2"])
def test_no_tokens_are_the_base(kind):
    site = make_block(kind)
    x = torch.randn(2, 5, IN, dtype=torch.float64)
    text = torch.randn(2, 4, TEXT, dtype=torch.float64) if kind == "attn2" else None
    y = site.block(x, text)
    call = Call(x, y, text, lambda x, context: site.block(x, context))
    torch.testing.assert_close(run_with_prompts(call, torch.zeros(0, IN if text is None else TEXT).double()), y)


def test_they_start_as_large_as_what_they_lie_among_or_as_in_the_paper():
    image, context = (
        make_block(kind, VARIANTS[name][1]) for kind, name in (("attn1", "vpt-image"), ("attn2", "vpt-context"))
    )
    many = [
        Prompts(tokens=500, variant=v).init(s, {}, torch.Generator().manual_seed(0))["P"]
        for v, s in (("image", image), ("context", context))
    ]
    assert many[0].std().item() == pytest.approx(1, abs=0.05) and many[0].abs().max() > 3
    bound = (3 / TEXT) ** 0.5
    assert many[1].std().item() == pytest.approx(bound / 3**0.5, abs=0.01) and many[1].abs().max() <= bound


def test_a_shared_set_is_one_parameter_for_all_blocks():
    site = make_block("attn2", VARIANTS["vpt-shared"][1])
    assert list(site.parameters()) == [] and site.placed[0].shared["P"].shape == (3, TEXT)


def test_the_gate_lets_them_in():
    site = make_block("attn2", VARIANTS["vpt-gated"][1])
    theta, bare = site.thetas[0], at(site, 0)
    plain = make_block("attn2", VARIANTS["vpt-context"][1])
    with torch.no_grad():
        theta.g.fill_(0.25)
        plain.thetas[0].P.copy_(theta.P)
    torch.testing.assert_close(run(site), bare + 0.25 * (run(plain) - bare))
    method = Prompts(gated=True, gate_ratio=4.0)
    assert [method.learning_rate_ratio(name) for name in "gP"] == [4, 1]
    assert [method.decays(name) for name in "gP"] == [False, True]


def test_images_without_a_caption_may_go_without():
    method = Prompts(tokens=3, unconditional=False)
    site = make_block("attn2", method, size=0.3)
    bare, both = at(site, 0), run(site)
    site._holder.context = ForwardContext(uncaptioned=(True, False))
    half = run(site)
    assert torch.equal(half[0], bare[0]) and torch.equal(half[1], both[1])
    assert not torch.allclose(both[0], bare[0])
    everywhere = make_block("attn2", Prompts(tokens=3), size=0.3)
    everywhere._holder.context = ForwardContext(uncaptioned=(True, False))
    torch.testing.assert_close(run(everywhere), both)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"variant": "image", "deep": False}, "needs variant = context"), ({"gate_ratio": 2.0}, "without gated = true")],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(VelaturaError, match=words):
        Prompts(**settings)
