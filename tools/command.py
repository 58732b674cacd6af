"""Shared by the commands of the tools."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from trainers.errors import VelaturaError

P = ParamSpec("P")


def reports_errors(main: Callable[P, int]) -> Callable[P, int]:
    """Print a VelaturaError of a command on standard error and return 1; with `--help` print its module's docstring."""

    @wraps(main)
    def command(*args: P.args, **kwargs: P.kwargs) -> int:
        if {"-h", "--help"} & set(args):
            print(sys.modules[main.__module__].__doc__)
            return 0
        try:
            return main(*args, **kwargs)
        except VelaturaError as error:
            print(error, file=sys.stderr)
            return 1

    return command
