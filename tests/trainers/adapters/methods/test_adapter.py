"""Adapters against their formula."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tests.trainers.adapters.blocks import IN, OUT, TEXT, VARIANTS, at, make_block, run
from trainers.adapters.methods.adapter import Adapter
from trainers.errors import VelaturaError


@pytest.mark.parametrize("variant", ["houlsby", "houlsby-text", "pfeiffer", "parallel", "convolution"])
def test_the_output_is_the_formula(variant):
    kind, method = VARIANTS[variant]
    site = make_block(kind, method, size=0.3)
    seen = []
    hook = site.block.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    y, changed = at(site, 0), run(site)
    hook.remove()
    D, d, U, u = (site.thetas[0].get_parameter(name) for name in "DdUu")
    h = seen[0] if variant == "parallel" else y
    if kind == "conv2":
        hidden = F.silu(torch.einsum("md,ndhw->nmhw", D, h) + d[:, None, None])
        expected = y + 0.7 * (torch.einsum("dm,nmhw->ndhw", U, hidden) + u[:, None, None])
    else:
        hidden = h @ D.T + d
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))  # the exact GELU
        expected = y + 0.7 * (hidden @ U.T + u)
    torch.testing.assert_close(changed, expected)


@pytest.mark.parametrize("variant", ["houlsby-norms", "houlsby-text-norms", "parallel-norms"])
def test_the_norms_are_those_before_the_blocks(variant):
    """What a block gives after its norm is what it gives, with the rest of the adapter, after the changed norm."""
    kind, method = VARIANTS[variant]
    site, plain = make_block(kind, method, size=0.3), make_block(kind, replace(method, norms=False))
    theta = dict(site.thetas[0].named_parameters())
    plain.thetas[0].load_state_dict({name: t for name, t in theta.items() if name not in "gb"})
    g, b = theta["g"].detach(), theta["b"].detach()
    assert g.shape == b.shape == (IN,) and not method.decays("g") and method.decays("D")

    draw = torch.Generator().manual_seed(6)
    hidden, text = (torch.randn(2, 5, width, generator=draw, dtype=torch.float64) for width in (IN, TEXT))
    norm = torch.nn.LayerNorm(IN).double().requires_grad_(False)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    given = {"attn2": {"encoder_hidden_states": text}}.get(kind, {})
    found = site.block(norm(hidden), **given)
    with torch.no_grad():
        norm.weight.mul_(1 + g)
        norm.bias.mul_(1 + g).add_(b)
    expected = plain.block(norm(hidden), **given)
    if kind == "self_attn":
        found, expected = found[0], expected[0]
    torch.testing.assert_close(found, expected)


def test_norms_of_residual_blocks_are_refused():
    with pytest.raises(VelaturaError, match="an activation follows the norm"):
        Adapter(form="convolution", norms=True)


@pytest.mark.parametrize(
    ("variant", "read"), [("houlsby", OUT), ("pfeiffer", OUT), ("parallel", IN), ("convolution", OUT)]
)
def test_parameters_are_those_of_two_matrices_and_two_biases(variant, read):
    kind, method = VARIANTS[variant]
    assert sum(p.numel() for p in make_block(kind, method).parameters()) == 5 * read + 5 * OUT + 5 + OUT
    if method.form != "convolution":
        more = make_block(kind, replace(method, norms=True))
        assert sum(p.numel() for p in more.parameters()) == 5 * read + 5 * OUT + 5 + OUT + 2 * IN
