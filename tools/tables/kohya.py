"""The settings of kohya_ss and their names here, from the rules of the import."""

from __future__ import annotations

from app.studio.settings.imports.kohya_names import names_by_setting
from tools.markdown import table


def kohya_names() -> list[str]:
    """Names in kohya's scripts by the setting that they become, in the order of the rules."""
    rows = [(", ".join(f"`{name}`" for name in names), f"`{key}`") for key, names in names_by_setting().items()]
    return table(("sd-scripts", "here"), rows)
