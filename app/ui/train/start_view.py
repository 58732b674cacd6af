"""The third step as HTML."""

from __future__ import annotations

from dataclasses import dataclass

from app.studio.base_models import Base
from app.studio.dataset.drafts import Draft
from app.studio.runs.estimate_jobs import Estimate
from app.studio.settings.plan import method_of
from app.ui.components import text as shared
from app.ui.train import text as words
from app.ui.train.techniques_view import titles_on
from app.ui.web.html import button, text
from app.units import counted, readable_size, readable_time
from trainers.adapters.methods import METHODS
from trainers.errors import OUT_OF_MEMORY


@dataclass(frozen=True)
class Sheet:
    """All that the step shows."""

    draft: Draft
    base: Base
    name: str
    called: str
    """What is said about the name."""
    wrong: int
    """Settings to mend."""
    estimate: Estimate | None
    """None where nothing can be measured."""
    busy: str
    """What the computer does."""
    no_disk: tuple[int, int] | None
    """Bytes that it needs and that are free, where that is too little."""
    refused: str
    """Why it did not start."""
    nonce: float
    kept: int = 0
    """The number of the typing that this answers."""


def start_sheet(sheet: Sheet) -> str:
    """The whole step."""
    within = _name(sheet) + _prompts(sheet.draft)
    fields = f'<div class="start-fields" data-revision="{sheet.draft.revision}" data-kept="{sheet.kept}">{within}</div>'
    return (
        f'<p class="summary">{text(summary(sheet.draft, sheet.base))}</p>{_starter(sheet.base)}{fields}'
        f"{_facts(sheet.estimate)}{_notes(sheet)}"
    )


def summary(draft: Draft, base: Base) -> str:
    """What will be trained, in one line."""
    preset = words.PRESETS.get(draft.choices.preset, (draft.choices.preset,))[0]
    method = method_of(draft.choices)
    known = METHODS[method].about.title if method else ""
    title = " + ".join((known or words.WITHOUT_METHOD, *titles_on(draft)))
    aim = next(said for name, said, _ in words.AIMS if name == draft.choices.aim)
    trigger = f"called up by “{draft.trigger}”" if draft.trigger else words.NO_TRIGGER
    empty = sum(not picture.caption for picture in draft.pictures)
    pictures = counted(len(draft.pictures), "picture") + (f", {empty} without a caption" if empty else "")
    return " · ".join((pictures, aim.lower(), preset, title, base.title, trigger))


def leaving(name: str) -> str:
    """What stands there while the browser goes to the run's page."""
    return f'<div class="foot"><p role="status" data-run="{text(name)}">{text(name)} …</p></div>'


def _starter(base: Base) -> str:
    if not base.is_starter:
        return ""
    link = f'<a class="small" href="#style">{text(words.USE_REAL)}</a>'
    return f'<div class="note loose"><p>{text(words.STARTER_ONLY)}</p>{link}</div>'


def _name(sheet: Sheet) -> str:
    said = f'<p class="said" id="name-said" role="status">{text(sheet.called)}</p>' if sheet.called else ""
    return (
        f'<div class="field"><label for="style-name">{text(words.NAME)}</label><p id="name-hint">'
        f'{text(words.NAME_HINT)}</p><input id="style-name" type="text" maxlength="60" dir="auto" autocomplete="off" '
        f'spellcheck="false" aria-describedby="name-hint name-said" value="{text(sheet.name)}">{said}</div>'
    )


def _prompts(draft: Draft) -> str:
    shown = text("\n".join(draft.prompts))
    return (
        f'<div class="field"><label for="prompts">{text(words.PROMPTS)}</label><p id="prompts-hint">'
        f'{text(words.PROMPTS_HINT)}</p><textarea id="prompts" rows="4" maxlength="6000" '
        f'aria-describedby="prompts-hint" value="{shown}">{shown}</textarea>'
        f"{button(words.FROM_CAPTIONS, 'captions', kind='small')}</div>"
    )


