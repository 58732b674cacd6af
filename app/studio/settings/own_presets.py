"""People's own presets, one TOML file each in the studio's folder.

A file is a partial config over a bundled preset: `preset` and `aim`, then the changed settings by section. Each login
has its folder; in a studio without logins all presets are shared.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
from filelock import FileLock

from app.errors import as_sentence
from app.studio.dataset.drafts import EMPTY, Choices, Draft
from app.studio.names import alike, name_of
from app.studio.paths import Paths
from app.studio.settings.plan import CARE, changed_settings, choose, from_table, method_of, nested, with_choices
from trainers.atomic_files import whole_file
from trainers.config.layers import DEFAULT_PRESET
from trainers.config.migrations import KEY, VERSION
from trainers.config.presets import STARTER, list_presets
from trainers.errors import VelaturaError
from trainers.messages import Message as _

MOST, MOST_BYTES = 100, 100_000
OWN_KEYS = ("name", "preset", "aim")
"""Keys of a file besides settings."""
SUFFIX = ".toml"


@dataclass(frozen=True)
class OwnPreset:
    """A person's preset; `problem` is why its file cannot be used."""

    name: str
    table: Mapping[str, Any] = field(default_factory=dict)
    """The content of its file."""
    problem: str = ""

    def use(self, draft: Draft) -> Draft:
        """The draft with the settings of this preset; its base stays. VelaturaError if the file cannot be used."""
        if self.problem:
            raise VelaturaError(self.problem)
        used = _use(draft, self.table)
        return with_choices(used, own_preset=self.name, own_settings=used.choices.settings)

    def choices(self, base: str = STARTER, method: str = "") -> Choices:
        """The choices of this preset on a base, or with another method. VelaturaError if the file cannot be used."""
        return choose(self.use(with_choices(EMPTY, base=base)), "method", method).choices

    def is_chosen(self, choices: Choices) -> bool:
        """Whether a draft has the choices of this preset."""
        return not self.problem and _identity(self.use(EMPTY.with_(choices=choices)).choices) == _identity(choices)


class OwnPresets:
    """The presets of a studio. Names follow the rules of style names; case is ignored."""

    def __init__(self, paths: Paths) -> None:
        self._folder = paths.root / "presets"

    def folder_of(self, owner: str) -> Path:
        """The folder of a login's presets, or with "" of a studio without logins."""
        return self._folder / "people" / hashlib.sha256(owner.encode()).hexdigest()[:32] if owner else self._folder

    def list(self, owner: str) -> list[OwnPreset]:
        """The presets of a login, or with "" of a studio without logins, by name; broken ones have a `problem`."""
        return _list(self.folder_of(owner))

    def find(self, owner: str, name: str) -> OwnPreset:
        """The preset of this name. VelaturaError if there is none."""
        preset = _named(_list(self.folder_of(owner)), name)
        if preset is None:
            known = ", ".join(bundled.name for bundled in list_presets())
            raise VelaturaError("there is no preset {name!r:.80}; available are {known}", name=name, known=known)
        return preset

    def find_anywhere(self, name: str) -> OwnPreset | None:
        """Anybody's preset of this name; None without one. VelaturaError if several people have different ones."""
        folders = [self._folder, *sorted((self._folder / "people").glob("*"))]
        presets = [preset for folder in folders if (preset := _named(_list(folder), name))]
        if len(presets) > 1 and any(preset.table != presets[0].table for preset in presets):
            raise VelaturaError(
                "several people have a preset {name!r}; export the one you mean and give its file", name=name
            )
        return presets[0] if presets else None

    def save(self, owner: str, name: str, table: Mapping[str, Any]) -> tuple[str, bool]:
        """Store a preset; returns its stored name, and whether it replaced one, which `put_back` restores.

        VelaturaError if the name is invalid, or there are too many presets.
        """
        name, folder = _free(name), self.folder_of(owner)
        with self._lock(folder):
            presets = _list(folder)
            old = _named(presets, name)
            if old is None and len(presets) >= MOST:
                raise VelaturaError("there are {most} presets already; delete one first", most=MOST)
            if old is not None:
                _set_aside(folder, old.name)
            _write(folder / f"{name}{SUFFIX}", table)
        return name, old is not None

    def rename(self, owner: str, name: str, new: str) -> str:
        """Rename a preset and return its stored name. VelaturaError if that is taken or invalid."""
        new, folder = _free(new), self.folder_of(owner)
        with self._lock(folder):
            presets = _list(folder)
            old, taken = _named(presets, name), _named(presets, new)
            if old is None:
                raise VelaturaError("there is no preset {name!r:.80} of yours", name=name)
            if taken is not None and taken.name != old.name:
                raise VelaturaError("there is a preset {name} already; choose another name", name=taken.name)
            (folder / f"{old.name}{SUFFIX}").rename(folder / f"{new}{SUFFIX}")
        return new

    def delete(self, owner: str, name: str) -> None:
        """Delete a preset, which `put_back` restores. Raises VelaturaError if it does not exist."""
        folder = self.folder_of(owner)
        with self._lock(folder):
            _set_aside(folder, self.find(owner, name).name)

    def put_back(self, owner: str, name: str) -> None:
        """Undo the last deletion or replacement of a preset. VelaturaError if there was none."""
        folder = self.folder_of(owner)
        with self._lock(folder):
            gone = (folder / "deleted").glob(f"*{SUFFIX}")
            aside = next((path for path in gone if alike(path.stem) == alike(name)), None)
            if aside is None:
                raise VelaturaError("the preset {name!r:.80} is not there any more", name=name)
            now = _named(_list(folder), name)
            if now is not None:
                (folder / f"{now.name}{SUFFIX}").unlink()
            aside.rename(folder / aside.name)

    def _lock(self, folder: Path) -> FileLock:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileLock(folder / ".lock")


