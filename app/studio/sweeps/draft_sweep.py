"""Sweeps of a draft: over methods, each with its preset, or over any axes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.jobs.permissions import Actor
from app.jobs.settings import is_trained_here
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.names import alike, name_of, suggest
from app.studio.runs.estimates import Measured
from app.studio.runs.origin import write_origin
from app.studio.settings.plan import all_layers, choose, method_of
from app.studio.studio_queue import StudioQueue
from app.studio.sweeps.axes import METHOD, Axis
from app.studio.sweeps.plan import plan_sweep
from app.studio.sweeps.sweep_file import Sweep, list_sweeps
from app.studio.sweeps.sweeps import start_sweep
from trainers.adapters.methods import METHODS
from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.config.tables import overlay
from trainers.errors import VelaturaError
from trainers.planning.findings import check_ahead

SUGGESTED = ("lora", "loha", "lokr")
"""Methods that differ much and that other programs read."""
UNNAMED = "sweep"
"""Placeholder name for estimates."""


def suggested_methods(draft: Draft) -> tuple[str, ...]:
    """Three methods to compare, including the draft's."""
    own = method_of(draft.choices)
    return tuple(dict.fromkeys([*([own] if own else []), *SUGGESTED]))[: len(SUGGESTED)]


def method_seconds(measured: Measured, draft: Draft) -> dict[str, float | None]:
    """Seconds of the draft's run with each method that its settings allow; None if unknown."""
    seconds: dict[str, float | None] = {}
    for method in METHODS:
        with suppress(VelaturaError):  # the draft's settings do not allow this method
            config = build_config(*all_layers(choose(draft, "method", method), {"name": UNNAMED}))
            seconds[method] = measured.seconds(config, len(draft.pictures))
    return seconds


def start_method_sweep(queue: StudioQueue, drafts: Drafts, draft: Draft, methods: Sequence[str], actor: Actor) -> Sweep:
    """Queue a run of the draft for each method, all or none, like `start_draft_sweep`."""
    return start_draft_sweep(queue, drafts, draft, [Axis((METHOD,), tuple(dict.fromkeys(methods)))], actor)


def start_draft_sweep(
    queue: StudioQueue,
    drafts: Drafts,
    draft: Draft,
    axes: Sequence[Axis],
    actor: Actor,
    settings: Mapping[str, Any] | None = None,
) -> Sweep:
    """Queue a run of the draft for each combination of values, all or none, with `settings` over its own.

    The sweep has the draft's name, or the next free one. Raises VelaturaError.
    """
    for axis in axes:
        unknown = [value for value in axis.values if METHOD in axis.keys and str(value) not in METHODS]
        if unknown:
            raise VelaturaError("there is no method {method!r:.80}", method=unknown[0])
    runs = queue.store.runs
    name = free_sweep_name(runs, name_of(draft.name or suggest(draft)))
    with tempfile.TemporaryDirectory(dir=drafts.paths.root, prefix="start-") as place:
        pictures = Path(place).absolute() / "pictures"
        drafts.write_dataset(draft, pictures)

        def make(method: str | None, more: Mapping[str, Any]) -> Config:
            chosen = choose(draft, "method", method) if method else draft
            return build_config(*all_layers(chosen, settings or {}, overlay(more, {"data": {"images": str(pictures)}})))

        plan = plan_sweep(name, axes, make, runs, Measured(drafts.paths), len(draft.pictures))
        for run in plan.runs:
            check_ahead(run.wanted.config, is_trained_here(runs))
        sweep, _ = start_sweep(queue.store, plan, actor=actor, prepared=lambda folder: write_origin(folder, draft))
    return sweep


def free_sweep_name(runs: Path, name: str) -> str:
    """The name, with a number if a sweep has it, or runs have names that begin with it."""
    taken = {alike(sweep.name) for sweep in list_sweeps(runs)[0]}
    existing = [alike(path.name) for path in runs.iterdir()] if runs.is_dir() else []

    def is_free(candidate: str) -> bool:
        key = alike(candidate)
        return key not in taken and not any(other == key or other.startswith(f"{key}-") for other in existing)

    numbered = (name if number == 1 else f"{name} {number}" for number in range(1, 10_000))
    return next(each for each in numbered if is_free(each))
