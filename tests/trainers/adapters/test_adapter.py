"""Adapters against their formula."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.trainers.adapters.blocks import IN, OUT, VARIANTS, at, make_block, run


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


@pytest.mark.parametrize(
    ("variant", "read"), [("houlsby", OUT), ("pfeiffer", OUT), ("parallel", IN), ("convolution", OUT)]
)
def test_parameters_are_those_of_two_matrices_and_two_biases(variant, read):
    kind, method = VARIANTS[variant]
    assert sum(p.numel() for p in make_block(kind, method).parameters()) == 5 * read + 5 * OUT + 5 + OUT
