"""What is kept for backward: the layer's input, activations and thin factors, never anything the size of a weight."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.trainers.adapters.updates.test_gradients import built, factored
from tests.trainers.tiny_runs import methods_without_form
from trainers.adapters.context import ContextHolder, ForwardContext
from trainers.adapters.methods.full import Full
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.tied import TiedLoRA
from trainers.adapters.methods.vera import VeRA
from trainers.adapters.site import Site

# (layer, input): weights much larger than inputs and outputs, so that what is weight-sized stands out.
LAYERS = {
    "linear": (lambda: nn.Linear(192, 320), (2, 4, 192)),
    "conv": (lambda: nn.Conv2d(48, 80, 3, stride=2, padding=1), (1, 48, 6, 6)),
}
METHODS = {
    **{name: (method, None) for name, method in methods_without_form([Full()]).items()},
    "dora": (LoRA(rank=4, alpha=2.0, dora=True), None),
    "loha-factored": (LoHA(rank=2, alpha=3.0), factored),
    "loha-built": (LoHA(rank=2, alpha=3.0), built),
    "lokr-factored": (LoKr(rank=3, alpha=2.0, factor=8), factored),
    "lokr-built": (LoKr(rank=3, alpha=2.0, factor=8), built),
    "lokr-low-rank-factored": (LoKr(rank=2, alpha=3.0, factor=4, full_matrix=False), factored),
    "lokr-low-rank-built": (LoKr(rank=2, alpha=3.0, factor=4, full_matrix=False), built),
}


def run_and_keep(run: Callable[[], Tensor]) -> tuple[Tensor, list[Tensor]]:
    """An output, and the tensors that are kept for its backward pass."""
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        return run(), kept


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("name", METHODS)
def test_nothing_weight_sized_is_kept(kind, name, dtype):
    make, shape = LAYERS[kind]
    method, way = METHODS[name]
    site = Site("unet", kind, make().to(dtype).requires_grad_(False), ContextHolder(ForwardContext(training=True)))
    draw = torch.Generator().manual_seed(0)
    site.put(method, method.share([site], draw), draw)
    x = torch.randn(shape).to(dtype).requires_grad_()
    y, kept = run_and_keep(lambda: site.layer(x) if way is None else way(site.updates()[0], site, x))
    y.float().square().mean().backward()

    weight = site.weight()
    extra = [t for t in kept if t.untyped_storage().data_ptr() != weight.untyped_storage().data_ptr()]
    largest_factor, activation = max(p.numel() for p in site.parameters()), max(x.numel(), y.numel())
    stages = 2 if name == "oft" else 1  # butterflies keep activations of several stages
    assert largest_factor < weight.numel() / 4
    largest = max((t.numel() for t in extra), default=0)
    assert largest <= max(largest_factor, 4 * stages * activation) < weight.numel() / 2
    assert sum(t.numel() for t in extra) < stages * weight.numel()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("method", "inputs", "hiddens", "more"),
    [
        (LoRA(rank=4, alpha=4.0), 1, 1, 0),
        (LoHA(rank=2, alpha=2.0), 1, 1, 0),
        (TiedLoRA(rank=4, alpha=4.0), 1, 2, 0),  # before and after u
        (VeRA(rank=4), 0, 2, 4 * 4),  # A is frozen; d times a constant is kept in fp32
    ],
)
def test_a_low_rank_product_keeps_no_copy_of_its_factors(method, inputs, hiddens, more, kind):
    make, shape = LAYERS[kind]
    site = Site("unet", kind, make().bfloat16().requires_grad_(False), ContextHolder(ForwardContext(training=True)))
    shared = method.share([site], torch.Generator().manual_seed(0))
    site.put(method, shared, torch.Generator().manual_seed(0))
    x = torch.randn(shape).bfloat16().requires_grad_()
    ours = {p.untyped_storage().data_ptr() for p in (*site.parameters(), *shared.values(), site.weight())}
    update = site.updates()[0]
    y, tensors = run_and_keep(lambda: getattr(update, "apply_factored", update.apply)(site.op, x))
    kept = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    hidden = y.numel() // site.op.out * 4
    others = sum(size for place, size in kept.items() if place not in ours)
    assert others == 2 * (inputs * x.numel() + hiddens * hidden) + more  # the input and the hidden numbers, in bf16
