"""A module that is imported when it is first used: `load_when_used`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

from trainers.models.quiet import only_errors

RARELY_USED = ("bitsandbytes",)
"""Modules that libraries import wherever they are installed, and that few processes use.

Diffusers imports bitsandbytes, and with it torch's compiler: a quarter of the time until a training starts.
"""


def load_rarely_used() -> None:
    """Let modules that few processes use be imported when one does."""
    for name in RARELY_USED:
        load_when_used(name)


def load_when_used(name: str) -> None:
    """Let `import name` cost nothing until an attribute or submodule is needed; nothing where it is not installed.

    `importlib.util.LazyLoader` does not do here: code that only looks through `sys.modules`, as `inspect.getmodule`
    does, would load it.
    """
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None:
        return
    module = _Unloaded(name)
    # What others ask every module for, answered without loading it. Without `__path__`, a submodule's import loads it.
    module.__spec__, module.__file__, module.__loader__ = spec, spec.origin, spec.loader
    sys.modules[name] = module


class _Unloaded(ModuleType):
    """Stands for a module in `sys.modules` and leaves that place to the real one."""

    def __getattr__(self, attribute: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        with only_errors(self.__name__):
            return getattr(importlib.import_module(self.__name__), attribute)
