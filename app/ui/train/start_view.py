"""Step 3 as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from app.language import Sentence
from app.studio.base_models import Base
from app.studio.dataset.drafts import Draft
from app.studio.runs.estimate_jobs import Estimate
from app.studio.runs.estimates import RunTime
from app.studio.settings.fields import find_field, list_fields
from app.studio.settings.imports.report import shown
from app.studio.settings.plan import all_layers, changed_by_hand, method_of, values
from app.studio.settings.prompts import suggested_prompts
from app.studio.sweeps.draft_sweep import suggested_methods
from app.ui.components import text as shared
from app.ui.components.controls import Button, Control, Link
from app.ui.document.templates import render
from app.ui.train import text as words
from app.ui.train.techniques_view import titles_on
from app.units import counted, readable_size, readable_time
from trainers.adapters.methods import METHODS
from trainers.errors import OUT_OF_MEMORY, REFUSED
from trainers.messages import joined
from trainers.planning.findings import Finding


@dataclass(frozen=True)
class StartState:
    """The state of the step."""

    draft: Draft
    base: Base
    lacks_base: bool
    """Whether a base must be chosen first."""
    name: str
    called: str
    """The line below the name."""
    wrong: int
    """Number of settings with problems."""
    estimate: Estimate | None
    """None if nothing can be measured."""
    time: RunTime | None
    """The run's duration; None if this base was not measured."""
    busy: str
    """The activity of the computer."""
    no_disk: tuple[int, int] | None
    """Required and free bytes, if too few are free."""
    refused: str
    """Why the start was refused."""
    nonce: float
    ack: int = 0
    """Sequence number of the edit that this acknowledges."""
    findings: tuple[Finding, ...] = ()
    """Settings that do not suit this computer or the base."""
    started: str = ""
    """The run that was started from this revision."""


@dataclass(frozen=True)
class Note:
    """An obstacle to the start with its remedy."""

    said: str
    controls: tuple[Control, ...] = ()


def start_sheet(sheet: StartState) -> Markup:
    """The step."""
    return render(
        "train/start.html",
        sheet=sheet,
        summary=summary(sheet.draft, "" if sheet.lacks_base else sheet.base.title),
        changed=read_changed(sheet.draft),
        prompts="\n".join(sheet.draft.prompts or suggested_prompts(sheet.draft)),
        facts=_facts(sheet.estimate, sheet.time),
        notes=_notes(sheet),
    )


def start_foot(sheet: StartState) -> Markup:
    """The line at the bottom."""
    return render("train/start_foot.html", sheet=sheet, key=f"{sheet.nonce:.3f}")


def leaving(name: str) -> Markup:
    """The line at the bottom after a run has started."""
    return render("train/leaving.html", run=name)


@dataclass(frozen=True)
class MethodChoice:
    """A method of a comparison."""

    name: str
    title: str
    told: str
    """The duration of a run."""
    seconds: int
    """0 if unknown."""
    is_suggested: bool


def several(draft: Draft, seconds: Mapping[str, float | None], answered: str) -> Markup:
    """The methods to compare, by duration; "" for a draft without pictures.

    `answered` is the mark of the refused start that this answers, or "".
    """
    if not draft.pictures or len(seconds) < 2:
        return Markup("")
    suggested = suggested_methods(draft)
    names = [*(name for name in suggested if name in seconds), *(name for name in seconds if name not in suggested)]
    methods = [
        MethodChoice(
            name,
            METHODS[name].about.title,
            words.ABOUT.format(time=readable_time(duration)) if duration else "",
            round(duration or 0),
            name in suggested,
        )
        for name, duration in ((name, seconds[name]) for name in names)
    ]
    return render("train/sweep.html", methods=methods, answered=answered)


def leaving_sweep(name: str) -> Markup:
    """The line at the bottom after a sweep has started."""
    return render("train/leaving_sweep.html", sweep=name)


