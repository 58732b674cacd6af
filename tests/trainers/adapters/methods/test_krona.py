"""KronA against torch.kron, and what it can do with the numbers of a LoRA of rank 1."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tests.trainers.adapters.layers import LAYERS, fit, make_site, put_on, theta_of
from trainers.adapters.methods.krona import KronA
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.updates import Kronecker
from trainers.formats.codecs import build_update, file_tensors


@pytest.mark.parametrize("kind", LAYERS)
def test_the_change_is_a_kronecker_product_of_two_full_matrices(kind):
    site = make_site(kind, KronA(scale=0.7))
    theta = theta_of(site)
    kernel = site.op.shape[2:]
    assert theta["A"].shape == (4, 3) and theta["B"].shape == (5, 4, *kernel)  # 20 = 4·5, 12 = 3·4
    A = theta["A"].reshape(4, 3, *[1] * len(kernel))
    torch.testing.assert_close(site.dense(), 0.7 * torch.kron(A.contiguous(), theta["B"].contiguous()))


def test_each_block_of_the_change_is_a_multiple_of_b():
    site = make_site("strided", KronA(scale=0.7))
    theta, change = theta_of(site), site.dense()
    for a in range(4):
        for b in range(3):
            block = change[a * 5 : a * 5 + 5, b * 4 : b * 4 + 4]
            torch.testing.assert_close(block, 0.7 * theta["A"][a, b] * theta["B"])


def test_it_runs_as_a_product_that_is_never_built():
    site = make_site("linear", KronA(scale=0.7))
    theta, x = theta_of(site), torch.randn(6, 12, dtype=torch.float64)
    (update,) = site.updates()
    expected = 0.7 * torch.einsum("pu,nuv,qv->npq", theta["A"], x.view(6, 3, 4), theta["B"]).reshape(6, 20)
    assert isinstance(update, Kronecker)
    torch.testing.assert_close(update.apply_factored(site.op, x), expected)


def test_a_starts_kaiming_uniform_and_b_at_zero():
    theta = theta_of(put_on(nn.Linear(1600, 1600), KronA()))
    assert theta["A"].shape == (40, 40) and not theta["B"].any()
    assert theta["A"].abs().max() <= 1 / math.sqrt(40)
    assert theta["A"].std().item() == pytest.approx(1 / math.sqrt(3 * 40), rel=0.05)


def test_its_rank_is_the_product_of_the_ranks():
    site = make_site("linear", KronA())
    theta = theta_of(site)
    assert [torch.linalg.matrix_rank(theta[name]) for name in "AB"] == [3, 4]
    assert torch.linalg.matrix_rank(site.dense()) == 12  # full, for a layer of 20 × 12


def test_with_the_numbers_of_a_rank_1_lora_it_fits_what_that_cannot():
    draw = torch.Generator().manual_seed(0)
    A, B = (torch.randn(4, 4, generator=draw, dtype=torch.float64) for _ in range(2))
    target = torch.kron(A, B)
    assert torch.linalg.matrix_rank(target) == 16
    krona, lora = (put_on(nn.Linear(16, 16), method) for method in (KronA(), LoRA(rank=1, alpha=2.0)))
    assert sum(p.numel() for p in krona.parameters()) == sum(p.numel() for p in lora.parameters()) == 32
    values = torch.linalg.svdvals(target)
    tail = (values[1:].square().sum() / values.square().sum()).item()
    assert fit(krona, target) < 1e-8
    assert fit(lora, target) == pytest.approx(tail, rel=1e-6) and tail > 0.3


def test_about_the_numbers_of_a_rank_1_lora_on_a_layer_of_stable_diffusion():
    theta = theta_of(put_on(nn.Linear(320, 320), KronA()))
    assert sum(t.numel() for t in theta.values()) == 16**2 + 20**2 == 656


@pytest.mark.parametrize("kind", LAYERS)
def test_a_file_holds_it_as_lokr(kind):
    site = make_site(kind, KronA(scale=0.7))
    tensors = file_tensors(site.updates()[0], KronA().file_form().alpha)
    assert set(tensors) == {"lokr_w1", "lokr_w2", "alpha"}
    torch.testing.assert_close(build_update(tensors).dense(site.weight()), site.dense().float())
