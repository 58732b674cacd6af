"""Modules that are imported when they are first used."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

from trainers.models.quiet import only_errors

RARELY_USED = ("bitsandbytes",)
"""Modules that libraries import if installed, and that few processes use.

Diffusers imports bitsandbytes and thereby torch's compiler, a quarter of the time until a training starts.
"""


def load_rarely_used() -> None:
    """Defer the import of modules that few processes use."""
    for name in RARELY_USED:
        load_when_used(name)


def load_when_used(name: str) -> None:
    """Defer `import name` until an attribute or submodule is needed; does nothing if it is not installed.

    `importlib.util.LazyLoader` would load it for code that only looks through `sys.modules`, as `inspect.getmodule`.
    """
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None:
        return
    module = _Unloaded(name)
    # Attributes that others read of every module. Without `__path__`, a submodule's import loads it.
    module.__spec__, module.__file__, module.__loader__ = spec, spec.origin, spec.loader
    sys.modules[name] = module


class _Unloaded(ModuleType):
    """Stands in for a module in `sys.modules` until it is loaded."""

    def __getattr__(self, attribute: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        with only_errors(self.__name__):
            return getattr(importlib.import_module(self.__name__), attribute)
