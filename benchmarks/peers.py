"""PEFT's and LyCORIS' adapters on given layers of a network, and the way back.

Their factors are put in the base's own dtype, which is the fastest that they run without autocast; ours are fp32, and
so are PEFT's LoRA factors in a row of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

Restore = Callable[[], None]

BLOCK = 32
"""Channels that an OFT turns together."""
FULL = 100_000  # a rank so high that a LoKr keeps its large factor full


def place_peft(
    net: nn.Module, paths: Sequence[str], method: str, dtype: torch.dtype = torch.bfloat16
) -> tuple[list[nn.Parameter], Restore]:
    """LoRA r16, LoHa r8, LoKr (factor 8, full) or OFT (blocks of 32) of PEFT on the layers at `paths`."""
    from peft import LoHaConfig, LoKrConfig, LoraConfig, OFTConfig, inject_adapter_in_model

    layers = list(paths)
    configs: dict[str, Any] = {
        "lora": LoraConfig(r=16, lora_alpha=16, target_modules=layers),
        "loha": LoHaConfig(r=8, alpha=8, target_modules=layers),
        "lokr": LoKrConfig(r=FULL, alpha=FULL, decompose_factor=8, target_modules=layers),
        "oft": OFTConfig(r=0, oft_block_size=BLOCK, target_modules=layers),
    }
    before = {path: net.get_submodule(path) for path in paths}
    inject_adapter_in_model(configs[method], net, "benchmark")
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

    return trained, restore


def place_peft_fp32(net: nn.Module, paths: Sequence[str], method: str) -> tuple[list[nn.Parameter], Restore]:
    """The same with fp32 factors, as PEFT and the training scripts of diffusers keep them."""
    return place_peft(net, paths, method, torch.float32)


def place_lycoris(net: nn.Module, paths: Sequence[str], method: str) -> tuple[list[nn.Parameter], Restore]:
    """LoCon r16, LoHa r8, LoKr (factor 8, full) or OFT (blocks of 32) of LyCORIS at `paths`, as it runs by default."""
    from lycoris.modules.diag_oft import DiagOFTModule
    from lycoris.modules.locon import LoConModule
    from lycoris.modules.loha import LohaModule
    from lycoris.modules.lokr import LokrModule

    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "lora": (LoConModule, {"lora_dim": 16, "alpha": 16}),
        "loha": (LohaModule, {"lora_dim": 8, "alpha": 8}),
        "lokr": (LokrModule, {"lora_dim": FULL, "alpha": FULL, "factor": 8, "full_matrix": True}),
        "oft": (DiagOFTModule, {"lora_dim": BLOCK}),
    }
    kind, options = kinds[method]
    dtype = next(net.parameters()).dtype
    placed = [kind(path.replace(".", "_"), net.get_submodule(path), 1.0, **options).to(dtype) for path in paths]
    for module in placed:
        module.apply_to()

    def restore() -> None:
        for module in placed:
            module.restore()

    return [p for module in placed for p in module.parameters() if p.requires_grad], restore
