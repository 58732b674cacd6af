"""Reads settings files of Velatura and of other programs."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.studio.dataset.drafts import Draft
from app.studio.settings.epochs import Pictures
from app.studio.settings.fields import find_field
from app.studio.settings.imports import kohya, onetrainer
from app.studio.settings.imports.aitoolkit import is_aitoolkit, read_aitoolkit
from app.studio.settings.imports.command_line import read_command_line
from app.studio.settings.imports.kohya_datasets import is_dataset_config
from app.studio.settings.imports.kohya_names import TRAINING
from app.studio.settings.imports.metadata import as_kohya, find_settings, from_civitai, is_metadata, own_config
from app.studio.settings.imports.report import Imported, Unsaid, shown
from app.studio.settings.imports.values import LIMIT
from app.studio.settings.plan import all_layers, from_table, method_of, values
from trainers.errors import VelaturaError
from trainers.messages import Message as _

OPTION = re.compile(r"(?:^|\s)--\w")
MOST_LETTERS = 200_000
"""Maximum letters of a settings file."""
MOST_VALUES, MOST_DEPTH, LONGEST = 10_000, 10, 20_000
"""Maximum number, nesting and letters of its settings."""
PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
YAML = re.compile(r"^job:", re.MULTILINE)
DEEP_KEY = re.compile(rf"(?<![\w-])(?:{PART}[ \t]*\.[ \t]*){{{MOST_DEPTH}}}")
"""A dotted key that is too deep; reading one in TOML takes quadratic time."""
LONGEST_NAME = 200
SURROGATE = re.compile("[\ud800-\udfff]")
"""A lone surrogate, which JSON can escape and no file can store."""
TOO_DEEP = _("its settings are nested more than {most} deep", most=MOST_DEPTH)
ENOUGH = 2
"""Number of known names that identify a program's file."""
DECISIVE = (
    "train.steps", "train.learning_rate", "train.batch_size", "train.optimizer", "train.schedule", "train.warmup",
    "method.rank", "method.alpha", "targets.text_encoder", "data.resolution", "data.flip", "data.caption_dropout",
)  # fmt: skip
"""The decisive settings."""


def read_file(name: str, content: str) -> dict[str, Any]:
    """The table of a TOML or JSON file, or of a command line.

    VelaturaError without a table, or if it is larger than the settings of any program.
    """
    if len(content) > MOST_LETTERS:
        raise VelaturaError("it is too long for a settings file; at most {most:,} letters are read", most=MOST_LETTERS)
    try:
        if name.lower().endswith(".json") or content.lstrip().startswith("{"):
            table = json.loads(content, parse_constant=_refuse)
        elif name.lower().endswith((".yaml", ".yml")) or YAML.search(content):
            table = _read_yaml(content)
        elif DEEP_KEY.search(content):
            raise ValueError(TOO_DEEP)
        else:
            table = tomllib.loads(content)
    except (ValueError, RecursionError) as error:
        table = read_command_line(content) if OPTION.search(content) else None
        if table is None:
            raise VelaturaError(
                "it is neither TOML, nor JSON, nor YAML, nor a command line of kohya's train_network.py: {error}",
                error=error,
            ) from None
    if (
        isinstance(table, list) and table and all(isinstance(each, dict) for each in table)
    ):  # files beside OneTrainer's config
        table = {"samples" if any("prompt" in each for each in table) else onetrainer.CONCEPTS: table}
    if not isinstance(table, dict):
        raise VelaturaError("it holds no settings")
    if name.lower().endswith(".safetensors") and not is_metadata(table):
        raise VelaturaError("its metadata hold no settings of a training")
    if is_metadata(table):
        table = own_config(table) or find_settings(table)
    table = from_civitai(table) or table
    check_size(table)
    if len(_names(table) & onetrainer.SIGNS) >= ENOUGH:
        onetrainer.check_kind(table)
    return table


