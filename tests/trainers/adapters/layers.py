"""A small network with one layer of every kind: never square, strided and padded, with and without a bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.trainers.tiny_runs import methods_without_form
from trainers.adapters.context import ContextHolder, ForwardContext
from trainers.adapters.method import LayerMethod
from trainers.adapters.methods.adalora import AdaLoRA
from trainers.adapters.methods.bitfit import BitFit
from trainers.adapters.methods.dylora import DyLoRA
from trainers.adapters.methods.full import Full
from trainers.adapters.methods.ia3 import IA3
from trainers.adapters.methods.krona import KronA
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.oft import OFT
from trainers.adapters.methods.selora import SeLoRA
from trainers.adapters.methods.sora import SoRA
from trainers.adapters.methods.ssf import SSF
from trainers.adapters.methods.tied import TiedLoRA
from trainers.adapters.methods.tlora import TLoRA
from trainers.adapters.methods.vera import VeRA
from trainers.adapters.network import Network, attach
from trainers.adapters.site import MethodTensors, Site, TensorView
from trainers.adapters.targets import Targets

EVERY_LAYER = Targets(unet=("*",))

# Never α = r. Every way in which a method can write its update; a method without a row is added with small settings.
FORMS: dict[str, LayerMethod] = {
    "lora": LoRA(rank=3, alpha=2.0),
    "lora-rslora": LoRA(rank=3, alpha=2.0, rslora=True),
    "lora-dora": LoRA(rank=3, alpha=2.0, dora=True),
    "lora-fa": LoRA(rank=3, alpha=2.0, freeze_a=True),
    "lora-pissa": LoRA(rank=3, alpha=2.0, start="pissa"),
    "lora-tucker": LoRA(rank=3, alpha=2.0, tucker=True),
    "loha": LoHA(rank=3, alpha=2.0),
    "loha-tucker": LoHA(rank=3, alpha=2.0, tucker=True),
    "lokr": LoKr(rank=3, alpha=2.0, factor=4),
    "lokr-low-rank": LoKr(rank=2, alpha=3.0, factor=4, full_matrix=False),
    "lokr-both": LoKr(rank=1, alpha=2.0, factor=4, full_matrix=False, decompose_both=True),
    "lokr-tucker": LoKr(rank=2, alpha=3.0, factor=2, full_matrix=False, tucker=True),
    "lokr-square": LoKr(rank=2, alpha=3.0, factor=-1, full_matrix=False),
    "krona": KronA(scale=0.7),
    "vera": VeRA(rank=5, d_initial=0.3),
    "tied": TiedLoRA(rank=3, alpha=2.0),
    "tied-role": TiedLoRA(rank=3, alpha=2.0, group_by="role"),
    "tied-a-frozen-b": TiedLoRA(rank=3, alpha=2.0, tie_b=False, train_b=False),
    "tied-frozen": TiedLoRA(rank=3, alpha=2.0, train_a=False, train_b=False),
    "dylora": DyLoRA(rank=4, alpha=3.0, unit=2),
    "adalora": AdaLoRA(rank=3, alpha=50.0, target_rank=2),
    "sora": SoRA(rank=3, alpha=2.0),
    "selora": SeLoRA(rank=3, alpha=0.7),
    "oft": OFT(block_size=5),
    "oft-constrained": OFT(block_size=5, constraint=0.1),
    "boft": OFT(block_size=4, butterfly=True),
    "oft-input": OFT(block_size=5, side="input"),
    "boft-input": OFT(block_size=4, butterfly=True, side="input"),
    "ia3": IA3(everywhere=True),
    "ssf": SSF(),
    "ssf-biases": SSF(missing_biases=True),
    "bitfit": BitFit(),
    "bitfit-biases": BitFit(missing_biases=True),
    "full": Full(),
    "t-lora": TLoRA(rank=4, alpha=3.0, lowest=0.25),
    "t-lora-noise": TLoRA(rank=4, alpha=3.0, lowest=0.25, orthogonal=False),
}
VARIANTS = FORMS | methods_without_form(FORMS.values())


WAITING = {"selora": ("1", "2")}
"""Ends of the names of tensors that take no part yet at the start."""


def timesteps(n: int) -> Tensor:
    """Of each image of a batch of n, all of them different."""
    return torch.linspace(100, 950, n).long()


def give_timesteps(net: nn.Module, args: tuple[Tensor], kwargs: dict[str, Tensor]) -> tuple[tuple[Tensor], Any]:
    """A UNet's second input, for networks that follow it."""
    return args, {"timestep": timesteps(len(args[0])), **kwargs}