def _facts(estimate: Estimate | None) -> str:
    cost = estimate.cost if estimate else None
    values = (
        (words.TIME, readable_time(cost.seconds) if cost else ""),
        (words.MEMORY, readable_size(cost.memory) if cost else ""),
        (words.FILE, words.file_size(cost) if cost else ""),
    )
    cells = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value) if value else '–'}</dd></div>" for name, value in values
    )
    return f'<section class="estimate"><dl class="facts">{cells}</dl>{_measuring(estimate)}</section>'


def _measuring(estimate: Estimate | None) -> str:
    if estimate is None or estimate.phase == "none":
        return f'<p class="hint">{text(words.NOT_MEASURED_HERE)}</p>'
    again = button(words.MEASURE_AGAIN, "measure", kind="small")
    match estimate.phase:
        case "measured":
            said = words.MEASURED.format(estimate.of) if estimate.fresh else words.MEASURED_BEFORE
            return f'<div class="line"><p class="hint">{text(said)}</p>{again}</div>'
        case "failed":
            return f'<p class="problem" role="alert">{text(estimate.sentence)}</p>{again}'
        case "waiting":
            said = words.MEASURING_WAITS.format(estimate.sentence.rstrip("."))
            return f'<p class="hint" role="status">{text(said)} {text(words.START_ANYWAY)}</p>'
    share = 100 * estimate.done / estimate.of if estimate.of else 0
    count = f" {estimate.done} of {estimate.of}." if estimate.of else ""
    return (
        f'<p class="hint" role="status">{text(words.MEASURING)}{count} {text(words.START_ANYWAY)}</p>'
        f'<div class="bar" role="progressbar" aria-label="{text(words.MEASURING)}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{share:.0f}"><i style="width:{share:.1f}%"></i></div>'
    )


def _notes(sheet: Sheet) -> str:
    notes, cost = [], sheet.estimate.cost if sheet.estimate else None
    low = sheet.draft.choices.preset == "low-memory"
    failed = sheet.estimate is not None and sheet.estimate.code == OUT_OF_MEMORY
    if not low and cost and cost.free and cost.memory > cost.free:
        said = words.TOO_BIG.format(readable_size(cost.memory), readable_size(cost.free))
        notes.append(_note(said, button(words.USE_LOW_MEMORY, "low-memory", kind="small")))
    elif not low and failed:
        notes.append(_note("", button(words.USE_LOW_MEMORY, "low-memory", kind="small")))
    if sheet.no_disk:
        link = f'<a class="small" href="runs">{text(shared.DELETE_OLD)}</a>'
        notes.append(_note(words.NO_DISK.format(*map(readable_size, sheet.no_disk)), link))
    if sheet.wrong:
        link = f'<a class="small" href="#style">{text(words.TO_STYLE)}</a>'
        notes.append(_note(words.MEND_FIRST.format(counted(sheet.wrong, "setting")), link))
    if sheet.base.problem:
        notes.append(_note(words.NO_BASE.format(sheet.base.title, sheet.base.problem), ""))
    if sheet.busy and not (sheet.estimate and sheet.estimate.busy):
        notes.append(f'<p class="hint">{text(words.BUSY.format(sheet.busy))}</p>')
    return "".join(notes)


def _note(said: str, act: str) -> str:
    return f'<div class="note loose"><p>{text(said)}</p>{act}</div>'


def start_foot(sheet: Sheet) -> str:
    """The line at the bottom: why it did not start, back, and the start."""
    refused = (
        f'<p class="problem" role="alert" data-key="{sheet.nonce:.3f}">{text(sheet.refused)}</p>'
        if sheet.refused
        else ""
    )
    return (
        f'<div class="foot">{refused}<a class="quiet" href="#style">{text(words.BACK)}</a>'
        f'<button type="button" class="go" data-start data-busy="{text(words.PREPARING)}">{text(words.START)}</button>'
        "</div>"
    )
