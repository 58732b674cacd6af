"""Silences the libraries' progress bars and reports while loading."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quietly(*names: str) -> Iterator[None]:
    """Turn off progress bars and warnings of the named libraries within the context.

    The default is diffusers and transformers. Both take seconds to import, so name only those that are used.
    """
    kernels = logging.getLogger("bitsandbytes")  # logs on import about optional packages
    level = kernels.level
    libraries = [importlib.import_module(f"{name}.utils.logging") for name in names or ("diffusers", "transformers")]
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    try:
        kernels.setLevel(logging.ERROR)
        for library in libraries:
            library.set_verbosity_error()
            library.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what diffusers will rename within itself
            yield
    finally:
        kernels.setLevel(level)
        for library, (verbosity, bars) in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
            if bars:
                library.enable_progress_bar()
