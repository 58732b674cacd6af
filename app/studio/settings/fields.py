"""Config settings as form fields: title, group, and conversion from and to text."""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import tomli_w

from app.language import Number
from app.units import number
from trainers.adapters.targets import TRANSFORMER_PRESETS, UNET_PRESETS
from trainers.config.reference import Setting, list_folder_settings, list_settings
from trainers.config.sections import AutoOrWhole
from trainers.messages import Message
from trainers.messages import Message as _
from trainers.section import Group, Place, Shown

Kind = Literal["switch", "choice", "whole", "auto", "number", "text", "list", "numbers", "layers", "table"]

METHOD, LAYERS, LEARNING, NOISE = _("Method"), _("Base and layers"), _("Steps and learning"), _("Noise and loss")
PICTURES, CAPTIONS, PREVIEWS, MEMORY = _("Pictures"), _("Captions"), _("Previews and saving"), _("Memory and device")
FOLDS = (METHOD, LAYERS, LEARNING, NOISE, PICTURES, CAPTIONS, PREVIEWS, MEMORY)
SECTIONS = {
    "method": METHOD, "base": LAYERS, "targets": LAYERS, "train": LEARNING, "loss": NOISE, "data": PICTURES,
    "tokens": CAPTIONS, "prior": PICTURES, "sample": PREVIEWS, "save": PREVIEWS, "": LEARNING,
}  # fmt: skip
"""The fold of a section's settings that name no group."""
GROUPS: Mapping[Group, Message] = {"noise": NOISE, "captions": CAPTIONS, "previews": PREVIEWS, "memory": MEMORY}
PLACES: Mapping[Place, Message] = {
    "velatura": _("Set by Velatura."),
    "above": _("Chosen above."),
    "pictures": _("The pictures of step 1."),
    "step 1": _("Set in step 1."),
    "step 3": _("Set in step 3."),
    "styles": _("Chosen in Styles, in the menu of a style."),
    "command line": _("Set on the command line, with --set."),
}
"""Places of settings that are set outside of the list."""
METHOD_NAME = Shown(title="Method", place="above")
RANGES: Mapping[tuple[str, str], Message] = {
    ("ge", ""): _("{number} from {low} up"),
    ("gt", ""): _("{number} above {low}"),
    ("ge", "le"): _("{number} from {low} to {high}"),
    ("ge", "lt"): _("{number} from {low} to below {high}"),
    ("gt", "le"): _("{number} above {low}, up to {high}"),
    ("gt", "lt"): _("{number} above {low}, below {high}"),
}
"""Descriptions of ranges, by the names of their bounds."""


class Meaning(Message):
    """The meaning of a setting, without backticks around code."""

    __slots__ = ()

    @staticmethod
    def finish(text: str) -> str:
        """The text without backticks."""
        return text.replace("`", "")


@dataclass(frozen=True)
class Field:
    """A setting: `key` in the config, and its `method` if it belongs to one."""

    key: str
    kind: Kind
    help: str
    default: Any
    method: str = ""
    shown: Shown = field(default_factory=Shown)
    choices: tuple[str, ...] = ()
    bounds: Mapping[str, float] = field(default_factory=dict)
    """Bounds `ge`, `gt`, `le`, `lt`, if any."""

    @property
    def title(self) -> Message:
        """Its title."""
        return _(_title(self.key, self.shown))

    @property
    def fold(self) -> Message:
        """Its group."""
        group = self.shown.group
        return GROUPS[group] if group else SECTIONS[self.key.rpartition(".")[0]]

    @property
    def set_elsewhere(self) -> Message | None:
        """Where it is set, if outside of the list of settings."""
        return PLACES.get(self.shown.place)

    @property
    def allowed(self) -> str:
        """Allowed values in words; empty for free text."""
        match self.kind:
            case "whole":
                return _range(_("a whole number"), _whole(self.bounds))
            case "number":
                return _range(_("a number"), self.bounds)
            case "auto":
                return _("auto, or a whole number from 0 up")
            case "layers":
                return _("one of {names}, or patterns separated by commas", names=", ".join(self._presets))
            case "list":
                return _("one per line")
            case "numbers":
                return _("whole numbers separated by commas")
            case "table":
                return _('TOML such as ["mid_block.*"] and, on the next line, rank = 4')
        return ""

    @property
    def _presets(self) -> tuple[str, ...]:
        """Presets of layers."""
        return TRANSFORMER_PRESETS if self.key == "targets.transformer" else UNET_PRESETS

    def show(self, value: Any) -> str:
        """A value as text."""
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, float):
            short = f"{value:g}"
            return short if self.kind == "number" and float(short) == value else str(value)
        if isinstance(value, list | tuple):
            return ("\n" if self.kind == "list" else ", ").join(map(str, value))
        if isinstance(value, Mapping):
            return tomli_w.dumps({key: _plain(each) for key, each in value.items()}).strip() if value else ""
        return str(value)

    def read(self, text: str) -> Any:
        """The value of a text, or the text itself if invalid, which the config then refuses."""
        text = text.strip()
        try:
            match self.kind:
                case "switch":
                    return text == "on"
                case "whole" | "auto":
                    return int(text.replace(" ", ""))
                case "number":
                    return float(text.replace(" ", ""))
                case "list":
                    return [line.strip() for line in text.splitlines() if line.strip()]
                case "numbers":
                    return [int(part) for part in text.split(",") if part.strip()]
                case "layers":
                    return (
                        text
                        if not text or text in self._presets
                        else [part.strip() for part in text.split(",") if part.strip()]
                    )
                case "table":
                    return tomllib.loads(text)
        except (ValueError, tomllib.TOMLDecodeError):
            pass
        return text

    def refuse(self, value: Any) -> str:
        """The error for an invalid value, with the allowed values."""
        if not self.allowed:
            return ""
        if written := self.show(value):
            return _(
                "{title} must be {allowed}; you wrote {written}.",
                title=self.title,
                allowed=self.allowed,
                written=written,
            )
        return _("{title} must be {allowed}; it is empty.", title=self.title, allowed=self.allowed)


