"""Checks of a run's settings before it is queued, and changes to a prepared run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.jobs.accounts.limits import check_previews
from app.jobs.cluster.nodes import read_seen
from app.jobs.permissions import Actor
from app.jobs.processes.devices import check_device
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from trainers.config.config import Config

FIXED = ("name", "data.images", "data.transparency")
"""Settings that are fixed once a run is prepared."""


def check_run(config: Config, actor: Actor) -> None:
    """Raise VelaturaError if a run would fail on any computer, or exceeds the actor's limits."""
    from trainers.models.bases.suits import check_base
    from trainers.planning.findings import check_ahead

    check_device(config.train.device)
    check_base(config)
    check_ahead(config, is_here=False)
    if not actor.owns_machine:
        check_previews(config)


def is_trained_here(runs: Path) -> bool:
    """Whether this computer trains the runs of a folder, and not the nodes of a cluster."""
    return read_seen(runs) is None


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """A config with changes; VelaturaError if a fixed setting would change."""
    new = laid_over(config, changes)
    check_device(new.train.device)
    for key in FIXED:
        before, after = _setting(config, key), _setting(new, key)
        if before != after:
            raise VelaturaError("{key} cannot change once a run is prepared; start a new run to change it", key=key)
    return new


def laid_over(config: Config, changes: Mapping[str, Any]) -> Config:
    """A config with changes."""
    from trainers.config.build import as_table, build_config
    from trainers.config.layers import layers

    return build_config(*layers(file=as_table(config), above=(changes,)))


def _setting(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value
