"""A job's events folded into one value, from which its state follows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.jobs.events.follow import Follower
from trainers.errors import OUT_OF_MEMORY
from trainers.messages import Message, recorded
from trainers.messages import Message as _
from trainers.models.files.source import base_name
from trainers.runs.event_lines import SAID, Event
from trainers.score.recorded import Scores, followed

ENDS = {"done": "finished", "stopped": "stopped", "paused": "paused", "cancelled": "cancelled", "error": "failed"}
"""The state that each last event leads to."""
MOST_AHEAD = 4.0
"""Limit of the progress shown as a multiple of the share of steps done: preparations may take long."""
BEGINNINGS = ("anew", "attempt", "loading")
"""First events of an attempt; the time before them was not spent on the job."""


@dataclass(frozen=True)
class Summary:
    """The events of a run since it last began."""

    doing: str = ""
    """Empty before the first attempt, else `preparing`, `training`, `sampling`, `saving` or `working`."""
    ended: str = ""
    """The recorded end; empty until it is recorded."""
    message: str = ""
    """The message of an error, or of the current preparation."""
    code: str = ""
    """The kind of an error, as in `trainers.errors`; may be empty."""
    step: int = 0
    steps: int = 0
    saved: int = 0
    """Step of the newest checkpoint."""
    speed: float = 0.0
    """Steps a second."""
    loss: float | None = None
    phase: str = ""
    """A run's phase, as in `trainers.training.session.Phase`; empty for older runs."""
    left: float | None = None
    """Seconds until the run is done, with sampling and export; None before the first measurement."""
    pictures: tuple[int, int] = (0, 0)
    """Number of the current picture, and of all."""
    denoising: tuple[int, int] = (0, 0)
    """Denoising steps done of the current picture, and of all."""
    share: tuple[int, int] = (0, 0)
    """Items done by a small job, and of all."""
    rate: float | None = None
    """The learning rate of the newest step."""
    memory: int = 0
    """Peak memory of the process in bytes."""
    seconds: float = 0.0
    """Duration of all attempts, from the first event of each to its last."""
    kept_seconds: float = 0.0
    """`seconds` without the time of lost steps."""
    reached: float = 0.0
    """Share of the run that is done, 0 to 1, in time if known; falls only if steps are lost or added."""
    facts: tuple[tuple[str, Any], ...] = ()
    """Values of its `start` event: method, base, images, device …; or the numbers of an estimate."""
    time: float = 0.0
    """Time of the newest event that changed something, in Unix seconds."""
    fallback: tuple[int, int] = (0, 0)
    """Step of a damaged checkpoint, and of the one from which the run continued."""
    unread: str = ""
    """Why its events could not be read."""
    rollback: tuple[int, int] = (0, 0)
    """Step at which too many losses were not finite, and the step to which the run went back."""
    problems: tuple[tuple[str, Message], ...] = ()
    """Problems of the attempt, by name."""
    skipped: int = 0
    """Number of steps without effect because their loss or gradients were not finite; known at the end."""
    final: int = 0
    """Step of the style file behind the newest final samples; 0 without any."""
    expected: float | None = None
    """Duration of the whole run in seconds, as measured before it was queued; None if unknown."""
    attempt: int = 0
    """Number of the attempt, from 1; 0 without a queue or for older versions."""
    early_stop: tuple[int, int] = (0, 0)
    """The step that stayed the nearest to the style, and the number of samples after it; 0 while it may come nearer."""
    scores: Scores = ()
    """The scores of its steps, the base's first; empty without any."""

    @property
    def duration(self) -> float | None:
        """Duration of a waiting run from its next start, in seconds; None if unknown."""
        if self.left is None or not self.doing:
            return self.expected
        return self.left + (_at_speed(self.step - self.saved, self.speed) or 0.0)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the run is done, for older versions until the last step; None if unknown."""
        return self.left if self.left is not None else _at_speed(self.steps - self.step, self.speed)

    def followed(self, follower: Follower) -> Summary:
        """This summary with a follower's new events, or with why they cannot be read; the same object if unchanged."""
        try:
            summary, unread = self.after(follower.read()), ""
        except OSError as error:
            summary, unread = self, error.strerror or str(error)
        return summary if summary.unread == unread else replace(summary, unread=unread)

    def after(self, events: Iterable[Event]) -> Summary:
        """This summary with more events; unknown ones change nothing."""
        summary = self
        for event in events:
            change = _CHANGES.get(event["type"])
            if change is not None:
                time = float(event.get("time", 0.0))
                begins = summary.ended or not summary.doing or event["type"] in BEGINNINGS
                spent = 0.0 if begins else max(0.0, time - summary.time)
                before, summary = summary, change(summary, event)
                kept_seconds = (summary.kept_seconds + spent) * _kept(summary, before)
                summary = replace(summary, time=time, seconds=summary.seconds + spent, kept_seconds=kept_seconds)
                summary = replace(summary, reached=_reached(summary, before))
        return summary


def seconds_left(event: Event) -> float | None:
    """Seconds until a run is done by one of its events, for older versions from its steps alone; None if unknown."""
    if "seconds_left" in event:
        left: float | None = event["seconds_left"]
        return left
    return _at_speed(event.get("steps", 0) - event.get("step", 0), float(event.get("speed", 0.0)))


def _reached(now: Summary, before: Summary) -> float:
    done = min(1.0, now.step / now.steps) if now.steps else 0.0
    if now.left is not None:  # time counts more than steps, but early forecasts may be far too low
        done = min(0.99, now.kept_seconds / max(1e-9, now.kept_seconds + now.left), MOST_AHEAD * done)
    return max(done, before.reached * _kept(now, before)) if now.steps == before.steps else done