def title_of(key: str) -> str:
    """The title of a setting."""
    shown = next((_shown(setting) for setting in list_settings() if setting.key == key), Shown())
    return _title(key, shown)


@cache
def keys_set_elsewhere() -> frozenset[str]:
    """Keys of settings outside of the list."""
    return frozenset(setting.key for setting in list_settings() if _shown(setting).place)


def _title(key: str, shown: Shown) -> str:
    return shown.title or key.rpartition(".")[2].replace("_", " ").capitalize()


def _shown(setting: Setting) -> Shown:
    if setting.key == "method.name":
        return METHOD_NAME
    return next((entry for entry in setting.field.metadata if isinstance(entry, Shown)), Shown())


@cache
def list_fields(method: str) -> tuple[Field, ...]:
    """The fields of a config with this method, in the order of the config."""
    return tuple(_field(setting) for setting in list_settings() if setting.method in ("", method))


@cache
def find_field(key: str, method: str) -> Field | None:
    """The field of a setting; None for an unknown setting."""
    return next((field for field in list_fields(method) if field.key == key), None)


@cache
def list_folder_fields() -> Mapping[str, Field]:
    """The fields of a folder's own settings, by name."""
    return {setting.key.rpartition(".")[2]: _field(setting) for setting in list_folder_settings()}


def _field(setting: Setting) -> Field:
    annotation = setting.field.annotation
    bounds = {
        name: getattr(entry, name)
        for entry in setting.field.metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(entry, name)
    }
    default = None if setting.field.is_required() else setting.field.get_default(call_default_factory=True)
    choices = typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()
    return Field(
        setting.key,
        "choice" if choices else _kind(annotation),
        Meaning(setting.meaning),
        default,
        setting.method,
        _shown(setting),
        tuple(map(str, choices)),
        bounds,
    )


def _kind(annotation: Any) -> Kind:
    kinds: dict[Any, Kind] = {
        bool: "switch", int: "whole", float: "number", str: "text", tuple[str, ...]: "list",
        tuple[int, ...]: "numbers", str | tuple[str, ...]: "layers", AutoOrWhole: "auto",
    }  # fmt: skip
    return kinds.get(annotation, "table" if typing.get_origin(annotation) is dict else "text")


def _range(kind: Message, bounds: Mapping[str, float]) -> Message:
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    start = "" if low is None else "gt" if "gt" in bounds else "ge"
    end = "" if high is None else "lt" if "lt" in bounds else "le"
    if not (start or end):
        return kind
    parts: dict[str, object] = {"number": kind}
    if low is not None:
        parts["low"] = _short(low)
    if high is not None and end:
        parts["high"] = _short(high)
    return RANGES[start, end].format(**parts)


def _whole(bounds: Mapping[str, float]) -> Mapping[str, float]:
    """Inclusive bounds of integers."""
    return {"le" if name == "lt" else name: int(value) - (name == "lt") for name, value in bounds.items()}


def _short(value: float) -> Number:
    if isinstance(value, int):
        return number(f"{value:,d}")
    return number(f"{value:,.0f}" if float(value).is_integer() else f"{value:g}")


def _plain(value: Any) -> Any:
    return value.model_dump(exclude_defaults=True) if hasattr(value, "model_dump") else value
