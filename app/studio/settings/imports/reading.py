"""Reads another program's settings with rules by name, and reports what was taken and left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePath, PureWindowsPath
from types import MappingProxyType
from typing import Any

from app.studio.settings.epochs import Epoch, Pictures
from app.studio.settings.fields import find_field
from app.studio.settings.imports.report import MOST_LETTERS, Imported, Left, Reason, Taken, shown
from app.studio.settings.imports.values import NEAREST, UNREADABLE, is_empty, is_set, number, optimizer_name
from app.studio.settings.plan import UNNAMED, nested
from trainers.config.build import find_problems
from trainers.config.optimizers import ARGUMENTS, SCHEDULE_FREE, parse_arguments
from trainers.data.repeats import read_folder_name
from trainers.errors import VelaturaError
from trainers.messages import Message
from trainers.models.files.hub import HUB_ID
from trainers.models.load import why_not_trained
from trainers.planning.findings import Finding

SECRET = re.compile(r"(api_key|secrets?|password|(^|_)token)$")
"""Names of settings whose values are neither shown nor stored."""
MOST_SETTINGS = 2000
NOT_IN_FILE = Message("Not in the file: it is {value} there.")
NOTHING: Mapping[str, str] = MappingProxyType({})
BY_NAMES = Message("Here the names of the folders say it.")
NEAR = Message("There is no {name} here; {other} is the nearest.")


@dataclass(frozen=True)
class Rule:
    """Key and conversion of a setting. Both may raise NotHereError or ValueError."""

    key: str
    read: Callable[[Any], Any]


@dataclass
class Reading:
    """A file while rules are applied to it; later ones win.

    VelaturaError if it has more settings than any program.
    """

    program: str
    foreign: Mapping[str, Any]
    """The other program's settings, by name."""
    same: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values that match the behaviour here, in lower case; not reported."""
    settings: dict[str, Any] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    """Open settings, with their repairs."""

    def __post_init__(self) -> None:
        if len(self.foreign) > MOST_SETTINGS:
            raise VelaturaError("it has more than {most:,} settings", most=MOST_SETTINGS)

    def take(self, name: str, key: str, value: Any, was: Any = None, how: str = "") -> None:
        """Take a setting; `was` is its value in the program unless the file has it, `how` explains a conversion."""
        original = self.foreign.get(name, "") if was is None else was
        self.taken = [taken for taken in self.taken if (taken.name, taken.key) != (name, key)]
        for replaced in [taken for taken in self.taken if taken.key == key and taken.name != name]:
            self.taken.remove(replaced)
            self.leave(replaced.name, "instead")
        self.left = [left for left in self.left if left.name != name]
        self.settings[key] = value
        self.taken.append(Taken(name, shown(original), key, shown(value), how))

    def leave(self, name: str, reason: Reason, sentence: str = "") -> None:
        """Report a setting as left out, unless it is unset, matches the behaviour here, or was reported before."""
        if name not in self._names():
            self._leave(name, reason, sentence)

    def forget(self, name: str, key: str, sentence: str = "") -> None:
        """Leave out a taken setting that has no effect with the others."""
        if self.settings.pop(key, None) is not None:
            self.taken = [taken for taken in self.taken if taken.key != key]
            self.leave(name, "idle", sentence)

    def take_nearest_optimizer(self, name: str) -> None:
        """Take the nearest optimizer to one that does not exist here; Prodigy finds its own step size."""
        kind = self.foreign.get(name)
        if near := NEAREST.get(optimizer_name(kind)):
            self.take(name, "train.optimizer", near, how=NEAR.format(name=kind, other=near))
            if near == "prodigy":
                how = Message("Prodigy finds its own step size.")
                self.take(name, "train.learning_rate", 1.0, was=kind, how=how)

    def take_arguments(self, sources: Mapping[str, tuple[str, ...]], implied: Mapping[str, str]) -> None:
        """Take the optimizer's arguments as one line.

        `sources` are the program's settings of an argument where they have other names, `implied` the program's
        defaults where they differ from ours.
        """
        optimizer, parts = str(self.settings.get("train.optimizer", "adamw")), []
        for argument in ARGUMENTS[optimizer]:
            values = {
                name: str(self.foreign[name]).strip("()[] ")
                for name in sources.get(argument, (argument,))
                if self.foreign.get(name) not in (None, "", [])
            }
            part = f"{argument}={','.join(values.values()) or implied.get(argument, '')}"
            with suppress(ValueError):
                parse_arguments(optimizer, part)
                usual = values and all(value.lower() in self.same.get(name, ()) for name, value in values.items())
                parts += [] if usual and optimizer not in ("came", *SCHEDULE_FREE) else [part]
                self.foreign = {name: value for name, value in self.foreign.items() if name not in values}
        if parts:
            self.take("optimizer_args", "train.optimizer_args", " ".join(parts), was=" ".join(parts))

    def apply(self, rules: Mapping[str, Rule]) -> None:
        """Take the settings with rules; empty values count as unset, and those that differ between folders as left."""
        differing = {left.name for left in self.left if left.reason == "subsets"}
        for name, rule in rules.items():
            value = self.foreign.get(name)
            if value is None or value == "" or name in differing:
                continue
            try:
                self.take(name, rule.key, rule.read(value))
            except UNREADABLE:
                self.leave(name, "value")

    def take_folders(
        self,
        folders: Sequence[tuple[str, Mapping[str, Any]]],
        rules: Mapping[str, Rule],
        pictures: Pictures,
        why_not: Mapping[str, str] = NOTHING,
    ) -> None:
        """Take settings in which folders differ, each a path and its settings, as `data.sets` by the paths' last names.

        A folder that is given twice is trained at both resolutions; its other values must be the same. `why_not` has
        sentences about settings that are left out, by name.
        """
        named = {path: pictures.name_here(PureWindowsPath(path).name) for path, _settings in folders}
        for name, rule in rules.items():
            written = [settings.get(name) for _path, settings in folders]
            if all(value == written[0] for value in written):
                continue
            was = ", ".join("–" if is_empty(value) else str(value) for value in written)[:MOST_LETTERS]
            try:
                if len(set(named.values()) - {""}) < len(named):
                    raise ValueError(named)
                values: dict[str, list[Any]] = {folder: [] for folder in named.values()}
                for (path, _settings), value in zip(folders, written, strict=True):
                    values[named[path]] += [None] if is_empty(value) else _read_all(rule, value)
                self._take_sets(name, rule.key, values, was)
            except UNREADABLE:
                self.left.append(Left(name, was, "subsets", why_not.get(name, "")))

    def _take_sets(self, name: str, key: str, values: Mapping[str, Sequence[Any]], was: str) -> None:
        """Take the values of a setting by folder; ValueError if one cannot have them."""
        if key == "data.resolution":
            sizes = {folder: sorted(set(sides), reverse=True) for folder, sides in values.items() if sides != [None]}
            first = next(iter(sizes.values()))
            if len(sizes) == len(values) and all(each == first for each in sizes.values()):
                self.take_resolutions(name, first, was)
                return
            key, sets = "data.resolutions", dict[str, Any](sizes)
        elif key == "data.repeats":  # the numbers in folders' names count here, and not in other programs
            sets = {folder: _quotient(_only(read) or 1, read_folder_name(folder)[0]) for folder, read in values.items()}
            sets = {folder: times for folder, times in sets.items() if times != 1}
            if not sets:
                self.leave(name, "instead", BY_NAMES)
                return
        else:
            sets = {folder: value for folder, read in values.items() if (value := _only(read)) is not None}
        merged = {folder: dict(each) for folder, each in self.settings.get("data.sets", {}).items()}
        for folder, value in sets.items():
            merged.setdefault(folder, {})[key.removeprefix("data.")] = value
        self.settings["data.sets"] = merged
        self.taken.append(Taken(name, was, "data.sets", shown(sets)))
        self.foreign = {other: value for other, value in self.foreign.items() if other != name}

    def take_resolutions(self, name: str, sizes: Sequence[int], was: Any = None) -> None:
        """Take the largest of some resolutions, and the others as further ones."""
        *others, largest = sorted(set(sizes))
        self.take(name, "data.resolution", largest, was)
        if others:
            self.take(name, "data.more_resolutions", others, was)

    def take_epochs(self, name: str, key: str, epoch: Epoch) -> None:
        """Take a number of epochs as steps, if their length is known."""
        try:
            epochs = number(self.foreign.get(name))
        except UNREADABLE:
            return
        steps = round(epochs * epoch.steps)
        if steps:
            self.take(name, key, steps, how=epoch.how(epochs))
        elif epochs:
            self.leave(name, "epochs", epoch.why_not())
            if key == "train.steps" and epoch.pictures:
                self.findings = [epoch.repair(epochs)]

    def take_share(self, name: str, key: str, share: float) -> None:
        """Take a share of the steps, if their number is known."""
        steps = self.settings.get("train.steps")
        if steps is None:
            self.leave(name, "epochs", Message("It is a share of the steps, whose number is not known."))
        else:
            how = Message("{share:g}% of {steps} steps.", share=100 * share, steps=steps)
            self.take(name, key, round(share * steps), how=how)

    def take_base(self, name: str, bases: Sequence[str] = ()) -> None:
        """Take the base if it is on this computer, by path or file name."""
        model = str(self.foreign.get(name) or "")
        last = model.replace("\\", "/").rpartition("/")[2].lower()
        same = [base for base in bases if base == model] or [
            base for base in bases if last.endswith(".safetensors") and PurePath(base).name.lower() == last
        ]
        if same and (problem := why_not_trained(same[0])):
            self.leave(name, "refused", problem)
            return
        if same:
            self.take(name, "base.model", same[0])
            return
        at_hub = HUB_ID.fullmatch(model) and not model.lower().endswith((".safetensors", ".ckpt"))
        self.leave(name, "hub" if at_hub else "base")

    def leave_rest(self, known: Mapping[str, Reason]) -> None:
        """Leave out all other settings, with a known reason or without."""
        done = self._names()
        for name in self.foreign:
            if name not in done:
                self._leave(name, known.get(name, "unknown"))

    def finish(self) -> Imported:
        """The report, without settings that the config refuses."""
        method = str(self.settings.get("method.name", "lora"))
        for key in [key for key in self.settings if find_field(key, method) is None and key != "method.name"]:
            self._drop(key, "method")
        while wrong := self._refused():
            for key, sentence in wrong.items():
                self._drop(key, "refused", sentence)
        findings = () if "train.steps" in self.settings else tuple(self.findings)
        return Imported(self.program, nested(self.settings), tuple(self.taken), tuple(self.left), findings)

    def _names(self) -> set[str]:
        """The settings taken or left out so far."""
        return {taken.name for taken in self.taken} | {left.name for left in self.left}

    def _leave(self, name: str, reason: Reason, sentence: str = "") -> None:
        value = self.foreign.get(name)
        if is_set(value) and str(value).lower() not in self.same.get(name, ()):
            self.left.append(Left(name, "…" if SECRET.search(name) else shown(value), reason, sentence))

    def _refused(self) -> dict[str, str]:
        """Errors of the config by setting: the named one, or the last one whose removal solves it.

        Without a setting others may have no effect, which is another error: those that cause none come first.
        """
        problems = _problems(self.settings)
        wrong = {
            key: sentence
            for at, sentence in problems.items()
            for key in self.settings
            if at == key or at.startswith(f"{key}.")
        }
        if wrong or not problems:
            return wrong
        sentence = next(iter(problems.values()))
        after = {
            key: _problems({other: value for other, value in self.settings.items() if other != key})
            for key in reversed(self.settings)
        }
        solving = [key for key, problems in after.items() if sentence not in problems.values()]
        ordered = sorted(solving, key=lambda key: (bool(after[key]), key not in sentence))
        return dict.fromkeys(ordered[:1], sentence)

    def _drop(self, key: str, reason: Reason, sentence: str = "") -> None:
        del self.settings[key]
        self.left += [Left(taken.name, taken.value, reason, sentence) for taken in self.taken if taken.key == key]
        self.taken = [taken for taken in self.taken if taken.key != key]


def _read_all(rule: Rule, value: Any) -> list[Any]:
    """A value as the rule reads it, or each of several resolutions."""
    several = value if isinstance(value, list) and rule.key == "data.resolution" else [value]
    return [rule.read(each) for each in several]


def _only(read: Sequence[Any]) -> Any:
    """The value that all of them are; ValueError otherwise."""
    if any(value != read[0] for value in read):
        raise ValueError(read)
    return read[0]


def _quotient(times: int, in_name: int) -> int:
    """By what to multiply the repeats in a folder's name; ValueError if it is no whole number."""
    if times % in_name:
        raise ValueError(times)
    return times // in_name


def _problems(settings: Mapping[str, Any]) -> dict[str, str]:
    return find_problems({"name": UNNAMED}, nested(settings))


def without_secrets(table: Mapping[str, Any]) -> dict[str, Any]:
    """A file's table without the values of secret settings at any depth."""
    return {
        name: {} if SECRET.search(name) else without_secrets(value) if isinstance(value, Mapping) else value
        for name, value in table.items()
    }
