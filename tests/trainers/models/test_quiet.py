"""What libraries would say while they are imported and used is left out, and only there."""

from __future__ import annotations

import logging
import warnings

from trainers.models.quiet import quietly


def test_libraries_only_log_errors_and_are_as_before_afterwards(caplog):
    bitsandbytes = logging.getLogger("bitsandbytes.triton")

    def missing() -> None:
        bitsandbytes.warning("No module named kernels")

    before = logging.getLogger("bitsandbytes").level
    with quietly("diffusers"), warnings.catch_warnings(record=True) as warned:
        missing()
        warnings.warn("will be removed", FutureWarning, stacklevel=1)
        bitsandbytes.error("no CUDA")
    assert caplog.messages == ["no CUDA"] and warned == []
    missing()
    assert caplog.messages[1:] == ["No module named kernels"]
    assert logging.getLogger("bitsandbytes").level == before
