"""The programs that people make styles for, and the bases whose styles each of them opens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from app.studio.base_models import Base
from app.studio.programs.find import PROGRAMS
from trainers.formats.programs.table import DIFFUSERS, RULES
from trainers.models.families import FAMILIES, find_family
from trainers.models.families.family import Family

Target = Literal["", "comfyui", "forge", "a1111", "invoke", "diffusers", "try"]
"""A program, or `try` for somebody who only tries Velatura out; "" until a person has chosen."""
TRY: Target = "try"
DIFFUSERS_TARGET: Target = "diffusers"
TITLES: Mapping[str, str] = {
    **{kind: program.title for kind, program in PROGRAMS.items()},
    DIFFUSERS_TARGET: DIFFUSERS.name,
}
"""Titles of the programs."""
TARGETS: tuple[Target, ...] = tuple(target for target in get_args(Target) if target)


def families_of(target: Target) -> tuple[Family, ...]:
    """The families whose styles a program opens; all without a program."""
    if target not in TITLES:
        return FAMILIES
    opened = {family for rule in RULES if rule.program == TITLES[target] for family in rule.families}
    return tuple(family for family in FAMILIES if family.name in opened)


def opens(target: Target, base: Base) -> bool:
    """Whether a program opens styles made on a base; nobody but Velatura opens the starter's."""
    if base.is_starter:
        return target == TRY
    family = find_family(base.family)
    return family is None or family in families_of(target)


def lacks_base(target: Target, base: Base) -> bool:
    """Whether the starter is the base although the person did not choose to try it."""
    return base.is_starter and target != TRY
