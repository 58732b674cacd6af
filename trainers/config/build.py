"""Builds a validated config from settings tables and files, with readable errors, and writes it back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainers.adapters.methods import METHODS, NO_METHOD
from trainers.config.config import Config
from trainers.config.migrations import migrate
from trainers.config.presets import list_presets
from trainers.config.tables import anchor_paths, lay_over, read_toml
from trainers.errors import VelaturaError, check_argument, said_by
from trainers.messages import Message
from trainers.messages import Message as _
from trainers.section import describe_problem, path_of

KEY_FIRST = re.compile(r"[a-z_]+\.[a-z_0-9]+(?= =|:)")
"""The setting at the start of an error sentence."""


def build_config(*layers: Mapping[str, Any]) -> Config:
    """Build a validated config from settings tables.

    Args:
        layers: Tables as in a config file, `{"train": {"steps": 200}}`; later ones override earlier ones. `layers()`
            orders presets and settings.

    Returns:
        The complete, immutable config.

    Raises:
        VelaturaError: A setting is unknown, missing, out of range or conflicts with another; the message has its key.
    """
    for layer in layers:
        check_argument("a layer", layer, isinstance(layer, Mapping), '{"train": {"steps": 200}}')
    try:
        return Config.model_validate(lay_over(*layers))
    except ValidationError as error:
        raise VelaturaError(_explain(error.errors()[0])[1]) from None


def find_problems(*layers: Mapping[str, Any]) -> dict[str, str]:
    """Problems in overlaid settings tables, one sentence per key.

    Combinations are checked once each setting is valid; the key is "" if no single setting is at fault.
    """
    try:
        Config.model_validate(lay_over(*layers))
    except ValidationError as error:
        return dict(_explain(problem) for problem in reversed(error.errors()))
    return {}


def read_config(path: Path | str) -> Config:
    """Read a config file, including one from an older version.

    Args:
        path: A TOML file; its relative paths, such as `data.images`, are relative to its folder.

    Returns:
        The complete config.

    Raises:
        VelaturaError: The file cannot be read, or a setting is invalid.
    """
    path = Path(path)
    return build_config(anchor_paths(migrate(read_toml(path), str(path)), path.parent))


def dump_config(config: Config) -> str:
    """The complete config as TOML."""
    import tomli_w

    return tomli_w.dumps(as_table(config))


def as_table(config: Config) -> dict[str, Any]:
    """The complete config as plain tables, for TOML and JSON; what is not set is left out."""
    return config.model_dump(mode="json", exclude_none=True)


def _explain(problem: Mapping[str, Any]) -> tuple[str, str]:
    """The key of a problem and a sentence with the value and what is allowed."""
    path = path_of(problem)
    method = path[1] if len(path) > 1 and path[0] == "method" else ""
    if method:
        path = ["method", *path[2:]]  # without the method name that pydantic inserts
    sentence = _sentence(path, problem, method)
    key = KEY_FIRST.match(sentence) if problem["type"] == "value_error" else None
    return (key[0] if key else ".".join(path)), sentence


def _sentence(path: list[str], problem: Mapping[str, Any], method: str) -> str:
    if problem["type"] == "union_tag_invalid":
        return no_method(problem["ctx"]["tag"])
    if problem["type"] == "value_error" and path:
        reason = said_by(problem["ctx"]["error"])
        if path == ["name"] or reason.startswith(path[0]):
            return reason
    return describe_problem(".".join(path), problem, lambda: _allowed_keys(path, method))


def no_method(name: str) -> Message:
    """The error for an unknown method; points to the preset of this name, if there is one."""
    if name in {preset.name for preset in list_presets()}:
        template = _("there is no method {name!r:.80}; available are {methods}; use the preset: --preset {name}")
    else:
        template = NO_METHOD
    return template.format(name=name, methods=", ".join(METHODS))


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
