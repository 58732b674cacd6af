"""The files that a job needs on another machine: its folder, and what its settings name, by content."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import tomli_w

from app.jobs.job import REQUEST
from trainers.runs.run import STOP

CONFIG = "config.toml"
SETTINGS = (CONFIG, REQUEST)
"""Files of a job's folder with paths of other files; a node has its own versions."""
PATHS = frozenset({"base.model", "base.parts.*", "data.images", "base", "styles.*.path"})
"""Settings of runs and drawings that are paths."""
APPENDED = ("events.jsonl", "log.txt", "process.log")
"""Files of a job's folder that only grow."""
BLOCK = 2**22
"""Bytes read or sent at once."""
SELF = "."
"""Path within an input that is a single file."""


@dataclass(frozen=True)
class Blob:
    """A file's content."""

    digest: str
    size: int


@dataclass(frozen=True)
class Parcel:
    """The files of a job."""

    name: str
    """Name of the job's folder."""
    files: Mapping[str, Blob]
    """By path in the job's folder."""
    inputs: Mapping[str, Mapping[str, Blob]]
    """Files and folders elsewhere that the job's settings name, by path, then by path within."""

    def blobs(self) -> dict[str, Blob]:
        """Every content, by digest."""
        inputs = (blob for files in self.inputs.values() for blob in files.values())
        return {blob.digest: blob for blob in (*self.files.values(), *inputs)}


def pack(folder: Path) -> tuple[Parcel, dict[str, Path]]:
    """The parcel of a job, and the file of each content by digest."""
    places: dict[str, Path] = {}

    def take(path: Path) -> Blob:
        blob = digest_of(path)
        places[blob.digest] = path
        return blob

    files = {name: take(path) for name, path in list_files(folder)}
    inputs = {
        named: {name: take(path) for name, path in ([(SELF, place)] if place.is_file() else list_files(place))}
        for named, place in find_inputs(folder).items()
    }
    return Parcel(folder.name, files, inputs), places


def list_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a folder by relative path, without hidden and partial files and a stop request."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts) or path.suffix == ".part"
        if not hidden and name.as_posix() != STOP and path.is_file():
            yield name.as_posix(), path


def digest_of(path: Path) -> Blob:
    """The content of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32))
        return Blob(digest.hexdigest(), file.tell())


def read_content(path: Path, blob: Blob) -> Iterator[bytes]:
    """A file's content in blocks, without later additions."""
    left = blob.size
    with path.open("rb") as file:
        while left and (block := file.read(min(BLOCK, left))):
            left -= len(block)
            yield block


def find_inputs(folder: Path) -> dict[str, Path]:
    """Existing files and folders outside of a job's folder that its settings name, by the path as written."""
    inputs = {}
    for name in SETTINGS:
        for text in _named_paths(_read(folder / name)):
            path = Path(text)
            if path.is_absolute() and path.exists() and not path.is_relative_to(folder):
                inputs[text] = path
    return inputs


def rewrite_settings(folder: Path, places: Mapping[str, Path]) -> None:
    """Replace the paths in a job's settings by those of this machine."""
    for name in SETTINGS:
        if not (file := folder / name).is_file():
            continue
        table = _mapped(_read(file), "", lambda text: str(places[text]) if text in places else text)
        file.unlink()  # it may be a link into the cache
        file.write_text(json.dumps(table) if name == REQUEST else tomli_w.dumps(table), encoding="utf-8")


def safe_path(folder: Path, name: str) -> Path:
    """A path in a folder; ValueError for a name that leads out of it."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ValueError(f"{name!r} is not a path in a folder")
    return folder / pure


def _read(file: Path) -> Any:
    if not file.is_file():
        return {}
    content = file.read_text(encoding="utf-8")
    return json.loads(content) if file.name == REQUEST else tomllib.loads(content)


def _named_paths(table: Any) -> list[str]:
    paths: list[str] = []

    def note(text: str) -> str:
        paths.append(text)
        return text

    _mapped(table, "", note)
    return paths


def _mapped(value: Any, key: str, change: Callable[[str], str]) -> Any:
    """Settings with their paths changed; `key` is the dotted place of a value, with `*` for list items."""
    if isinstance(value, dict):
        return {name: _mapped(each, f"{key}.{name}" if key else name, change) for name, each in value.items()}
    if isinstance(value, list):
        return [_mapped(each, f"{key}.*", change) for each in value]
    return change(value) if isinstance(value, str) and key in PATHS else value
