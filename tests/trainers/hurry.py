"""What lets many runs in one process take half of their time: a base is read once, nothing waits for the disk."""

from __future__ import annotations

import copy
import gc
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

MOST_BASES = 4
"""How many bases are kept in memory; the bundled one takes 120 MB."""


@contextmanager
def hurrying() -> Iterator[None]:
    """Read each base once, write without waiting for the disk, and collect garbage only when Python does by itself.

    A run collects garbage at its end, which takes as long as two steps; here, nothing else waits for the memory. How
    bases are read is tested in `tests/trainers/models`, what is waited for in `tests/trainers/runs/test_run.py`.
    """
    import diffusers
    import transformers
    from accelerate import Accelerator
    from accelerate.utils import memory

    from trainers.models import load

    assert diffusers.StableDiffusionPipeline and transformers.CLIPTextModel and Accelerator
    gc.collect(1)  # not what is old: to look through all that is imported takes as long as three runs
    gc.freeze()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(load, "_from_folder", read_once(load._from_folder))
            patch.setattr(os, "fsync", lambda _: None)
            patch.setattr(memory, "gc", SimpleNamespace(collect=lambda: 0))
            yield
    finally:
        gc.unfreeze()


@contextmanager
def without_pictures() -> Iterator[None]:
    """Let runs draw nothing, which is more than half of a quick run's time; the pictures' own tests do without this."""
    from trainers.training.previews import Finals, Previews

    def no_finals(previews: Any, _style: Any, _step: int, stopped_by: str = "") -> Finals:
        previews.session.run.clear_stop()
        return Finals(None if stopped_by else previews.session.run.samples / "before-after.png", 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Previews, "before_step", lambda *_: None)
        patch.setattr(Previews, "finish", no_finals)
        yield


def read_once(read: Callable[..., Any]) -> Callable[..., Any]:
    """`_from_folder` that gives copies of what it has read, as long as the folder's files are the same."""
    kept: dict[str, Any] = {}

    def from_folder(source: Any, settings: Any, dtype: Any, device: Any) -> Any:
        files = ((path, path.stat()) for path in sorted(source.path.rglob("*")))
        state = [(str(path), found.st_mtime_ns, found.st_size) for path, found in files]
        key = repr((source, settings, dtype, str(device), state))
        if key not in kept:
            if len(kept) == MOST_BASES:
                del kept[next(iter(kept))]
            kept[key] = read(source, settings, dtype, device)
        loaded = kept[key]
        tokenizers = {id(part): part for name, part in loaded.parts.items() if name.startswith("tokenizer")}
        return replace(loaded, parts=copy_networks(dict(loaded.parts), tokenizers))

    return from_folder


def copy_networks(value: Any, memo: dict[int, Any] | None = None) -> Any:
    """A deep copy of what holds networks, in a third of `deepcopy`'s time, most of which goes into empty containers."""
    from torch import nn

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "__deepcopy__", _copy_module, raising=False)
        return copy.deepcopy(value, memo)


def _copy_module(module: Any, memo: dict[int, Any]) -> Any:
    made = memo[id(module)] = object.__new__(type(module))
    for name, value in vars(module).items():
        empty = type(value) in (dict, OrderedDict, set) and not value
        vars(made)[name] = type(value)() if empty else copy.deepcopy(value, memo)
    return made
