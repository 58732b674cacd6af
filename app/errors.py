"""What a user is told when something goes wrong: one sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping

from trainers.errors import DISK_FULL, FORBIDDEN, OUT_OF_MEMORY, VelaturaError, failure_code

NAME_FIRST = re.compile(r"\w+\.\w")
"""How a sentence begins whose first word is a setting's key or a file's name, which keep their letters."""


class FieldErrors(VelaturaError):  # noqa: N818 - it is as many as there are fields
    """What has to be changed before something can be done: a sentence for each field, by the field's name."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(next(iter(problems.values())))
        self.problems = dict(problems)


def sentence(error: Exception) -> str:
    """One sentence about an error: our own words where it is foreseen, else its kind and first line."""
    if isinstance(error, VelaturaError):
        return " ".join(str(error).splitlines())
    code = failure_code(error)
    if code == DISK_FULL:
        return "the disk is full: make room, and `velatura resume` goes on with a run that has a checkpoint"
    if isinstance(error, OSError) and error.errno in FORBIDDEN:
        return f"no permission to use {error.filename or 'a file'}; choose another place or change its rights"
    if code == OUT_OF_MEMORY:
        return (
            "there is not enough memory: lower train.batch_size or data.resolution, "
            "or set train.gradient_checkpointing = true (`--preset low-memory` does); "
            "a picture needs less with a smaller --size, several with --batch 1"
        )
    first = (str(error).strip().splitlines() or [""])[0]
    what = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return f"something unexpected went wrong ({what}); --debug shows where"


def as_sentence(error: Exception) -> str:
    """An error of the library as a whole sentence: a capital first, but for names, and a full stop last."""
    said = str(error)
    is_name = NAME_FIRST.match(said) is not None
    return (said if is_name else f"{said[:1].upper()}{said[1:]}") + ("" if said.endswith(".") else ".")
