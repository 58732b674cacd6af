"""A person's preferences, stored between visits."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.state_file import StateFile
from app.studio.paths import Paths
from app.studio.programs.targets import Target


class Preferences(BaseModel):
    """Preferences for the pages."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    advanced: bool = False
    """Whether Advanced is open in the second step of Train."""
    program: Target = ""
    """The program for which styles are made."""
    base: str = ""
    """The base model that was chosen last."""
    trials: bool = True
    """Whether the second step of Train tries the presets out in the background."""


class PreferenceFiles:
    """Everybody's preferences, by the key of their draft; a damaged file counts as missing."""

    def __init__(self, paths: Paths) -> None:
        self._folder = paths.root / "preferences"

    def read(self, key: str) -> Preferences:
        """The preferences of `key`, or the defaults."""
        return self._file(key).read() or Preferences()

    def change(self, key: str, **changes: Any) -> None:
        """Change some of them. OSError if the disk is full."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        file = self._file(key)
        with file.lock():
            file.write((file.read() or Preferences()).model_copy(update=changes))

    def _file(self, key: str) -> StateFile[Preferences]:
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        return StateFile(self._folder / f"{name}.json", _parse, lambda kept: json.dumps(kept.model_dump()))


def _parse(content: bytes) -> Preferences:
    return Preferences.model_validate_json(content)
