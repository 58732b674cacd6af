"""The report of an import: settings taken and left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from trainers.messages import Message
from trainers.messages import Message as _
from trainers.planning.findings import Finding

Changing = Literal[
    "base", "hub", "epochs", "value", "algorithm", "method", "refused", "prior", "masks", "captions", "concepts",
    "subsets", "dataset", "start", "unknown",
]  # fmt: skip
"""Why a setting that matters was not taken: the base is chosen here, from the hub too; epochs of unknown length; a
value or a kind of network that does not exist here, or not with this method; refused with the others; class pictures,
masks, captions and concepts have another form; the subsets of a dataset differ in it, or it names the file of a
dataset, or one to start from; there is nothing like it."""
Idle = Literal["path", "elsewhere", "family", "logging", "files", "machine", "instead", "time", "idle"]
"""Why one that does not matter was not taken: it is a path of another computer, set in another step, follows from the
base, is about logs, saved files or the computer, another one decides, it counts time, or has no effect there."""
Reason = Changing | Idle
REASONS: Mapping[Reason, str] = {
    "base": _("The base model is chosen here. Choose the same one for the same result."),
    "hub": _("A model of the hub. Choose it here under Base model, or download it there."),
    "epochs": _("Epochs need repeats."),
    "value": _("There is no such value here."),
    "algorithm": _("There is no such method here. LoRA is taken instead."),
    "method": _("This method has no such setting."),
    "refused": _("It does not fit."),
    "prior": _("The base model draws the class pictures here: Extras, Pictures against forgetting."),
    "masks": _(
        "A mask is a file beside its picture here, such as fox-mask.png, and what is black in it is not learned."
    ),
    "captions": _("Captions are read from .txt files here."),
    "concepts": _("The concepts are in that file. Choose both files together."),
    "subsets": _("The subsets differ in it. Here it is one value for all images."),
    "dataset": _("The pictures are described in that file. Choose both files together."),
    "start": _("It starts from a file. Nothing is read from that file here."),
    "unknown": _("There is nothing like it here."),
    "path": _("A path of that computer."),
    "elsewhere": _("It is set in another step."),
    "family": _("It follows from the base model."),
    "logging": _("The page of a training shows loss and previews. train.tracker logs them elsewhere too."),
    "files": _("It is about files beside the style. Every sampled step keeps its style here."),
    "machine": _("It is about the computer. The studio sees to that."),
    "instead": _("Another setting decides there."),
    "time": _("It counts time. Previews and checkpoints count steps here."),
    "idle": _("It has no effect there with the other settings."),
}
"""Why a setting was not taken, as sentences."""
MOST_LETTERS = 120


def because(**names: str) -> dict[str, Reason]:
    """Reasons by name, from names separated by spaces."""
    return {name: reason for reason, joined in names.items() for name in joined.split()}  # type: ignore[misc]


@dataclass(frozen=True)
class Taken:
    """A setting that was taken."""

    name: str
    """Name in the other program."""
    value: str
    key: str
    """Key here."""
    became: str
    how: str = ""
    """How it was computed; may be empty."""


@dataclass(frozen=True)
class Left:
    """A setting that was not taken."""

    name: str
    value: str
    reason: Reason
    said: str = ""
    """A sentence beyond the reason."""

    @property
    def matters(self) -> bool:
        """Whether it affects the result."""
        return self.reason in get_args(Changing)


@dataclass(frozen=True)
class Unsaid:
    """A decisive setting that the file lacks; the preset's value stays."""

    key: str
    value: str


@dataclass(frozen=True)
class Imported:
    """Another program's settings as a table of ours."""

    program: str
    table: Mapping[str, Any]
    taken: tuple[Taken, ...]
    left: tuple[Left, ...]
    findings: tuple[Finding, ...] = ()
    """Open settings, with their repairs."""


def shown(value: Any) -> str:
    """A value as a short text."""
    if isinstance(value, Message):
        return value
    if isinstance(value, bool):
        return Message("on") if value else Message("off")
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(each)}" for name, each in value.items())[:MOST_LETTERS]
    if isinstance(value, list):
        return ", ".join(map(str, value))[:MOST_LETTERS]
    return str(value)[:MOST_LETTERS]
