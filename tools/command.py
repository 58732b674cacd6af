"""Shared by the commands of the tools."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from trainers.errors import VelaturaError

P = ParamSpec("P")


def reports_errors(main: Callable[P, int]) -> Callable[P, int]:
    """Print a VelaturaError of a command on standard error and return 1."""

    @wraps(main)
    def command(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except VelaturaError as error:
            print(error, file=sys.stderr)
            return 1

    return command
