"""Networks and layers without the wrappers of torch.compile and of parallel training."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

COMPILED = "_orig_mod"
"""The name of the module in torch.compile's wrapper."""


def unwrapped(net: nn.Module) -> nn.Module:
    """The network inside wrappers of torch.compile and of parallel training, which change its layers' names."""
    while True:
        if isinstance(net, nn.DataParallel | nn.parallel.DistributedDataParallel):
            net = net.module
        elif (compiled := net._modules.get(COMPILED)) is not None:
            net = compiled
        else:
            return net


def named_modules(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """A network's modules by path, without torch.compile's wrappers and their names."""
    for path, module in net.named_modules():
        if COMPILED not in module._modules:
            yield ".".join(name for name in path.split(".") if name != COMPILED), module


def is_compiled(net: nn.Module) -> bool:
    """Whether torch.compile acts on a network or a module in it."""
    return any(COMPILED in module._modules or module._compiled_call_impl is not None for module in net.modules())


def module_at(net: nn.Module, path: str) -> nn.Module:
    """The module at a path of `named_modules`."""
    return unwrapped(net.get_submodule(path))  # a wrapper has its network's attributes