def read_changed(draft: Draft) -> list[tuple[str, str]]:
    """The settings changed by hand and the start style, each with its value.

    They are in the order of the config, tables last.
    """
    method, by_hand = method_of(draft.choices), changed_by_hand(draft.choices)
    fields = sorted(
        (field for field in list_fields(method) if field.key in by_hand), key=lambda field: field.kind == "table"
    )
    changed = [
        (field.title, shown(by_hand[field.key]) if field.kind == "switch" else field.show(by_hand[field.key]))
        for field in fields
    ]
    start = find_field("train.start_from", method)
    return [*changed, *([(start.title, Path(draft.choices.start).stem)] if start and draft.choices.start else [])]


def summary(draft: Draft, base: str) -> str:
    """A line with what will be trained on a base of this title."""
    preset = draft.choices.own_preset or words.PRESETS.get(draft.choices.preset, (draft.choices.preset,))[0]
    method = method_of(draft.choices)
    known = METHODS[method].about.title if method else words.WITHOUT_METHOD
    extras = titles_on(draft)
    is_named = bool(draft.choices.method or extras or not method)  # the preset's own method goes without saying
    title = joined(" + ", (known, *extras)) if is_named else ""
    aim = words.AIMS_SHORT[draft.choices.aim]
    settings = values(all_layers(draft), method)
    reads = settings["data.read_trigger"] or settings["prior.prompt"]  # class images are told apart by it
    trigger = (words.CALLED_UP if reads else words.UNREAD_TRIGGER).format(trigger=draft.trigger)
    trigger = trigger if draft.trigger else words.NO_TRIGGER
    empty = sum(not picture.caption for picture in draft.pictures)
    pictures = counted(len(draft.pictures), "picture")
    if empty:
        pictures = words.SOME_WITHOUT_CAPTION.format(pictures=pictures, empty=empty)
    return joined(" · ", (pictures, aim, preset, title, base, trigger))


def _facts(estimate: Estimate | None, time: RunTime | None) -> tuple[tuple[str, str], ...]:
    """Time, memory and file size; "" for unknown ones."""
    cost = estimate.cost if estimate else None
    return (
        (words.TIME, readable_time(cost.seconds) if cost else words.run_time(time)),
        (words.MEMORY, readable_size(cost.memory) if cost else ""),
        (words.FILE, words.file_size(cost) if cost else ""),
        *(((words.CARD, cost.fits),) if cost and cost.fits else ()),
    )


def _notes(sheet: StartState) -> list[Note]:
    """Findings that prevent the start or recommend a change."""
    notes = [
        Note(Sentence.of(finding.problem), (Button(finding.repair, "repair", finding.key, kind="small"),))
        for finding in sheet.findings
    ]
    cost = sheet.estimate.cost if sheet.estimate else None
    low = sheet.draft.choices.preset == "low-memory"
    code = sheet.estimate.code if sheet.estimate else ""
    use_low_memory = Button(words.USE_LOW_MEMORY, "low-memory", kind="small")
    if not low and cost and cost.free and cost.memory > cost.free:
        sentence = words.TOO_BIG.format(readable_size(cost.memory), readable_size(cost.free))
        notes.append(Note(sentence, (use_low_memory,)))
    elif not low and code == OUT_OF_MEMORY:
        notes.append(Note("", (use_low_memory,)))
    elif code == REFUSED:
        notes.append(Note(words.REFUSED_SETTINGS, (Link(words.TO_STYLE, "#style", "small"),)))
    if sheet.no_disk:
        sentence = words.NO_DISK.format(*map(readable_size, sheet.no_disk))
        notes.append(Note(sentence, (Link(shared.DELETE_OLD, "runs", "small"),)))
    if sheet.wrong:
        sentence = words.MEND_FIRST.format(counted(sheet.wrong, "setting"))
        notes.append(Note(sentence, (Link(words.TO_STYLE, "#style", "small"),)))
    if sheet.base.problem:
        notes.append(Note(words.NO_BASE.format(sheet.base.title, sheet.base.problem)))
    return notes
