"""Command lines of kohya's sd-scripts: from a terminal, a shell script, a batch file or PowerShell, read as a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainers.errors import VelaturaError

COMMENT = re.compile(r"^\s*(#|::|@?rem\b|@?echo\b)", re.IGNORECASE)
CONTINUED = re.compile(r"(?:(?<=[\s\"'])\\|[\^`])[ \t]*\r?\n")
"""The end of a line that goes on, in a shell, a batch file and PowerShell; a backslash also ends folders of Windows."""
PIECE = re.compile(r"""(?:[^\s"']+|"[^"]*"|'[^']*')+|["']""")
QUOTED = re.compile(r""""([^"]*)"|'([^']*)'""")
ASSIGNED = re.compile(r"""^\s*(?:export\s+|set\s+"?|\$(?:env:)?)?(\w+)\s*=\s*(.*?)\s*$""", re.IGNORECASE)
VARIABLE = re.compile(r"\$\{(\w+)\}|\$(?:env:)?(\w+)|%(\w+)%")
SCRIPT = re.compile(r"(?:^|[/\\])(\w+)\.py$")
TRAINS_NETWORKS = re.compile(r"(sdxl_|sd3_|flux_)?train_network")
FAMILIES = {"sdxl_": "sdxl", "sd3_": "sd3_checkbox", "flux_": "flux1_checkbox"}
"""What the interface calls the families of the scripts."""
LISTS = ("network_args", "optimizer_args", "lr_scheduler_args", "text_encoder_lr")
"""Options with several values; another one's value may hold spaces that somebody has forgotten to quote."""


def read_command_line(content: str) -> dict[str, Any] | None:
    """The options of a call of `train_network.py` by name, such as {"network_dim": "16"}; None if there is no call.

    Variables that the script sets are put in. VelaturaError if it calls another script, or several times.
    """
    lines = [line for line in content.replace("\r\n", "\n").split("\n") if not COMMENT.match(line)]
    known: dict[str, str] = {}
    calls = [call for line in CONTINUED.sub(" ", "\n".join(lines)).split("\n") if (call := _call(line, known))]
    if not calls:
        return None
    if len(calls) > 1:
        raise VelaturaError("it holds {count} command lines; give one of them", count=len(calls))
    return calls[0]


def _call(line: str, known: dict[str, str]) -> dict[str, Any] | None:
    """The options of a line that calls a training; a line that sets a variable is added to what is `known`."""
    assigned = ASSIGNED.match(line)
    if assigned and not line.lstrip().startswith("--"):
        value = next(iter(split_line(assigned[2].rstrip('"') if line.lower().startswith("set ") else assigned[2])), "")
        known[assigned[1].lower()] = _filled(value, known)
        return None
    pieces = [_filled(piece, known) for piece in split_line(line)]
    scripts = [at for at, piece in enumerate(pieces) if SCRIPT.search(piece)]
    begins = scripts[0] + 1 if scripts else 0
    options = read_options(pieces[begins:])
    if not scripts:
        return options if pieces[:1] and pieces[0].startswith("--") else None
    if not options:  # another step of the script, such as `python -m venv`
        return None
    found = SCRIPT.search(pieces[scripts[0]])
    name = found[1] if found else ""
    trains = TRAINS_NETWORKS.fullmatch(name)
    if trains is None:
        raise VelaturaError(
            "it calls {script}.py; only calls of train_network.py, sdxl_train_network.py, sd3_train_network.py and "
            "flux_train_network.py are read here",
            script=name,
        )
    return {**options, FAMILIES[trains[1]]: True} if trains[1] else options


def split_line(line: str) -> list[str]:
    """The words of a line, without their quotation marks and without a comment at its end.

    Backslashes are letters: paths of Windows have them more often than shells need them.
    """
    pieces: list[str] = []
    for piece in PIECE.findall(line):
        if piece.startswith("#"):
            break
        pieces.append(QUOTED.sub(lambda found: found[1] or found[2] or "", piece))
    return pieces


def read_options(pieces: Sequence[str]) -> dict[str, Any]:
    """Options with their values: True without one, a list where there may be several."""
    return {name: _value(name, values) for name, values in _options(pieces)}


def _options(pieces: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    starts = [at for at, piece in enumerate(pieces) if re.match(r"--\w", piece)]
    for at, end in zip(starts, [*starts, len(pieces)][1:], strict=True):
        name, is_given, value = pieces[at].removeprefix("--").partition("=")
        yield name, [*([value] if is_given else []), *pieces[at + 1 : end]]


def _value(name: str, values: list[str]) -> Any:
    if name in LISTS and values:
        return values
    return " ".join(values) if values else True


def _filled(piece: str, known: Mapping[str, str]) -> str:
    """A word with the variables that are known; others stay as they are, and are then no value of anything."""
    return VARIABLE.sub(lambda found: known.get((found[1] or found[2] or found[3]).lower(), found[0]), piece)
