"""What the tools' commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from trainers.errors import VelaturaError

P = ParamSpec("P")


def tells_errors(main: Callable[P, int]) -> Callable[P, int]:
    """Let a command that raises VelaturaError say it on standard error and return 1."""

    @wraps(main)
    def told(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except VelaturaError as error:
            print(error, file=sys.stderr)
            return 1

    return told
