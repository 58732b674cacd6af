"""The base class of sections of settings, and error sentences about their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic._internal._model_construction import ModelMetaclass

from trainers.errors import VelaturaError, said_by
from trainers.messages import Message, either
from trainers.messages import Message as _

Group = Literal["", "noise", "captions", "previews", "memory"]
"""The group of a setting in a form where it differs from that of its section."""
Place = Literal["", "velatura", "above", "pictures", "step 1", "step 3", "styles", "command line"]
"""Where the studio sets a setting that its list only shows."""


@dataclass(frozen=True)
class Shown:
    """How a form shows a setting: metadata of its field, `Annotated[int, Shown(title="CLIP skip")]`."""

    title: str = ""
    """The title, if it differs from the field's name."""
    group: Group = ""
    place: Place = ""
    words: str = ""
    """Additional search words, such as names in other programs that the import does not read."""


OF_TYPE = re.compile(r"str|int|float|bool|tuple\[.*\]|literal\[.*\]")
QUOTED = re.compile(r"'[^']*'|[\w.-]+(?=,|$)")
ALLOWED: Mapping[str, Message] = {
    "bool_parsing": _("it should be a valid boolean, unable to interpret input"),
    "bool_type": _("it should be a valid boolean"),
    "dict_type": _("it should be a valid dictionary"),
    "finite_number": _("it should be a finite number"),
    "float_parsing": _("it should be a valid number, unable to parse string as a number"),
    "float_type": _("it should be a valid number"),
    "greater_than": _("it should be greater than {gt}"),
    "greater_than_equal": _("it should be greater than or equal to {ge}"),
    "int_from_float": _("it should be a valid integer, got a number with a fractional part"),
    "int_parsing": _("it should be a valid integer, unable to parse string as an integer"),
    "int_type": _("it should be a valid integer"),
    "less_than": _("it should be less than {lt}"),
    "less_than_equal": _("it should be less than or equal to {le}"),
    "string_too_long": _("string should have at most {max_length} characters"),
    "string_type": _("it should be a valid string"),
    "tuple_type": _("it should be a valid tuple"),
}
"""Sentences on allowed values, in pydantic's words, by its kinds of errors."""


class Settings(type):
    """Metaclass of classes with settings, whose constructors raise VelaturaError for an invalid one."""

    def __call__(cls, *args: Any, **settings: Any) -> Any:
        """An instance with these settings."""
        try:
            return super().__call__(*args, **settings)
        except ValidationError as error:
            first = error.errors()[0]
        names = list(getattr(cls, "__pydantic_fields__", {}))
        place, *inner = first["loc"] or ("",)
        path = path_of({"loc": (names[place] if isinstance(place, int) else place, *inner)})
        raise VelaturaError(describe_problem(".".join(path), first, lambda: sorted(names)))


class SectionSettings(Settings, ModelMetaclass):
    """The same for pydantic's models."""


class Section(BaseModel, metaclass=SectionSettings):
    """A section of the settings: frozen; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


def path_of(problem: Mapping[str, Any]) -> list[str]:
    """The keys of the invalid setting, without the type that pydantic appends to unions."""
    path = [str(key) for key in problem["loc"]]
    return path[:-1] if path and OF_TYPE.fullmatch(path[-1]) else path


def describe_problem(key: str, problem: Mapping[str, Any], names: Callable[[], Iterable[str]]) -> str:
    """A sentence on one of pydantic's errors: the value, and the allowed ones; `names` returns the settings' names."""
    kind, value, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return _("there is no setting {key}; allowed are {names}", key=key, names=", ".join(names()))
    if kind == "missing":
        return _("{key} is not set; give it with --{key}, or in the config file", key=key)
    if kind == "value_error":
        reason = said_by(context["error"])
        return _("{key}: {reason}", key=key, reason=reason) if key and not reason.startswith(key) else reason
    if kind in ("model_type", "model_attributes_type", "dataclass_type"):
        return _("{key} = {found!r:.120}: this is a section; write {key}.KEY = VALUE", key=key, found=value)
    allowed = _allowed(kind, problem["msg"], context)
    return _("{key} = {found!r:.120}: {allowed}", key=key or "the config", found=value, allowed=allowed)


def _allowed(kind: str, sentence: str, context: Mapping[str, Any]) -> str:
    """A sentence on allowed values, from pydantic's kind of error, its sentence and its values."""
    if kind == "literal_error":
        return _("it should be {names}", names=either(QUOTED.findall(context["expected"])))
    if kind in ALLOWED:
        return ALLOWED[kind].format(**{name: _plain(value) for name, value in context.items()})
    sentence = sentence.replace("Input should be", "it should be")
    return sentence[0].lower() + sentence[1:]


def _plain(value: Any) -> str:
    return str(value).removesuffix(".0")
