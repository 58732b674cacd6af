"""The reference of all settings: type, default and meaning."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.dataclasses import is_pydantic_dataclass
from pydantic.fields import FieldInfo

from trainers.adapters.methods import METHODS
from trainers.config.config import Config
from trainers.config.sections import AutoOrWhole, ImageSet
from trainers.section import Section


@dataclass(frozen=True)
class Setting:
    """One setting: `key` as `section.name`, or `method.name` for the settings of `method`."""

    key: str
    field: FieldInfo
    meaning: str
    method: str = ""

    @property
    def kind(self) -> str:
        """Type and limits in words."""
        return _kind(self.field)

    @property
    def default(self) -> str:
        """The default as Markdown."""
        return _default(self.field)


def list_settings() -> Iterator[Setting]:
    """All settings in the order of the config, followed by those of the methods."""
    for name, field in Config.model_fields.items():
        if name == "method":
            continue
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            for inner, leaf in section.model_fields.items():
                yield Setting(f"{name}.{inner}", leaf, leaf.description or "")
        else:
            yield Setting(name, field, field.description or "")
    for method, kind in METHODS.items():
        for inner, leaf in _fields(kind).items():
            yield Setting(f"method.{inner}", leaf, _meaning(kind, inner), method)


def list_folder_settings() -> Iterator[Setting]:
    """The settings that the images of a folder can have of their own; most are those of all images."""
    of_all = {setting.key: setting for setting in list_settings()}
    for name, field in ImageSet.model_fields.items():
        key = f"data.{name}"
        yield of_all[key] if field.default is None else Setting(f"data.sets.{name}", field, field.description or "")


def _fields(method: type[Any]) -> Mapping[str, FieldInfo]:
    assert is_pydantic_dataclass(method)
    return method.__pydantic_fields__


def _meaning(method: type, name: str) -> str:
    """A field's docstring, inherited if necessary."""
    for parent in method.__mro__:
        field = getattr(parent, "__pydantic_fields__", {}).get(name)
        if field is not None and field.description:
            return str(field.description)
    return ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return "`{}`" if value == {} else f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def _kind(field: FieldInfo) -> str:
    annotation = field.annotation
    if typing.get_origin(annotation) is typing.Literal:
        return " / ".join(f"`{choice}`" for choice in typing.get_args(annotation))
    if annotation == AutoOrWhole:
        return "`auto` or whole number ≥ 0"
    limits = [_limit(entry) for entry in field.metadata]
    name = getattr(annotation, "__name__", "") if isinstance(annotation, type) else ""
    words = {"int": "whole number", "float": "number", "bool": "true or false", "str": "text"}
    kind = words.get(
        name, str(annotation).replace("trainers.adapters.targets.", "").replace("tuple[str, ...]", "list of text")
    )
    kind = (
        re.sub(r"dict\[str, [\w.]+\]", "table", kind)
        .replace("tuple[int, ...]", "list of whole numbers")
        .replace("str | ", "text or ")
    )
    return " ".join(filter(None, (kind, ", ".join(filter(None, limits)))))


def _limit(entry: Any) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = {sign: getattr(entry, name) for name, sign in signs.items() if hasattr(entry, name)}
    return next((f"{sign} {bound if isinstance(bound, int) else f'{bound:g}'}" for sign, bound in bounds.items()), "")
