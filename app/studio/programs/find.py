"""Finds programs on this machine that draw with styles, and their folders for them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from app.state_file import StateFile
from app.studio.paths import Paths
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.models.bases.find import CLIENTS
from trainers.models.files.parts import usual_folders

Kind = Literal["comfyui", "a1111", "forge", "invoke"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Found = Literal["remembered", "variable", "running", "usual"]
"""How a program was found, in order of precedence."""
FRESH_FOR = 30.0
"""Seconds for which a search is valid."""
ONLY_THE_OWNER = _("only whoever runs this studio can put styles into programs on its computer")


@dataclass(frozen=True)
class Program:
    """A program: its name, usual places, and folders."""

    title: str
    names: tuple[str, ...]
    variables: tuple[str, ...]
    """Environment variables that name its folder."""
    styles: str
    embeddings: str
    marks: tuple[str, ...]
    """Files or folders by which it is recognised; one is enough."""


PROGRAMS: Mapping[Kind, Program] = {
    "comfyui": Program(
        "ComfyUI",
        (*CLIENTS["comfyui"][0], "Documents/ComfyUI", "StabilityMatrix/Packages/ComfyUI"),
        ("COMFYUI_PATH",),
        "models/loras",
        "models/embeddings",
        ("comfy", "models/loras"),
    ),
    "forge": Program(
        "Forge",
        ("stable-diffusion-webui-forge", "stable-diffusion-webui-reForge", "webui_forge/webui"),
        ("FORGE_PATH",),
        "models/Lora",
        "embeddings",
        ("modules_forge",),
    ),
    "a1111": Program(
        "A1111",
        ("stable-diffusion-webui",),
        ("A1111_PATH",),
        "models/Lora",
        "embeddings",
        ("webui.py",),
    ),
    "invoke": Program(
        "InvokeAI",
        ("invokeai", "InvokeAI"),
        ("INVOKEAI_ROOT",),
        "velatura",  # `models` belongs to its database; other folders are listed after a scan
        "velatura",
        ("invokeai.yaml", "databases"),
    ),
}
"""The first matching kind counts: Forge has the files of A1111, too."""
STARTERS = ("main.py", "webui.py", "launch.py", "invokeai-web")
"""Scripts that start these programs."""


@dataclass(frozen=True)
class Place:
    """A program on this machine."""

    kind: Kind
    folder: Path
    found: Found

    @property
    def program(self) -> Program:
        return PROGRAMS[self.kind]

    @property
    def styles(self) -> Path:
        """Its folder for styles."""
        return self.folder / self.program.styles

    @property
    def embeddings(self) -> Path:
        """Its folder for embeddings."""
        return self.folder / self.program.embeddings


def kind_of(folder: Path) -> Kind | None:
    """The kind of program in a folder; None without one."""
    for kind, program in PROGRAMS.items():
        if any((folder / mark).exists() for mark in program.marks):
            return kind
    return None


def kind_called(name: str) -> Kind:
    """The kind of this name. VelaturaError without one."""
    for kind in KINDS:
        if kind == name:
            return kind
    raise VelaturaError("there is no program {name!r}; known are {programs}", name=name, programs=", ".join(KINDS))


def find_programs(remembered: Mapping[Kind, Path]) -> list[Place]:
    """The programs on this machine, at most one of a kind.

    Searches remembered folders, environment variables, running programs and the usual places, in this order.
    """
    places: dict[Kind, Place] = {}
    for kind, folder, found in _candidates(remembered):
        with suppress(OSError):  # an unreadable folder
            if kind not in places and kind_of(folder) == kind:
                places[kind] = Place(kind, folder.absolute(), found)
    return [places[kind] for kind in KINDS if kind in places]


def _candidates(remembered: Mapping[Kind, Path]) -> Iterator[tuple[Kind, Path, Found]]:
    for kind, folder in remembered.items():
        yield kind, folder, "remembered"
    for kind, program in PROGRAMS.items():
        for variable in program.variables:
            if value := os.environ.get(variable, "").strip():
                yield kind, Path(value).expanduser(), "variable"
    for folder in running_from():
        for kind in KINDS:
            yield kind, folder, "running"
    for kind, program in PROGRAMS.items():
        for folder in usual_folders(program.names):
            yield kind, folder, "usual"


def running_from() -> Iterator[Path]:
    """Folders from which this user's running Python scripts with the names of such programs were started."""
    import psutil

    user = psutil.Process().username()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError, IndexError):
            if process.username() != user:  # as root, too: other users' programs are not trusted
                continue
            for argument in process.cmdline()[:6]:
                if Path(argument).name in STARTERS:
                    script = Path(process.cwd()) / argument
                    yield from (script.parent, script.parent.parent.parent)  # also for scripts in .venv/bin
                    if root := process.environ().get("INVOKEAI_ROOT"):
                        yield Path(root)


class Remembered:
    """The folders of programs that a person has named, in a file per folder of runs."""

    def __init__(self, runs: Path) -> None:
        self._root = Paths(runs).root
        self._file = StateFile(self._root / "programs.json", _parse, json.dumps)

    def read(self) -> dict[Kind, Path]:
        """The folders by kind."""
        kept = self._file.read() or {}
        return {kind: Path(kept[kind]) for kind in KINDS if kind in kept}

    def keep(self, kind: Kind, folder: Path) -> Place:
        """Remember a program's folder. VelaturaError without such a program."""
        folder = folder.expanduser().absolute()
        if kind_of(folder) != kind:
            program = PROGRAMS[kind]
            raise VelaturaError(
                "{folder} is not the folder of {program}: it would hold {mark}",
                folder=folder,
                program=program.title,
                mark=program.marks[0],
            )
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._file.lock():
            self._file.write({**(self._file.read() or {}), kind: str(folder)})
        return Place(kind, folder, "remembered")


class Nearby:
    """The programs that a studio offers to its machine's owner, searched at most every half minute."""

    def __init__(self, runs: Path, allowed: bool) -> None:
        self.remembered, self.allowed = Remembered(runs), allowed
        """Whether people may write into folders of this machine; not on a shared studio."""
        self._found: tuple[float, list[Place]] = (float("-inf"), [])
        self._lock = threading.Lock()

    def found(self) -> list[Place]:
        """The programs; none on a shared studio."""
        if not self.allowed:
            return []
        with self._lock:
            when, found = self._found
            if time.monotonic() - when > FRESH_FOR:
                found = find_programs(self.remembered.read())
                self._found = time.monotonic(), found
            return found

    def remember(self, kind: Kind, folder: Path) -> Place:
        """Remember a program's folder. VelaturaError without such a program, or on a shared studio."""
        if not self.allowed:
            raise VelaturaError(ONLY_THE_OWNER)
        place = self.remembered.keep(kind, folder)
        with self._lock:
            self._found = (float("-inf"), [])
        return place

    def of(self, kind: str) -> Place:
        """The program of a kind. VelaturaError if it is not on this machine, or on a shared studio."""
        if not self.allowed:
            raise VelaturaError(ONLY_THE_OWNER)
        for place in self.found():
            if place.kind == kind:
                return place
        raise VelaturaError("this program is no longer where it was; load the page again")


def _parse(content: bytes) -> dict[str, str]:
    kept = json.loads(content)
    if not isinstance(kept, dict) or not all(isinstance(folder, str) for folder in kept.values()):
        raise ValueError("its folders are missing")
    return kept
