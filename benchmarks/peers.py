"""PEFT's and LyCORIS' adapters on given layers of a network, and the way back.

Their factors are put in the base's own dtype, which is the fastest that they run without autocast; ours are fp32, and
so are PEFT's LoRA factors in a row of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainers.adapters.method import LayerMethod
from trainers.adapters.methods.adalora import AdaLoRA
from trainers.adapters.methods.ia3 import IA3
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.oft import OFT
from trainers.adapters.methods.vera import VeRA

FULL = 100_000  # a rank so high that a LoKr keeps its large factor full


@dataclass(frozen=True)
class Placed:
    """A method on a network: what it trains, the way back, and the context of a step, which gives its penalty."""

    trained: Sequence[nn.Parameter]
    restore: Callable[[], None]
    training: Callable[[], AbstractContextManager[Callable[[], Tensor | None]]] = lambda: nullcontext(lambda: None)


def peft_config(method: LayerMethod, layers: Sequence[str], convolutions: bool = False) -> Any:
    """PEFT's settings for a method of ours on these layers; None if it lacks the method, or has it for fewer layers."""
    import peft

    targets = {"target_modules": list(layers)}
    match method:
        case LoRA(start="zero", freeze_a=False, tucker=False):
            return peft.LoraConfig(r=method.rank, lora_alpha=method.alpha, use_dora=method.dora, **targets)
        case LoHA():
            return peft.LoHaConfig(r=method.rank, alpha=method.alpha, **targets)
        case LoKr(full_matrix=True):
            return peft.LoKrConfig(r=FULL, alpha=FULL, decompose_factor=method.factor, **targets)
        case OFT(butterfly=True) if not convolutions:  # on which it takes more than 24 GB
            return peft.BOFTConfig(boft_block_size=method.block_size, boft_n_butterfly_factor=2, **targets)
        case OFT(side="output", butterfly=False):
            return peft.OFTConfig(r=0, oft_block_size=method.block_size, **targets)
        case IA3():
            return peft.IA3Config(feedforward_modules=[], **targets)
        case VeRA() if not convolutions:
            return peft.VeraConfig(r=method.rank, **targets)
        case AdaLoRA() if not convolutions:
            ranks = {"init_r": method.rank, "target_r": method.target_rank, "lora_alpha": method.alpha}
            return peft.AdaLoraConfig(**ranks, total_step=100, **targets)
    return None


def place_peft(
    net: nn.Module, paths: Sequence[str], method: LayerMethod, dtype: torch.dtype = torch.bfloat16
) -> Placed:
    """PEFT's form of a method on the layers at `paths`."""
    from peft import get_peft_model, inject_adapter_in_model

    before = {path: net.get_submodule(path) for path in paths}
    config = peft_config(method, paths)
    if isinstance(method, VeRA):  # whose layers share matrices, which only PEFT's model holds
        get_peft_model(net, config, "benchmark")
        layer: Any = net.get_submodule(paths[0])
        for shared in (layer.vera_A, layer.vera_B):
            shared["benchmark"] = shared["benchmark"].to(dtype)
    else:
        inject_adapter_in_model(config, net, "benchmark")
    trained = [p for p in net.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.data = parameter.data.to(dtype)
    missed = [path for path, layer in before.items() if net.get_submodule(path) is layer]
    assert not missed, f"PEFT left {missed[0]} as it was"

    def restore() -> None:
        for path, layer in before.items():
            net.set_submodule(path, layer)
        if hasattr(net, "peft_config"):
            del net.peft_config

    return Placed(trained, restore)


def place_peft_fp32(net: nn.Module, paths: Sequence[str], method: LayerMethod) -> Placed:
    """The same with fp32 factors, as PEFT and the training scripts of diffusers keep them."""
    return place_peft(net, paths, method, torch.float32)


def lycoris_has(method: str) -> bool:
    """Whether LyCORIS' form of a preset's method is measured."""
    return method in ("lora", "loha", "lokr", "oft")


def place_lycoris(net: nn.Module, paths: Sequence[str], method: LayerMethod) -> Placed:
    """LoCon, LoHa, LoKr or OFT of LyCORIS at `paths`, as it runs by default."""
    from lycoris.modules.diag_oft import DiagOFTModule
    from lycoris.modules.locon import LoConModule
    from lycoris.modules.loha import LohaModule
    from lycoris.modules.lokr import LokrModule

    kind: Any
    match method:
        case LoRA():
            kind, options = LoConModule, {"lora_dim": method.rank, "alpha": method.alpha}
        case LoHA():
            kind, options = LohaModule, {"lora_dim": method.rank, "alpha": method.alpha}
        case LoKr():
            kind = LokrModule
            options = {"lora_dim": FULL, "alpha": FULL, "factor": method.factor, "full_matrix": True}
        case OFT():
            kind, options = DiagOFTModule, {"lora_dim": method.block_size}
        case _:
            raise ValueError(f"LyCORIS' form of {method} is not measured")
    dtype = next(net.parameters()).dtype
    placed = [kind(path.replace(".", "_"), net.get_submodule(path), 1.0, **options).to(dtype) for path in paths]
    for module in placed:
        module.apply_to()

    def restore() -> None:
        for module in placed:
            module.restore()

    return Placed([p for module in placed for p in module.parameters() if p.requires_grad], restore)
