"""Silences the libraries' progress bars and reports while loading."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quietly(*names: str) -> Iterator[None]:
    """Switch progress bars and warnings of the named libraries off for a while, then back as they were.

    Without names these are diffusers and transformers. Both take seconds to import, so name the one that is used.
    """
    kernels = logging.getLogger("bitsandbytes")  # says at its import what it would have in another package
    level = kernels.level
    libraries = [importlib.import_module(f"{name}.utils.logging") for name in names or ("diffusers", "transformers")]
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    try:
        kernels.setLevel(logging.ERROR)
        for library in libraries:
            library.set_verbosity_error()
            library.disable_progress_bar()
        yield
    finally:
        kernels.setLevel(level)
        for library, (verbosity, bars) in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
            if bars:
                library.enable_progress_bar()