def _kept(now: Summary, before: Summary) -> float:
    """The share of its steps that a run has not lost."""
    return min(1.0, now.step / before.step) if before.step else 1.0


def _at_speed(steps: int, speed: float) -> float | None:
    return max(0, steps) / speed if speed else None


def _anew(summary: Summary, event: Event) -> Summary:
    return Summary(expected=summary.expected)


def _expected(summary: Summary, event: Event) -> Summary:
    return replace(summary, expected=event["seconds"])


def _attempt(summary: Summary, event: Event) -> Summary:
    began = replace(summary, doing="preparing", ended="", message="", phase="", step=summary.saved, problems=())
    return replace(began, speed=0.0, left=None, attempt=event["number"])


def _loading(summary: Summary, event: Event) -> Summary:
    message = _("Reading the base model {base} …", base=base_name(str(event.get("base", ""))))
    # It continues from its newest checkpoint, or from the beginning.
    return replace(summary, doing="preparing", ended="", message=message, step=summary.saved, speed=0.0, left=None)


def _phase(summary: Summary, event: Event) -> Summary:
    return replace(summary, phase=event["phase"], pictures=(0, 0), denoising=(0, 0))


def _start(summary: Summary, event: Event) -> Summary:
    facts, steps = _facts(event), event.get("steps", summary.steps)
    message = _("Preparing the pictures …")
    return replace(summary, doing="preparing", ended="", message=message, steps=steps, facts=facts)


def _working(summary: Summary, event: Event) -> Summary:
    share = (int(event.get("done", 0)), int(event.get("of", 0)))
    return replace(summary, doing="working", ended="", message=_message(event), share=share)


def _message(event: Event) -> Message:
    return recorded(event.get(SAID), event.get("message", ""))


def _estimate(summary: Summary, event: Event) -> Summary:
    return replace(summary, facts=_facts(event))


def _facts(event: Event) -> tuple[tuple[str, Any], ...]:
    return tuple((key, value) for key, value in event.items() if key not in ("time", "type"))


def _step(summary: Summary, event: Event) -> Summary:
    loss = event.get("loss")
    return replace(
        summary,
        doing="training",
        step=event["step"],
        steps=event.get("steps", summary.steps),
        speed=float(event.get("speed", 0.0)),
        left=event.get("seconds_left", summary.left),
        loss=loss if isinstance(loss, int | float) else summary.loss,  # NaN is written as text
        rate=event.get("lr", summary.rate),
        memory=event.get("memory", summary.memory),
    )


def _drawing(summary: Summary, event: Event) -> Summary:
    pictures, left = (event["picture"], event["pictures"]), event.get("seconds_left", summary.left)
    return replace(summary, doing="sampling", pictures=pictures, denoising=(0, 0), left=left)


def _denoising(summary: Summary, event: Event) -> Summary:
    return replace(summary, denoising=(event["done"], event["of"]), left=event.get("seconds_left", summary.left))


def _back_to_work(summary: Summary, event: Event) -> Summary:
    is_done = summary.phase == "after" or (summary.step and summary.step == summary.steps)
    return replace(summary, doing="saving" if is_done else "training")


def _checkpoint(summary: Summary, event: Event) -> Summary:
    return _back_to_work(replace(summary, saved=event["step"]), event)


def _damaged(summary: Summary, event: Event) -> Summary:
    saved = event["saved"]
    return replace(
        summary, step=saved, saved=saved, left=None, fallback=(max(summary.fallback[0], event["step"]), saved)
    )


def _rollback(summary: Summary, event: Event) -> Summary:
    saved = event["saved"]
    back = replace(summary, scores=followed(summary.scores, event), early_stop=(0, 0))
    return replace(back, step=saved, saved=saved, left=None, rollback=(event["step"], saved))


def _problem(summary: Summary, event: Event) -> Summary:
    others = _solved(summary, event)
    return replace(others, problems=(*others.problems, (event["name"], _message(event))))


def _solved(summary: Summary, event: Event) -> Summary:
    return replace(summary, problems=tuple(pair for pair in summary.problems if pair[0] != event["name"]))


def _score(summary: Summary, event: Event) -> Summary:
    return replace(summary, scores=followed(summary.scores, event))


def _early_stop(summary: Summary, event: Event) -> Summary:
    return replace(summary, early_stop=(event["nearest"], event["further"]))


def _saving(summary: Summary, event: Event) -> Summary:
    return replace(summary, doing="saving")


def _final(summary: Summary, event: Event) -> Summary:
    return replace(summary, doing="saving", final=event.get("step", 0))


def _end(summary: Summary, event: Event) -> Summary:
    return replace(
        summary,
        ended=ENDS[event["type"]],
        message=_message(event),
        code=OUT_OF_MEMORY if event.get("cause") == "memory" else str(event.get("code", "")),
        step=event.get("step", summary.step),
        skipped=event.get("skipped", 0),
    )


_CHANGES = {
    "anew": _anew,
    "attempt": _attempt,
    "loading": _loading,
    "start": _start,
    "working": _working,
    "estimate": _estimate,
    "step": _step,
    "skipped": _step,
    "expected": _expected,
    "phase": _phase,
    "drawing": _drawing,
    "denoising": _denoising,
    "sample": _back_to_work,
    "score": _score,
    "early_stop": _early_stop,
    "checkpoint": _checkpoint,
    "damaged": _damaged,
    "rollback": _rollback,
    "problem": _problem,
    "solved": _solved,
    "export": _saving,
    "final": _final,
    **dict.fromkeys(ENDS, _end),
}


def read_summary(folder: Path) -> Summary:
    """The summary of all events in a job's folder."""
    return Summary().followed(Follower(folder))
