"""From settings tables and files to a validated config and back, with readable errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainers.adapters.methods import METHODS
from trainers.config.config import Config
from trainers.config.migrations import migrate
from trainers.config.presets import list_presets
from trainers.config.tables import anchor_paths, lay_over, read_toml
from trainers.errors import VelaturaError, said_by
from trainers.messages import Message, either
from trainers.messages import Message as _

KEY_FIRST = re.compile(r"[a-z_]+\.[a-z_0-9]+(?= =|:)")
"""The setting at the start of a sentence."""
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
"""What may be given instead, in pydantic's words, by its kinds of errors."""


def build_config(*layers: Mapping[str, Any]) -> Config:
    """Build a validated config from settings tables.

    Args:
        layers: Tables as in a config file, `{"train": {"steps": 200}}`, later ones over earlier ones; `layers()` puts
            presets and settings in their order.

    Returns:
        The complete, immutable config.

    Raises:
        VelaturaError: A setting is unknown, missing, out of range or conflicts with another; the message has its key.
    """
    try:
        return Config.model_validate(lay_over(*layers))
    except ValidationError as error:
        raise VelaturaError(_explain(error.errors()[0])[1]) from None


def find_problems(*layers: Mapping[str, Any]) -> dict[str, str]:
    """Problems in overlaid settings tables: one sentence per key, empty if there are none.

    Combinations are checked once each setting is valid; the key is "" if no single setting is at fault.
    """
    try:
        Config.model_validate(lay_over(*layers))
    except ValidationError as error:
        return dict(_explain(each) for each in reversed(error.errors()))
    return {}


def read_config(path: Path) -> Config:
    """Read a config file, including one from an older version.

    Args:
        path: A TOML file; relative paths in it, such as `data.images`, begin at the file's folder.

    Returns:
        The complete config.

    Raises:
        VelaturaError: The file cannot be read, or a setting is invalid.
    """
    return build_config(anchor_paths(migrate(read_toml(path), str(path)), path.parent))


def dump_config(config: Config) -> str:
    """The complete config as TOML."""
    import tomli_w

    return tomli_w.dumps(as_table(config))


def as_table(config: Config) -> dict[str, Any]:
    """The complete config as plain tables, fit for TOML and JSON."""
    return config.model_dump(mode="json")


def _explain(first: Mapping[str, Any]) -> tuple[str, str]:
    """One problem: its key and one sentence with what was found and what is allowed."""
    path = [str(part) for part in first["loc"]]
    method = path[1] if len(path) > 1 and path[0] == "method" else ""
    if method:
        path = ["method", *path[2:]]  # without the method name that pydantic inserts
    sentence = _sentence(path, first, method)
    blamed = KEY_FIRST.match(sentence) if first["type"] == "value_error" else None
    return (blamed[0] if blamed else ".".join(path)), sentence


def _sentence(path: list[str], first: Mapping[str, Any], method: str) -> str:
    key = ".".join(path) or "the config"
    kind, found, context = first["type"], first.get("input"), first.get("ctx", {})
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return _(
            "there is no setting {key}; allowed are {names}", key=key, names=", ".join(_allowed_keys(path, method))
        )
    if kind == "missing":
        return _("{key} is not set; give it with --{key}, or in the config file", key=key)
    if kind == "union_tag_invalid":
        return no_method(context["tag"])
    if kind == "value_error":
        reason = said_by(context["error"])
        whole = not path or key == "name" or reason.startswith(path[0])
        return reason if whole else _("{key}: {reason}", key=key, reason=reason)
    if kind in ("model_type", "model_attributes_type", "dataclass_type"):
        return _("{key} = {found!r:.120}: this is a section; write {key}.KEY = VALUE", key=key, found=found)
    return _("{key} = {found!r:.120}: {allowed}", key=key, found=found, allowed=_allowed(kind, first["msg"], context))


def _allowed(kind: str, said: str, context: Mapping[str, Any]) -> str:
    """What may be given instead, by pydantic's kind of error, its own sentence and the values in it."""
    if kind == "literal_error":
        return _("it should be {names}", names=either(QUOTED.findall(context["expected"])))
    if kind in ALLOWED:
        return ALLOWED[kind].format(**{name: _plain(value) for name, value in context.items()})
    said = said.replace("Input should be", "it should be")
    return said[0].lower() + said[1:]


def _plain(value: Any) -> str:
    return str(value).removesuffix(".0")


def no_method(name: str) -> Message:
    """The error for an unknown method; techniques that combine with methods are set by presets."""
    if name in {each.name for each in list_presets()}:
        said = _("there is no method {name!r:.80}; available are {methods}; use the preset: --preset {name}")
    else:
        said = _("there is no method {name!r:.80}; available are {methods}")
    return said.format(name=name, methods=", ".join(METHODS))


def _allowed_keys(path: list[str], method: str) -> list[str]:
    if path[:1] == ["method"]:
        return sorted(field.name for field in fields(METHODS[method]))
    level: Any = Config
    for part in path[:-1]:
        field = level.model_fields.get(part) if hasattr(level, "model_fields") else None
        level = field.annotation if field is not None else level
    if hasattr(level, "model_fields"):
        return sorted(level.model_fields)
    return ["rank", "learning_rate"]  # block overrides are the only nested tables
