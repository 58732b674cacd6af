"""Single values of a request as people write them, and the sentences for invalid ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.units import number
from trainers.config.limits import BATCH, COUNT, GUIDANCE, SEED, STEPS, STRENGTH
from trainers.messages import Message as _

NO_WHOLE = _("{} must be a whole number from {} to {}; you wrote “{}”.")
NO_NUMBER = _("{} must be a number from {} to {}; you wrote “{}”.")
NO_SAMPLER = _("There is no sampler “{}”; available are {}.")
UNSUITED_SAMPLER = _("“{}” does not suit this base model. Choose {}.")
WHOLE = {
    "seed": (_("Seed"), SEED),
    "steps": (_("Steps"), STEPS),
    "count": (_("Pictures"), COUNT),
    "batch": (_("The batch size"), BATCH),
}
NUMBERS = {
    "guidance": (_("CFG"), GUIDANCE),
    "style": (_("Strength"), STRENGTH),
    "strengths": (_("Strength"), STRENGTH),
}


def typed_number(value: Any) -> Any:
    """A typed number, with a decimal comma or a real minus sign; booleans are refused."""
    if isinstance(value, bool):
        raise ValueError("a switch is not a number")
    return value.strip().replace(",", ".").replace("−", "-") if isinstance(value, str) else value


def no_whole(field: str, written: Any) -> str:
    """What is wrong with a whole number."""
    name, allowed = WHOLE[field]
    return NO_WHOLE.format(name, *edges(allowed), short(written))


def no_number(field: str, written: Any) -> str:
    """What is wrong with a number."""
    name, allowed = NUMBERS[field]
    return NO_NUMBER.format(name, *edges(allowed), short(written))


def edges(allowed: Iterable[float]) -> tuple[str, ...]:
    """The least and the most as they are written."""
    return tuple(number(f"{edge:,}" if abs(edge) > 9999 else f"{edge:g}") for edge in allowed)


def short(written: Any) -> str:
    """The beginning of what was written."""
    return str(written).strip()[:40]
