"""Every structure is a tree of its tensors: taken apart and put together again it is the same change."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.adapters.layers import LAYERS, VARIANTS, input_for, make_site
from trainers.adapters.site import MethodTensors, TensorView
from trainers.adapters.updates import Dense, LowRank, PerImage, Update
from trainers.adapters.updates.per_image import stack
from trainers.adapters.updates.tensors import full_rank

pytestmark = pytest.mark.slow


def change_of(kind: str, variant: str) -> tuple[Update, torch.Tensor]:
    site = make_site(kind, VARIANTS[variant])
    return site.updates()[0], site.weight()


@pytest.mark.parametrize("kind", ["linear", "strided"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_structure_over_its_own_tensors_is_the_same_change(kind, variant):
    update, W = change_of(kind, variant)
    tensors = {name: tensor.detach() for name, tensor in update.scaled(0.5).tensors().items()}
    held = TensorView(MethodTensors(tensors))  # a module takes all of the names
    skeleton = update.scaled(0.5).map(lambda tensor: tensor.detach().to("meta"))
    assert torch.equal(skeleton.with_tensors(held).dense(W), update.scaled(0.5).dense(W))
    assert all(tensor.is_meta for tensor in skeleton.tensors().values())
    with pytest.raises(KeyError):
        update.with_tensors(dict(list(tensors.items())[1:]))


def test_names_say_where_a_tensor_is():
    assert set(change_of("linear", "loha")[0].tensors()) == {"left/up", "left/down", "right/up", "right/down"}
    low, whole = LowRank(torch.ones(3, 4, 1), torch.ones(3, 1, 5), (4, 5)), Dense(torch.ones(4, 5), torch.ones(4))
    batch = PerImage(low, {1: whole}, (4, 5), torch.tensor([0, 1]))
    assert list(batch.tensors()) == ["stacked/up", "stacked/down", "others/1/weight", "others/1/shift"]


def test_what_belongs_to_the_moment_is_no_part_of_the_tree():
    changes = {0: change_of("linear", "lora")[0], 1: change_of("linear", "full")[0]}
    shape = changes[0].shape
    batch = PerImage(*stack(changes, shape, 2), shape, torch.tensor([0, 1]), torch.tensor([1.0, 2.0]).double())
    rebuilt = batch.map(lambda tensor: 2 * tensor)
    assert rebuilt.index is batch.index and rebuilt.strengths is batch.strengths
    op, x = make_site("linear", VARIANTS["lora"]).op, input_for("linear", 2)
    torch.testing.assert_close(rebuilt.apply(op, x)[1], 2 * batch.apply(op, x)[1])


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_rank_is_above_the_bound(kind, variant):
    update, W = change_of(kind, variant)
    bound = update.rank_bound
    assert torch.linalg.matrix_rank(update.dense(W).flatten(1)) <= bound <= full_rank(tuple(W.shape))
    low = update.low_rank()
    assert low is None or low.rank_bound <= bound


def test_single_numbers_stay_on_the_cpu_where_reading_them_waits_for_no_device():
    theta = MethodTensors({"skew": torch.randn(1, 3, 4, 4), "settled": torch.tensor(1)}).to("meta")
    assert {name: each.device.type for name, each in theta.named_buffers()} == {"skew": "meta", "settled": "cpu"}
