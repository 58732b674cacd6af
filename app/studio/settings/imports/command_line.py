"""Reads command lines of kohya's sd-scripts, from a terminal, a shell script, a batch file or PowerShell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from trainers.errors import VelaturaError

COMMENT = re.compile(r"^\s*(#|::|@?rem\b|@?echo\b)", re.IGNORECASE)
CONTINUED = re.compile(r"(?:(?<=[\s\"'])\\|[\^`])[ \t]*\r?\n")
"""The end of a continued line in a shell, a batch file and PowerShell; Windows folders also end with a backslash."""
PIECE = re.compile(r"""(?:[^\s"']+|"[^"]*"|'[^']*')+|["']""")
QUOTED = re.compile(r""""([^"]*)"|'([^']*)'""")
ASSIGNED = re.compile(r"""^\s*(?:export\s+|set\s+"?|\$(?:env:)?)?(\w+)\s*(\+?)=(.*)$""", re.IGNORECASE)
ARRAY = re.compile(r"^\s*\$?(\w+)\s*(\+?)=\s*@?\((.*)$")
"""The start of an array in a shell or PowerShell."""
VARIABLE = re.compile(r"\$\{(\w+)(?::?[-=]([^}]*))?\}|\$(?:env:)?(\w+)|%(\w+)%")
"""A variable, in a shell possibly with a default: `${LR:-1e-4}`."""
WHOLE = re.compile(r"\$\{(\w+)(?:\[[@*]\])?\}|[$@](\w+)|%(\w+)%")
"""A word that is one variable, which may contain several words."""
SCRIPT = re.compile(r"(?:^|[/\\])(\w+)\.py$")
TRAINS_NETWORKS = re.compile(r"(sdxl_|sd3_|flux_)?train_network")
MOST_FILLED = 100_000
"""Maximum letters that variables may expand to in a script."""
LISTS = ("network_args", "optimizer_args", "lr_scheduler_args", "text_encoder_lr")
"""Options with several values; other values may hold unquoted spaces."""


def read_command_line(content: str) -> dict[str, Any] | None:
    """The options of a call of `train_network.py` by name, such as {"network_dim": "16"}; None without a call.

    `script` is the name of a family's own script. Variables are expanded. VelaturaError if another script is called, or
    several, or if variables become too long.
    """
    lines = [line for line in content.replace("\r\n", "\n").split("\n") if not COMMENT.match(line)]
    variables = Variables()
    joined = iter(CONTINUED.sub(" ", "\n".join(lines)).split("\n"))
    calls = [call for line in joined if not _set_array(line, joined, variables) and (call := _call(line, variables))]
    if not calls:
        return None
    if len(calls) > 1:
        raise VelaturaError("it holds {count} command lines; give one of them", count=len(calls))
    return calls[0]


class Variables:
    """The variables of a script. They may contain each other, so their length is limited."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._arrays: dict[str, list[str]] = {}
        self._left = MOST_FILLED

    def set(self, name: str, value: str, adds: bool = False) -> None:
        """Set a variable, or add to it; names ignore case."""
        before = self._values.get(name.lower(), "") if adds else ""
        self._values[name.lower()] = before + self.fill(value)

    def set_array(self, name: str, words: Sequence[str], adds: bool = False) -> None:
        """Set an array, or add to it."""
        before = self._arrays.get(name.lower(), []) if adds else []
        self._arrays[name.lower()] = [*before, *self.expand(words)]

    def expand(self, words: Sequence[str]) -> list[str]:
        """Words with their variables expanded; arrays, and variables with options, become several words."""
        return [each for word in words for each in self._words(word)]

    def _words(self, word: str) -> list[str]:
        reference = WHOLE.fullmatch(word)
        name = (reference[1] or reference[2] or reference[3]).lower() if reference else ""
        if name in self._arrays:
            for each in self._arrays[name]:
                self._count(len(each) + 1)
            return self._arrays[name]
        filled = self.fill(word)
        return split_line(filled) if reference and filled.lstrip().startswith("--") else [filled]

    def fill(self, word: str) -> str:
        """A word with its variables expanded; unknown ones stay. VelaturaError if it becomes too long."""
        return VARIABLE.sub(self._value, word)

    def _value(self, reference: re.Match[str]) -> str:
        name, default = reference[1] or reference[3] or reference[4], reference[2]
        value = self._values.get(name.lower(), reference[0] if default is None else default)
        self._count(len(value))
        return value

    def _count(self, letters: int) -> None:
        self._left -= letters
        if self._left < 0:
            raise VelaturaError(
                "its variables put in more than {most:,} letters; write out the options instead", most=MOST_FILLED
            )


def _set_array(line: str, following: Iterator[str], variables: Variables) -> bool:
    """Set an array that starts in this line, with its lines from `following`; returns whether there is one."""
    begun = ARRAY.match(line)
    if begun is None:
        return False
    words: list[str] = []
    rest: str | None = begun[3]
    while rest is not None:
        is_last = rest.rstrip().endswith(")")
        words += split_line(rest.rstrip().removesuffix(")") if is_last else rest)
        rest = None if is_last else next(following, None)
    variables.set_array(begun[1], [word.rstrip(",") for word in words] if "@(" in line else words, bool(begun[2]))
    return True


def _call(line: str, variables: Variables) -> dict[str, Any] | None:
    """The options of a line that calls a training; sets the variables of other lines."""
    assigned = ASSIGNED.match(line)
    if assigned and not line.lstrip().startswith("--"):
        written = assigned[3].strip()
        if line.lower().startswith("set "):
            written = written.rstrip('"') if 'set "' in line.lower() else written
        takes_all = line.lower().startswith("set ") and written.startswith(("--", "%"))
        words = [written] if takes_all else split_line(written)
        variables.set(assigned[1], next(iter(words), ""), bool(assigned[2]))
        return None
    pieces = variables.expand(split_line(line))
    scripts = [at for at, piece in enumerate(pieces) if SCRIPT.search(piece)]
    begins = scripts[0] + 1 if scripts else 0
    options = read_options(pieces[begins:])
    if not scripts:
        return options if pieces[:1] and pieces[0].startswith("--") else None
    if not options:  # another step of the script, such as `python -m venv`
        return None
    match = SCRIPT.search(pieces[scripts[0]])
    name = match[1] if match else ""
    trains = TRAINS_NETWORKS.fullmatch(name)
    if trains is None:
        raise VelaturaError(
            "it calls {script}.py; only calls of train_network.py, sdxl_train_network.py, sd3_train_network.py and "
            "flux_train_network.py are read here",
            script=name,
        )
    return {**options, "script": name} if trains[1] else options


def split_line(line: str) -> list[str]:
    """The words of a line, without quotation marks and a comment at the end.

    Backslashes are letters, for paths of Windows.
    """
    pieces: list[str] = []
    for piece in PIECE.findall(line):
        if piece.startswith("#"):
            break
        pieces.append(QUOTED.sub(lambda match: match[1] or match[2] or "", piece))
    return pieces


def read_options(pieces: Sequence[str]) -> dict[str, Any]:
    """Options with their values: True without one, a list if several are possible."""
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
