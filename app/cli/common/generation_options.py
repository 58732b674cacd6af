"""The options of a generation as options of a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from app.studio.generation.options import OPTIONS, Option

Command = Callable[..., None]


def takes_generation_options(after: str) -> Callable[[Command], Command]:
    """Give a command every option, as typed, instead of its `**options`, listed after the parameter `after`."""

    def taking(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        parameters = [
            each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for each in signature.parameters.values()
            if each.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        place = [each.name for each in parameters].index(after) + 1
        parameters[place:place] = [_parameter(option) for option in OPTIONS.values() if option.command_line]
        vars(command)["__signature__"] = signature.replace(parameters=parameters)
        return command

    return taking


def _parameter(option: Option) -> inspect.Parameter:
    name = f"--{option.name}"
    default: str | bool | None = option.write(option.default) or None
    kind: Any = Annotated[str | None, typer.Option(name, metavar=option.metavar, help=_help(option))]
    if option.kind == "switch":
        default, kind = option.default, Annotated[bool, typer.Option(name, help=option.meaning)]
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _help(option: Option) -> str:
    if option.choices:
        return f"{option.meaning} One of {', '.join(option.choices)}."
    return f"{option.meaning} From {option.range}." if option.range else option.meaning
