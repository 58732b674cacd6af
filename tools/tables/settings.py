"""Every setting, from `trainers.config.reference`."""

from __future__ import annotations

from itertools import groupby

from tools.markdown import table
from trainers.config.reference import Setting, list_settings


def settings() -> list[str]:
    """A heading and a table for each section of a config, and for each method."""
    lines: list[str] = []
    for section, members in groupby(list_settings(), key=_section):
        rows = [(f"`{each.key.rpartition('.')[2]}`", each.kind, each.default, each.meaning) for each in members]
        lines += [f"## {section}", "", *table(("key", "type", "default", "meaning"), rows), ""]
    return lines


def _section(setting: Setting) -> str:
    if setting.method:
        return f"method: {setting.method}"
    return setting.key.rpartition(".")[0] or "(top level)"