def join_tables(tables: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Join the tables of several files; VelaturaError if they are too large together.

    Later files win, except with empty values: OneTrainer's config leaves concepts to another file.
    """
    joined: dict[str, Any] = {}
    for table in tables:
        joined |= {name: value for name, value in table.items() if value is not None or name not in joined}
    check_size(joined)
    return joined


def check_size(table: Mapping[str, Any]) -> None:
    """Raise VelaturaError if a table has too many values, values that are too long, large or deep, or broken text."""
    level: list[Any] = [table]
    count = 0
    for _depth in range(MOST_DEPTH):
        inner: list[Any] = []
        names: list[str] = []
        for each in level:
            inner += each.values() if isinstance(each, Mapping) else each
            names += each if isinstance(each, Mapping) else []
        count += len(inner)
        if count > MOST_VALUES:
            raise VelaturaError("it holds more than {most:,} values, too many for settings", most=MOST_VALUES)
        texts = [value for value in inner if isinstance(value, str)]
        if any(len(text) > LONGEST for text in texts):
            raise VelaturaError("one of its values has more than {most:,} letters", most=LONGEST)
        if any(len(name) > LONGEST_NAME for name in names):
            raise VelaturaError("one of its names has more than {most:,} letters", most=LONGEST_NAME)
        if any(map(SURROGATE.search, (*names, *texts))):
            raise VelaturaError("one of its texts has half of a character (a lone surrogate)")
        if any(isinstance(value, int | float) and not abs(value) < LIMIT for value in inner):
            raise VelaturaError("one of its numbers has more digits than any setting")
        level = [value for value in inner if isinstance(value, Mapping | list)]
    if level:
        raise VelaturaError(TOO_DEEP)


def read_foreign(
    table: Mapping[str, Any], pictures: Pictures | None = None, bases: Sequence[str] = ()
) -> Imported | None:
    """Another program's settings, with a report; None if the program is unknown.

    The `pictures` of a draft convert epochs to steps. A base model is taken if it is one of `bases`.
    """
    pictures = pictures or Pictures()
    names = _names(table)
    if is_aitoolkit(table):
        return read_aitoolkit(table, pictures, bases)
    if is_metadata(table):
        return kohya.read_kohya(as_kohya(table), pictures, bases)
    if len(names & onetrainer.SIGNS) >= ENOUGH:
        return onetrainer.read_onetrainer(table, pictures, bases)
    if len(names & kohya.SIGNS) >= ENOUGH or is_dataset_config(table):
        return kohya.read_kohya(table, pictures, bases)
    return (
        onetrainer.read_onetrainer(table, pictures, bases) if isinstance(table.get(onetrainer.CONCEPTS), list) else None
    )


def completes(table: Mapping[str, Any]) -> bool:
    """Whether a table completes another one: a dataset config, or concepts."""
    describes = is_dataset_config(table) or isinstance(table.get(onetrainer.CONCEPTS), list)
    return describes and not _names(table) & (TRAINING | onetrainer.SIGNS)


def _names(table: Mapping[str, Any]) -> set[str]:
    return set(table) | {inner for value in table.values() if isinstance(value, dict) for inner in value}


def find_unsaid(draft: Draft, imported: Imported) -> list[Unsaid]:
    """The decisive settings that the file lacks, with their values in the draft's preset."""
    draft = from_table(draft, imported.table)
    method = method_of(draft.choices)
    now = values(all_layers(draft), method)
    return [
        Unsaid(key, shown(now[key]) if field.kind == "switch" else field.show(now[key]))
        for key in DECISIVE
        if (field := find_field(key, method)) and not _says(imported.table, key)
    ]


def _says(table: Mapping[str, Any], key: str) -> bool:
    section, _, name = key.partition(".")
    tables = [table.get(section, {}), *(table.get("data", {}).get("sets", {}).values() if section == "data" else ())]
    return any(name in each for each in tables)


def _read_yaml(content: str) -> Any:
    """The data of a YAML text as in JSON; ValueError if it is none, too deep, or repeats parts of itself (aliases)."""
    import yaml

    depth = 0
    try:
        for event in yaml.parse(content, yaml.SafeLoader):  # as it parses: deep flows take quadratic time
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_DEPTH:
                raise ValueError(TOO_DEEP)
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it repeats parts of itself")
        return _as_json(yaml.safe_load(content))
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except (KeyError, AttributeError, IndexError, TypeError, OverflowError) as error:  # such as `!!bool maybe`
        raise ValueError("one of its values is not of the type that it names") from error


def _as_json(value: Any) -> Any:
    """YAML's data with the types of JSON: names are text, and so are dates."""
    if isinstance(value, Mapping):
        return {str(name): _as_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [_as_json(each) for each in (sorted(value, key=str) if isinstance(value, set) else value)]
    return value if isinstance(value, str | int | float | None) else str(value)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number")
