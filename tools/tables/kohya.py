"""What settings of kohya_ss are called here, from the rules of their import."""

from __future__ import annotations

from app.studio.settings.imports.kohya_names import BY_METHOD, RULES, TUCKER
from tools.markdown import table


def kohya_names() -> list[str]:
    """Names in kohya's scripts by the setting that they become, in the order of the rules."""
    rules = dict(RULES)
    for more in (*BY_METHOD.values(), TUCKER):
        rules |= more
    names: dict[str, list[str]] = {}
    for name, rule in rules.items():
        names.setdefault(rule.key, []).append(f"`{name}`")
    return table(("sd-scripts", "here"), [(", ".join(theirs), f"`{key}`") for key, theirs in names.items()])
