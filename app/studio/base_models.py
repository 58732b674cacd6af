"""Base models on this computer, and the lookup of a base by name."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from app.errors import as_sentence
from trainers.config.presets import STARTER
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.models.bases.find import LocalModel, find_models
from trainers.models.bases.recognise import Recognised, describe, licence_of, recognise, warning_of
from trainers.models.families import get_family
from trainers.models.files.hub import HUB_ID, cached_snapshot, local_path
from trainers.models.files.source import STARTER_TITLE, find_source

FRESH_FOR = 30.0
"""Seconds for which a search of the disk is valid."""
NOT_HERE_YET = _("It is not on this computer yet.")
LONGEST_SHOWN = 200
NOTHING_THERE = _(
    "There is no such file or model. Type the path of a .safetensors file on this computer, or an id such as "
    "owner/name from huggingface.co."
)
ONLY_FOUND = _("A shared studio takes only listed models and hub ids. Ask its owner to add this one.")
Where = Literal["", "starter", "hub", "a1111", "comfyui", "folder", "path"]
"""Where a base was found: `path` if it was typed, "" if it was not found."""


@dataclass(frozen=True)
class Base:
    """A base model for display; `problem` is why it cannot be used."""

    model: str
    """Its value in a config: `starter`, a hub id, or a path."""
    title: str
    family: str = ""
    where: Where = ""
    size: int = 0
    problem: str = ""
    known: str = ""
    """Recognised name and distillation, with the evidence."""
    warning: str = ""
    """Why it is unsuitable for training."""
    licence: str = ""
    """Terms of its licence for the base and for styles made on it."""
    to_download: bool = False
    """Whether it is on the hub and not on this computer."""

    @property
    def is_starter(self) -> bool:
        """Whether it is the starter, whose styles fit no other base."""
        return self.model == STARTER


class Bases:
    """The base models on this computer, searched at most every half minute."""

    def __init__(self, anywhere: bool) -> None:
        self.anywhere = anywhere
        """Whether people may name any path; a shared studio takes only found bases."""
        self._found: tuple[float, list[Base]] = (float("-inf"), [])
        self._lock = threading.Lock()

    def found(self, again: bool = False) -> list[Base]:
        """Every base that needs no download, the starter first; `again` searches the disk anew."""
        with self._lock:
            when, found = self._found
            if again or time.monotonic() - when > FRESH_FOR:
                found = [_known(model) for model in find_models()]
                self._found = (time.monotonic(), found)
            return found

    def look(self, model: str, trusted: bool = False) -> Base:
        """Look up a named base without a download; names from runs are `trusted`."""
        model = model.strip()
        for base in self.found():
            if model == base.model:
                return base
        if HUB_ID.fullmatch(model) and local_path(model) is None:
            return _at_hub(model)
        if not (self.anywhere or trusted or model == STARTER):
            return Base(model, model, problem=ONLY_FOUND)
        try:
            source = find_source(model)
            return _of_path(Base(model, source.title, where="path"), source.path)
        except VelaturaError as error:
            if model != STARTER and local_path(model) is None:
                return Base(model, model[:LONGEST_SHOWN], problem=NOTHING_THERE)
            return Base(model, Path(model).name or model, problem=as_sentence(error))


def _at_hub(model: str) -> Base:
    snapshot = cached_snapshot(model)
    if snapshot is None:
        return Base(model, model, problem=NOT_HERE_YET, to_download=True)
    try:
        return _of_path(Base(model, model, where="hub"), snapshot)
    except VelaturaError as error:
        return Base(model, model, problem=as_sentence(error))


def _known(found: LocalModel) -> Base:
    file_name = found.path.name.removesuffix(".safetensors")  # `stem` would cut a folder's name at its last dot
    title = STARTER_TITLE if found.name == STARTER else found.name if found.kind == "hub" else file_name
    base = Base(found.name, title, found.family.title, found.kind, size_of(found.path))
    return _described(base, found.known)


def _of_path(base: Base, path: Path) -> Base:
    """A base with the facts in its files. VelaturaError if the path is not a base."""
    known = recognise(path, base.title)
    base = replace(base, family=get_family(known.family).title, size=size_of(path))
    return _described(base, known)


def _described(base: Base, known: Recognised) -> Base:
    return replace(base, known=describe(known), warning=warning_of(known), licence=licence_of(known, base.model))


def size_of(path: Path) -> int:
    """Bytes of a base's file, or of all files in its folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def shown_title(kept: str) -> str:
    """The displayed form of a stored title."""
    return STARTER_TITLE if kept == STARTER_TITLE else kept
