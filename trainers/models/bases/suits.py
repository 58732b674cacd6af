"""Checks that a run's settings suit its base, without loading it."""

from __future__ import annotations

from collections.abc import Mapping

from trainers.config.config import Config
from trainers.errors import REFUSED, VelaturaError
from trainers.models.bases.known_layers import layer_problems
from trainers.models.bases.recognise import recognise_base
from trainers.models.families import find_family
from trainers.models.families.family import Family
from trainers.models.files.hub import HUB_ID


def base_problems(config: Config, anywhere: bool = True) -> Mapping[str, str]:
    """Settings that do not apply to the base, or name layers that it lacks: one sentence per key.

    Unless `anywhere`, checks only hub ids, the starter and the hub's cache, which reveals nothing about other folders.
    """
    known = anywhere or HUB_ID.fullmatch(config.base.model) is not None
    return (_family_problems(config) if known else {}) or layer_problems(config, anywhere)


def check_base(config: Config) -> None:
    """Raise VelaturaError if settings do not suit their base, according to its files."""
    _raise_first(base_problems(config))


def check_family(config: Config, family: Family | None = None) -> None:
    """Raise VelaturaError if settings do not apply to the base's family, by default the one of its files."""
    _raise_first(_family_problems(config) if family is None else family.config_problems(config))


def _family_problems(config: Config) -> Mapping[str, str]:
    family = find_family(recognise_base(config.base.model).family)
    return {} if family is None else family.config_problems(config)


def _raise_first(problems: Mapping[str, str]) -> None:
    for problem in problems.values():
        raise VelaturaError(problem, code=REFUSED)
