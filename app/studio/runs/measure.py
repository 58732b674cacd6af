"""Estimates of a run's time, memory and file size, measured with a few real steps."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from app.studio.progress import OnProgress, quiet
from trainers.messages import Message as _
from trainers.messages import to_record

if TYPE_CHECKING:
    from trainers.config.config import Config
    from trainers.runs.event_lines import Event
    from trainers.training.estimate import Estimate

MEASURING = _("Trying a few steps, to measure the time …")


def measure_config(config: Config, on_progress: OnProgress = quiet) -> Estimate:
    """Measure a run with progress; the result is an event `estimate`."""
    from app.studio.runs.pace import circumstances, load_now
    from trainers.models.files.source import base_name
    from trainers.planning.plan import smallest_card
    from trainers.training.estimate import STEPS, measure

    done, load = 0, load_now()

    def listen(event: Event) -> None:
        nonlocal done
        if event["type"] == "loading":
            on_progress("working", message=_("Reading the base model {base} …", base=base_name(event["base"])))
        elif event["type"] in ("step", "skipped"):
            done += 1
            on_progress("working", message=MEASURING, done=done, of=min(STEPS, config.train.steps))

    found = measure(config, listen)
    numbers = asdict(replace(found, cards=())) | {"cards": list(found.cards)}
    card = to_record(smallest_card(found.cards))
    on_progress("estimate", **numbers, card=card, **circumstances(config, found.device, load))
    return found