def as_preset(draft: Draft) -> dict[str, Any]:
    """A draft's differences from the bundled preset, as the table of a preset's file."""
    choices = draft.choices
    method = method_of(choices)
    named = {"method.name": method} if method else {}
    above = nested({**named, **changed_settings(choices)})
    return {"preset": choices.preset, "aim": choices.aim, KEY: VERSION, **above}


def is_preset(table: Mapping[str, Any]) -> bool:
    """Whether a table is a preset's, not a config."""
    return isinstance(table.get("preset"), str)


def check_preset(table: Mapping[str, Any]) -> None:
    """Raise VelaturaError if a preset's table cannot be used."""
    _use(EMPTY, table)


def write_preset(name: str, table: Mapping[str, Any]) -> str:
    """A preset as TOML."""
    return tomli_w.dumps({"name": name, **{key: value for key, value in table.items() if key != "name"}})


# ---------------------------------------------------------------- within
def _use(draft: Draft, table: Mapping[str, Any]) -> Draft:
    preset, aim = table.get("preset", DEFAULT_PRESET), table.get("aim", "style")
    if preset not in CARE:
        raise VelaturaError("its preset must be one of {care}, not {preset!r:.80}", care=", ".join(CARE), preset=preset)
    if aim not in ("style", "subject"):
        raise VelaturaError("its aim must be style or subject, not {aim!r:.80}", aim=aim)
    chosen = with_choices(draft, preset=preset, aim=aim, method="")
    return from_table(chosen, {key: value for key, value in table.items() if key not in OWN_KEYS})


def _identity(choices: Choices) -> tuple[Any, ...]:
    return choices.aim, choices.preset, method_of(choices), changed_settings(choices)


def _list(folder: Path) -> list[OwnPreset]:
    paths = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: alike(path.stem)) if folder.is_dir() else []
    return [_read(path) for path in paths[:MOST] if not path.name.startswith(".")]


def _read(path: Path) -> OwnPreset:
    try:
        with path.open("rb") as file:
            table = tomllib.loads(file.read(MOST_BYTES).decode("utf-8"))
        check_preset(table)
    except (OSError, ValueError, RecursionError) as error:
        return OwnPreset(path.stem, problem=_("Its file cannot be read: {error}.", error=error))
    except VelaturaError as error:
        return OwnPreset(path.stem, table, as_sentence(error))
    return OwnPreset(path.stem, table)


def _named(presets: list[OwnPreset], name: str) -> OwnPreset | None:
    return next((preset for preset in presets if alike(preset.name) == alike(name)), None)


def _free(name: str) -> str:
    """The stored form of a name. VelaturaError if it is empty, or a bundled preset's."""
    kept = name_of(name)
    if alike(kept) in {bundled.name for bundled in list_presets()}:
        raise VelaturaError("{kept} is a preset that comes with Velatura; choose another name", kept=kept)
    return kept


def _set_aside(folder: Path, name: str) -> None:
    (folder / "deleted").mkdir(mode=0o700, exist_ok=True)
    (folder / f"{name}{SUFFIX}").replace(folder / "deleted" / f"{name}{SUFFIX}")


def _write(path: Path, table: Mapping[str, Any]) -> None:
    with whole_file(path) as building:
        content = tomli_w.dumps({key: value for key, value in table.items() if key != "name"})
        building.write_text(content, encoding="utf-8")
