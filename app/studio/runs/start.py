"""Starts runs from drafts, for the third step of Train and for the API."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from app.jobs import actions
from app.jobs.job import Job
from app.jobs.permissions import Actor
from app.jobs.settings import is_trained_here
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.names import name_of, suggest, unlike
from app.studio.runs.estimates import Measured
from app.studio.runs.origin import write_origin
from app.studio.settings.own_presets import OwnPreset
from app.studio.settings.plan import all_layers, choose, nested, with_choices
from app.studio.studio_queue import StudioQueue
from trainers.adapters.methods import METHODS
from trainers.config.build import as_table, build_config, no_method
from trainers.config.presets import find_preset, list_presets
from trainers.config.tables import overlay
from trainers.device import choose_device
from trainers.errors import VelaturaError
from trainers.planning.findings import check_ahead

OF_FILES = ("base.parts", "prior.folder", "train.start_from")
"""Settings that may name any file of the computer; its owner sets them on the command line."""


def start_run(
    queue: StudioQueue,
    drafts: Drafts,
    draft: Draft,
    actor: Actor,
    settings: Mapping[str, Any] | None = None,
) -> Job:
    """Queue a draft's run under its name or the next free one, with `settings` over its own. The job is the actor's,
    and has its measured duration."""
    name = unlike(queue.store.runs, name_of(draft.name or suggest(draft)))
    with tempfile.TemporaryDirectory(dir=drafts.paths.root, prefix="start-") as place:
        pictures = Path(place).absolute() / "pictures"
        drafts.write_dataset(draft, pictures)
        fixed = {"name": name, "data": {"images": str(pictures)}}
        config = build_config(*all_layers(draft, settings or {}, fixed))
        _check_switches(settings or {}, as_table(config))
        check_ahead(config, is_trained_here(queue.store.runs))
        measured = Measured(drafts.paths)
        expected, cost = measured.seconds(config, len(draft.pictures)), measured.cost(config, len(draft.pictures))
        memory = cost.memory / 1e9 if cost is not None else 0.0
        job = actions.add(queue.store, config, actor=actor, expected=expected, memory=memory)
    write_origin(job.folder, draft)
    return job


def with_orders(
    draft: Draft,
    preset: str,
    base: str,
    settings: Mapping[str, Any],
    find_own: Callable[[str], OwnPreset] | None = None,
) -> tuple[Draft, dict[str, Any]]:
    """The draft with an API call's choices, and its settings as a table without the method.

    `settings` are a config file's tables or dotted keys (`train.steps`); `find_own` finds a person's own
    preset. Raises VelaturaError.
    """
    table = _as_table(settings)
    method = table.get("method")
    named = str(method.get("name", "")) if isinstance(method, dict) else method if isinstance(method, str) else ""
    if named and named not in METHODS:
        raise VelaturaError(no_method(named))
    own_base = table.get("base")
    base = str(own_base.get("model", base)) if isinstance(own_base, dict) else base
    if find_own is None or preset in {bundled.name for bundled in list_presets()}:
        draft = with_choices(draft, preset=find_preset(preset).name, base=base, method="", settings={})
    else:
        draft = find_own(preset).use(with_choices(draft, base=base))
    if named:
        draft = choose(draft, "method", named)
    if isinstance(method, str):
        del table["method"]
    _check_orders(table)
    return draft, table


def _check_orders(table: Mapping[str, Any]) -> None:
    """Raise VelaturaError if a setting conflicts with the draft or the call, or has the wrong type."""
    if "name" in table:
        raise VelaturaError("the name cannot be set here; use the `name` parameter of /start")
    for section in ("data", "base", "train"):
        if not isinstance(table.get(section, {}), dict):
            raise VelaturaError(
                "{section} must be a table of settings, not {table!r:.80}", section=section, table=table[section]
            )
    if "images" in table.get("data", {}):
        raise VelaturaError("the images come from the draft; data.images cannot be set here")
    for section, key in (name.split(".") for name in OF_FILES):
        if key in (table.get(section) or {}):
            raise VelaturaError(
                "{section}.{key} cannot be set here; it may name any file of the studio's computer",
                section=section,
                key=key,
            )
    choose_device(str(table.get("train", {}).get("device", "auto")))


def _check_switches(settings: Mapping[str, Any], config: Mapping[str, Any], place: str = "") -> None:
    """Raise VelaturaError for a boolean instead of a number, which would count as 1 or 0."""
    for key, value in settings.items():
        kept = config.get(key)
        if isinstance(value, dict) and isinstance(kept, dict):
            _check_switches(value, kept, f"{place}{key}.")
        elif isinstance(value, bool) and isinstance(kept, int | float) and not isinstance(kept, bool):
            raise VelaturaError(
                "{place}{key} must be a number, not {value}", place=place, key=key, value=str(value).lower()
            )


def _as_table(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys and tables as nested tables."""
    table: dict[str, Any] = {}
    for key, value in settings.items():
        table = overlay(table, nested({str(key): value}))
    return table