class Layers(nn.Module):
    """Linear (20 → 24 → 12), a strided 3×3, a dilated 3×3 and a 1×1 convolution, none of them square, and two norms."""

    def __init__(self) -> None:
        super().__init__()
        self.strided = nn.Conv2d(12, 20, 3, stride=2, padding=1)
        self.dilated = nn.Conv2d(20, 28, 3, padding=2, dilation=2, bias=False)
        self.pointwise = nn.Conv2d(28, 20, 1)
        self.grouped = nn.GroupNorm(4, 20)
        self.wide = nn.Linear(20, 24, bias=False)
        self.plain = nn.LayerNorm(24)
        self.narrow = nn.Linear(24, 12)
        self.register_forward_pre_hook(give_timesteps, with_kwargs=True)

    def forward(self, sample: Tensor, timestep: Tensor) -> Tensor:
        """`(n, 12, h, w)` to `(n, h·w/4, 12)`."""
        h = F.silu(self.strided(sample))
        h = self.grouped(self.pointwise(F.silu(self.dilated(h))))
        return self.narrow(F.silu(self.plain(self.wide(h.flatten(2).mT))))


def make_layers(dtype: torch.dtype = torch.float32) -> Layers:
    torch.manual_seed(0)
    return Layers().to(dtype)


def make_input(n: int = 2, size: int = 8) -> Tensor:
    return torch.randn(n, 12, size, size, generator=torch.Generator().manual_seed(1))


def attach_to(net: nn.Module, *methods: LayerMethod, targets: Targets = EVERY_LAYER) -> Network:
    from trainers.adapters.targets import select

    network = attach({"unet": net}, methods[0], targets, seed=7)
    for method in methods[1:]:
        network.place(select({"unet": net}, method, targets), seed=7)
    return network


def shake(network: Network, size: float = 0.1) -> None:
    """Move every trained tensor off its start."""
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=draw))


# One layer of every kind that a UNet has, none of them square.
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(12, 20),
    "strided": lambda: nn.Conv2d(12, 20, 3, stride=2, padding=1),
    "dilated": lambda: nn.Conv2d(12, 20, 3, padding=2, dilation=2, bias=False),
    "pointwise": lambda: nn.Conv2d(12, 20, 1),
}


def make_site(kind: str, method: LayerMethod, seed: int = 3, size: float = 0.3) -> Site:
    """One fp64 layer with one method on it, moved off its start."""
    torch.manual_seed(seed)
    return put_on(LAYERS[kind](), method, seed, size)


def put_on(layer: nn.Module, method: LayerMethod, seed: int = 3, size: float = 0.0) -> Site:
    """A method on any layer, both in fp64, and all that trains moved off its start."""
    site = Site("unet", "layer", layer.double().requires_grad_(False), ContextHolder(ForwardContext()))
    draw = torch.Generator().manual_seed(seed)
    shared = MethodTensors(method.share([site], draw))
    site.put(method, TensorView(shared), draw)
    site.double()
    shared.double()
    with torch.no_grad():
        for parameter in (*site.parameters(), *shared.parameters()):
            parameter.add_(size * torch.randn_like(parameter))
    return site


def theta_of(site: Site) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in site.placed[0].theta.items()}


def shared_of(site: Site) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in site.placed[0].shared.items()}


def fit(site: Site, target: Tensor, rounds: int = 3) -> float:
    """Fit a site's ΔW to a matrix with all that trains; the error as a share of the target's square."""
    leaves = list(site.parameters())
    optimizer = torch.optim.LBFGS(leaves, max_iter=400, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = (site.dense() - target).square().sum()
        value.backward()
        return value

    for _ in range(rounds):
        optimizer.step(loss)
    return loss().item() / target.square().sum().item()


def input_for(kind: str, n: int = 2) -> Tensor:
    shape = (n, 5, 12) if kind == "linear" else (n, 12, 7, 6)
    return torch.randn(shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
