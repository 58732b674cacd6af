"""VeRA against the formula of the paper, and what its shared matrices promise."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.trainers.adapters.layers import LAYERS, attach_to, fit, make_layers, make_site, put_on, shared_of, theta_of
from trainers.adapters.methods.vera import VeRA, digest
from trainers.adapters.network import Network, attach
from trainers.adapters.targets import Targets
from trainers.errors import VelaturaError

SMALL = VeRA(rank=5, d_initial=0.3)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_change_is_two_vectors_over_two_random_matrices(kind):
    site = make_site(kind, SMALL)
    theta, shared = theta_of(site), shared_of(site)
    A = math.sqrt(2 / site.op.fan_in) * shared["A"]  # Kaiming-uniform, from a variance of 1
    B = math.sqrt(2 / 5) * shared["B"]
    expected = torch.diag(theta["b"]) @ B @ torch.diag(theta["d"]) @ A
    torch.testing.assert_close(site.dense(), expected.reshape(site.op.shape))


def test_a_layer_takes_the_first_rows_and_columns_of_one_pair_for_all():
    network = attach_to(make_layers(), SMALL)
    (holder,) = network.shared
    assert holder.A.shape == (5, 180) and holder.B.shape == (28, 5)  # the widest are 20·3·3 in and 28 out
    for site in network.sites:
        (update,) = site.updates()
        assert update.down.untyped_storage().data_ptr() == holder.A.untyped_storage().data_ptr()
        assert torch.equal(update.down, holder.A[:, : site.op.fan_in])
        assert site.placed[0].shared["B"] is holder.B
    assert {name for name, _ in holder.named_parameters()} == set()


def test_the_matrices_start_uniform_with_variance_1_and_the_vectors_without_effect():
    site = put_on(nn.Linear(300, 40), VeRA(rank=64, d_initial=0.2))
    theta, shared = theta_of(site), shared_of(site)
    for name in "AB":
        assert shared[name].std().item() == pytest.approx(1, rel=0.03)
        assert shared[name].abs().max() <= math.sqrt(3)
    assert torch.equal(theta["d"], torch.full((64,), 0.2).double()) and not theta["b"].any()
    (update,) = site.updates()
    assert update.gate.unique().numel() == 1
    reached = (shared["A"] * math.sqrt(2 / 300)).abs().max().item()  # Kaiming-uniform's bound, as the paper has it
    assert 0.99 * math.sqrt(6 / 300) < reached <= math.sqrt(6 / 300)


def test_unet_and_text_encoder_have_a_pair_each():
    parts = {"unet": nn.Sequential(nn.Linear(6, 8)), "text_encoder": nn.Sequential(nn.Linear(6, 8))}
    network = attach(parts, SMALL, Targets(unet=("*",), text_encoder=("*",)), seed=0)
    first, second = network.shared
    assert not torch.equal(first.A, second.A)


def digest_in_another_process(seed: int) -> str:
    code = (
        "from tests.trainers.adapters.layers import make_layers, EVERY_LAYER\n"
        "from trainers.adapters.methods.vera import VeRA\n"
        "from trainers.adapters.network import attach\n"
        f"network = attach({{'unet': make_layers()}}, VeRA(rank=5), EVERY_LAYER, seed={seed})\n"
        "print(bytes(network.shared[0].digest.tolist()).hex())"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.thorough
@pytest.mark.process
def test_the_same_seed_gives_the_same_matrices_in_another_process():
    network = attach_to(make_layers(), SMALL)  # seed 7
    holder = network.shared[0]
    here = bytes(holder.digest.tolist()).hex()
    assert torch.equal(digest(holder.A, holder.B), holder.digest) and len(here) == 64
    assert digest_in_another_process(7) == here
    other = attach({"unet": make_layers()}, SMALL, Targets(unet=("*",)), seed=8)
    assert bytes(other.shared[0].digest.tolist()).hex() != here


def state(network: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("stored", [False, True])
def test_a_checkpoint_holds_the_matrices_only_where_that_is_asked_for(stored):
    method = replace(SMALL, store_projections=stored)
    network = attach_to(make_layers(), method)
    names = {name.removeprefix("shared.0.") for name in state(network) if name.startswith("shared")}
    assert names == ({"A", "B", "digest"} if stored else {"digest"})
    network.load_state_dict(state(network))  # nothing to complain about


def test_a_checkpoint_of_other_matrices_is_refused():
    here, there = (attach({"unet": make_layers()}, SMALL, Targets(unet=("*",)), seed=seed) for seed in (7, 8))
    with pytest.raises(VelaturaError, match="VeRA's random matrices with this seed"):
        here.load_state_dict(state(there))


def test_stored_matrices_go_on_where_the_drawn_ones_would_differ():
    method = replace(SMALL, store_projections=True)
    here, there = (attach({"unet": make_layers()}, method, Targets(unet=("*",)), seed=seed) for seed in (7, 8))
    here.load_state_dict(state(there))
    torch.testing.assert_close(here.sites[0].placed[0].shared["A"], there.shared[0].A)


def test_what_its_vectors_span_is_fitted_and_needs_both_of_them():
    draw = torch.Generator().manual_seed(1)
    method = VeRA(rank=6, d_initial=0.3)
    site, without_d, without_b = (put_on(nn.Linear(12, 20), method) for _ in range(3))
    theta = site.placed[0].module
    with torch.no_grad():
        theta.d.copy_(2 * torch.rand(6, generator=draw))
        theta.b.copy_(torch.randn(20, generator=draw))
        target = site.dense()
        theta.d.fill_(0.3)
        theta.b.zero_()
        without_b.placed[0].module.b.fill_(1.0)
    without_d.placed[0].module.d.requires_grad_(False)
    without_b.placed[0].module.b.requires_grad_(False)
    assert fit(site, target) < 1e-6
    assert fit_of(without_d, target) > 0.1 and fit_of(without_b, target) > 0.1


def fit_of(site, target: torch.Tensor) -> float:
    """As `fit`, by linear least squares: one vector is fixed, so the other enters linearly."""
    (parameter,) = [p for p in site.parameters() if p.requires_grad]
    columns = []
    with torch.no_grad():
        for place in range(len(parameter)):
            parameter.zero_()[place] = 1.0
            columns.append(site.dense().flatten())
        X = torch.stack(columns, 1)
        found = torch.linalg.lstsq(X, target.flatten()).solution
    return ((X @ found - target.flatten()).square().sum() / target.square().sum()).item()


def test_a_file_is_a_lora_of_its_rank():
    site = make_site("strided", SMALL)
    from trainers.formats.codecs import build_update, file_tensors

    tensors = file_tensors(site.updates()[0], SMALL.file_form().alpha)
    assert tensors["lora_down.weight"].shape == (5, 12, 3, 3) and tensors["alpha"].item() == 5
    torch.testing.assert_close(build_update(tensors).dense(site.weight()), site.dense().float())
