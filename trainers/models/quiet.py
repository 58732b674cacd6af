"""Silences the libraries' progress bars and reports while loading."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quietly(*names: str) -> Iterator[None]:
    """Turn off progress bars and warnings of the named libraries, by default diffusers and transformers.

    Both take seconds to import, so name only those in use.
    """
    libraries = [importlib.import_module(f"{name}.utils.logging") for name in names or ("diffusers", "transformers")]
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    try:
        for library in libraries:
            library.set_verbosity_error()
            library.disable_progress_bar()
        with only_errors("bitsandbytes"), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # diffusers warns of its own calls
            yield
    finally:
        for library, (verbosity, bars) in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
            if bars:
                library.enable_progress_bar()


@contextmanager
def only_errors(name: str) -> Iterator[None]:
    """Log only errors of a library; bitsandbytes reports missing packages on import."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
