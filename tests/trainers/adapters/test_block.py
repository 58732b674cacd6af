"""Promises of every method on blocks: no effect at the start, strength is linear, several add up, all of it learns."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.adapters.blocks import IN, VARIANTS, at, make_block, run
from tests.trainers.adapters.layers import attach_to
from trainers.adapters.context import ForwardContext
from trainers.adapters.methods.adapter import Adapter
from trainers.adapters.methods.krona_block import KronABlock
from trainers.adapters.methods.prompts import Prompts
from trainers.adapters.targets import BlockOverride, Targets
from trainers.errors import VelaturaError
from trainers.models.full_size import build_on_meta

WITH_EFFECT = ("vpt-context", "vpt-shared", "vpt-image")
"""What has an effect from its first step on."""


def parameters(site):
    return {**dict(site.thetas[0].named_parameters()), **dict(site.placed[0].shared)}


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_effect_at_the_start_and_every_tensor_learns(variant):
    kind, method = VARIANTS[variant]
    bare, site = run(make_block(kind)), make_block(kind, method)
    assert ((run(site) - bare).abs().max() < 1e-12) == site.is_idle() == (variant not in WITH_EFFECT)
    trained = parameters(site)
    optimizer = torch.optim.SGD(trained.values(), lr=0.1)
    learned = set()
    for _ in range(2):  # what starts at zero hides its partner's gradient from the first step
        optimizer.zero_grad()
        run(site).pow(2).mean().backward()
        learned |= {name for name, tensor in trained.items() if tensor.grad is not None and tensor.grad.abs().max() > 0}
        optimizer.step()
    assert learned == set(trained) and learned and not site.is_idle()
    assert not any(p.requires_grad for p in site.block.parameters())


@pytest.mark.parametrize("variant", VARIANTS)
def test_strength_is_linear_and_removing_gives_the_block_back(variant):
    kind, method = VARIANTS[variant]
    bare, site = run(make_block(kind)), make_block(kind, method, size=0.3)
    full = at(site, 1.0)
    assert full.shape == bare.shape and (full - bare).abs().max() > 1e-3
    for strength in (0.0, 0.5, -1.0):
        torch.testing.assert_close(at(site, strength), bare + strength * (full - bare))
    assert torch.equal(at(site, 0.0), bare)
    site.remove()
    assert torch.equal(run(site), bare)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_of_the_input_and_of_every_tensor_by_finite_differences(variant):
    kind, method = VARIANTS[variant]
    site = make_block(kind, method, size=0.3)
    x = torch.zeros((1, IN, 1, 1) if kind == "conv2" else (2, 5, IN), dtype=torch.float64, requires_grad=True)

    def moved(_, args, kwargs):
        return (args[0] + x,), kwargs

    def moved_by_name(_, args, kwargs):
        return args, {**kwargs, "hidden_states": kwargs["hidden_states"] + x}

    site.block.register_forward_pre_hook(moved_by_name if kind == "self_attn" else moved, with_kwargs=True)
    leaves = (x, *parameters(site).values())  # finite differences move these themselves
    assert torch.autograd.gradcheck(lambda *_: run(site), leaves, fast_mode=True)


def test_several_methods_on_a_block_add_up_in_any_order():
    adapter, product = Adapter(width=5), KronABlock(scale=0.7)
    bare = run(make_block("ff"))
    alone = [run(make_block("ff", method, size=0.3)) - bare for method in (adapter, product)]
    site = make_block("ff", adapter, product, size=0.3)
    site.thetas[1].load_state_dict(make_block("ff", product, size=0.3).thetas[0].state_dict())
    torch.testing.assert_close(run(site), bare + sum(alone))
    torch.testing.assert_close(at(site, 0.5), bare + 0.5 * sum(alone))


@pytest.mark.parametrize("variant", VARIANTS)
def test_fp32_numbers_work_on_a_bf16_block(variant):
    kind, method = VARIANTS[variant]
    site = make_block(kind, method, size=0.3).float()
    site.block.bfloat16()
    hook = site.block.register_forward_pre_hook(
        lambda _, args, kwargs: (
            tuple(x.bfloat16() for x in args),
            {k: v if v is None else v.bfloat16() for k, v in kwargs.items()},
        ),
        with_kwargs=True,
    )
    y = run(site)
    hook.remove()
    assert y.dtype == torch.bfloat16


def test_module_dropout_leaves_a_block_out_by_the_draw():
    site = make_block("ff", Adapter(width=5, module_dropout=0.5), size=0.3)
    bare, holder = at(site, 0), site._holder
    outcomes = []
    for draw in range(12):
        holder.context = ForwardContext(seed=1, draw=draw, training=True)
        outcomes.append(torch.equal(run(site), bare))
        assert torch.equal(run(site), bare) == outcomes[-1]
    assert 0 < sum(outcomes) < 12


# ---------------------------------------------------------------------------------------------- which blocks
@pytest.fixture(scope="module")
def unet():
    return build_on_meta("sd1", "unet")


@pytest.mark.parametrize(
    ("method", "preset", "blocks", "parameters"),
    [
        (Adapter(), "attn-mlp", 48, 2_435_136),
        (Adapter(), "attn", 32, 2_435_136 * 2 // 3),
        (Adapter(form="pfeiffer"), "attn-mlp", 16, 2_435_136 // 3),
        (Adapter(form="convolution"), "full", 22, 1_311_104),
        (KronABlock(), "attn-mlp", 16, 26_144),
        (KronABlock(residual=True), "full", 16, 26_160),
        (Prompts(), "cross-kv", 16, 98_304),
        (Prompts(deep=False), "attn-mlp", 16, 8 * 768),
        (Prompts(variant="image"), "attn", 16, 8 * 12_480),
    ],
    ids=lambda v: getattr(v, "name", v),
)
def test_blocks_and_parameters_of_the_real_unet(unet, method, preset, blocks, parameters):
    network = attach_to(unet, method, targets=Targets(unet=preset))
    network.remove()
    assert (len(network.blocks), network.sites) == (blocks, ())
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_patterns_and_overrides_choose_blocks(unet):
    targets = Targets(
        unet=("mid_block.*", "*.ff"),
        blocks={
            "mid_block.*": BlockOverride(rank=4, learning_rate=0.5),
            "down_blocks.0.*": BlockOverride(learning_rate=0),
        },
    )
    network = attach_to(unet, Adapter(), targets=targets)
    network.remove()
    found = {site.path: site.placed[0] for site in network.blocks}
    middle = "mid_block.attentions.0.transformer_blocks.0."
    assert {path.removeprefix(middle) for path in found if path.startswith("mid_block")} == {"attn1", "attn2", "ff"}
    assert len(found) == 3 + 13 and all(path.endswith(".ff") for path in found if not path.startswith("mid_block"))
    assert {p.method.width for path, p in found.items() if path.startswith(middle)} == {4}
    assert found[f"{middle}ff"].learning_rate == 0.5 and found[f"{middle}ff"].module.D.shape == (4, 1280)


@pytest.mark.parametrize(
    ("method", "targets", "words"),
    [
        (Adapter(), {"unet": ("*.to_k",)}, r"pattern '\*\.to_k' matches no block of unet: adapter .* cross-attention"),
        (Adapter(form="pfeiffer"), {"unet": "attn"}, "preset 'attn' selects no block of unet: adapter .* feed-forward"),
        (Prompts(), {"unet": ("*.ff",)}, r"a block's name is '[\w.]+\.attn2'"),
        (KronABlock(), {"unet": "attn-mlp", "blocks": {"*.attn1": BlockOverride(learning_rate=0)}}, "no trained layer"),
    ],
)  # fmt: skip
def test_what_selects_no_block_is_a_sentence(unet, method, targets, words):
    with pytest.raises(VelaturaError, match=words):
        attach_to(unet, method, targets=Targets(**targets))


@pytest.mark.parametrize("method", [Adapter(), KronABlock(), Prompts()], ids=lambda m: m.name)
def test_what_is_no_change_of_weights_is_not_merged(unet, method):
    network = attach_to(unet, method, targets=Targets(unet="attn-mlp"))
    network.remove()
    with pytest.raises(VelaturaError, match=f"{method.name} does not change weights, so it cannot be merged"):
        network.merge()
