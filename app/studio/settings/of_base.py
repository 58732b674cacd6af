"""Settings that belong to a base model that people know by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainers.config.presets import STARTER


def settings_of_base(base: str) -> Mapping[str, Any]:
    """The settings of the base that `base.model` names; empty for one without a name."""
    if base == STARTER:
        return {}
    from trainers.models.files.recognise import settings_of_base  # loads torch

    return settings_of_base(base)
