"""Migrations of config tables from older versions, as numbered steps.

Where a default or a training rule has changed since a table's `schema_version`, a step writes the setting that keeps
the previous rule, so that a resumed run continues with the same bits. A table without a version was written by hand and
has the current one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from trainers.errors import VelaturaError

VERSION: Final = 4
"""Current version of the config format."""
KEY = "schema_version"

Table = dict[str, Any]


def migrate(table: Mapping[str, Any], where: str = "the config") -> Table:
    """The same settings in the current version, as a new table.

    `where` names the table in errors. Raises VelaturaError if it was written by a newer Velatura.
    """
    version = version_of(table)
    if version > VERSION:
        raise VelaturaError(
            "{where} has schema_version = {version}, from a newer Velatura; this one reads versions up to "
            "{newest}. Update Velatura",
            where=where,
            version=version,
            newest=VERSION,
        )
    migrated = dict(table)
    for number in range(version, VERSION):
        migrated = {**MIGRATIONS[number](migrated), KEY: number + 1}
    return migrated


def version_of(table: Mapping[str, Any]) -> int:
    """The version of a table; the current one if it has none or an invalid one."""
    version = table.get(KEY, VERSION)
    return version if isinstance(version, int) and version >= 1 else VERSION


def _from_1(table: Table) -> Table:
    """Version 2 changed the defaults of these rules."""
    base, method, train = (_section(table, name) for name in ("base", "method", "train"))
    name = method.get("name", "lora")
    if _starts_at_the_base(method) and train.get("weight_decay", 0.01):
        table = _with(table, "method", decay_towards="zero")
    if name == "t-lora" and method.get("orthogonal", True):
        table = _with(table, "method", start_std="1/sqrt(rank)")
    if name == "selora":
        table = _with(table, "method", start_bound="sqrt(1/in)")
    if (name == "adalora" or (name == "selora" and method.get("budget"))) and _overrides_ranks(table):
        table = _with(table, "method", budget_scope="rank")
    if base.get("storage") == "nf4" and base.get("double_quantisation", True):
        table = _with(table, "base", scale_code="linear")
    if _section(table, "loss").get("min_snr_gamma", 5.0):
        table = _with(table, "loss", weighting="min-snr")
    reads_all = base.get("model", "starter") == "starter" and base.get("clip_skip", 1) == 1
    if _section(table, "targets").get("text_encoder", "none") != "none" and not reads_all:
        table = _with(table, "targets", unread_layers=True)
    return table


def _from_2(table: Table) -> Table:
    """Version 3 samples during training, and draws new subjects instead of captions, by default."""
    table = _with(table, "sample", every=0)
    return table if _section(table, "sample").get("prompts") else _with(table, "sample", subjects="captions")


def _from_3(table: Table) -> Table:
    """Version 4 moves all parameters in one kernel, which rounds otherwise."""
    if _section(table, "train").get("optimizer", "adamw") != "adamw":
        return table
    return _with(table, "train", fused=False)


def _starts_at_the_base(method: Mapping[str, Any]) -> bool:
    """Whether some parameters start at values of the base."""
    if method.get("name", "lora") == "lora":
        return method.get("start") == "pissa" or bool(method.get("dora"))
    return method.get("name") == "t-lora" and bool(method.get("orthogonal", True))


def _overrides_ranks(table: Table) -> bool:
    """Whether some layers have another rank."""
    blocks = _section(_section(table, "targets"), "blocks")
    return any(_section(blocks, pattern).get("rank") for pattern in blocks)


def _section(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of a table; empty if it is missing, or not a table, which validation rejects later."""
    section = table.get(name)
    return section if isinstance(section, Mapping) else {}


def _with(table: Table, name: str, **settings: Any) -> Table:
    """The table with these settings added to a section; existing ones are kept."""
    return {**table, name: {**settings, **_section(table, name)}}


MIGRATIONS: Mapping[int, Callable[[Table], Table]] = MappingProxyType({1: _from_1, 2: _from_2, 3: _from_3})
"""The step from each version to the next one."""
