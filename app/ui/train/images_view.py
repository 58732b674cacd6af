"""The pictures of a draft as HTML: a card each, with its findings and its caption, and what was left out."""

from __future__ import annotations

from app.studio.dataset.checks import Note, Report
from app.studio.dataset.drafts import Draft, Drafts, Picture
from app.ui.components import text as words
from app.ui.train.text import undo_line
from app.ui.web.html import button, file_address, icon, text

ACTIONS = {
    "transparent": ("mask", words.USE_AS_MASK),
    "no caption": ("write", words.WRITE_IT),
    "long caption": ("write", words.WRITE_IT),
}
"""What can be done about a finding; about all others, to leave the picture out."""


def cards(drafts: Drafts, draft: Draft, report: Report) -> list[str]:
    """A list item for each picture, in order."""
    return [_card(drafts, draft, report, place) for place in range(len(draft.pictures))]


def sheet(draft: Draft, items: list[str], since: int | None, acknowledged: int = 0) -> str:
    """The value of the editor: all cards, or those that changed `since` a revision, with the revision they show."""
    kind = ' data-whole=""' if since is None else f' data-since="{since}"'
    return (
        f'<ul{kind} data-revision="{draft.revision}" data-count="{len(draft.pictures)}" data-ack="{acknowledged}" '
        f'data-draft="{draft.id}">'
        f"{''.join(items)}</ul>"
    )


def left_out(draft: Draft) -> str:
    """The files that were not taken in, each with the reason."""
    if not draft.left_out:
        return ""
    rows = "".join(
        f"<li><p><b>{text(one.name)}</b> {text(one.reason)}</p>{button(words.REMOVE, 'dismiss', one.id, 'small')}</li>"
        for one in draft.left_out
    )
    every = button(words.REMOVE_ALL, "dismiss", "", "small") if len(draft.left_out) > 1 else ""
    return (
        f'<section class="left-out" aria-label="{text(words.LEFT_OUT_TITLE)}"><header><h2>{words.LEFT_OUT_TITLE}</h2>'
        f"<p>{text(words.OTHERS_GO_ON)}</p>{every}</header><ul>{rows}</ul></section>"
    )


def count(draft: Draft, report: Report) -> str:
    """The line beside *Next*: how many pictures, and how many hints."""
    hints = words.SUMMARY_OF_HINTS.format(words.counted(report.hints, "hint")) if report.hints else words.NO_HINTS
    ready = words.counted(len(draft.pictures), "picture")
    return f'<div class="count"><b>{ready} ready</b><span>{hints}</span></div>'


def undo(draft: Draft) -> str:
    """What was done last, and its undo; empty where there is none."""
    if not draft.undo:
        return ""
    return (
        f'<div class="undo"><span role="status">{text(undo_line(draft.undo[-1]))}</span>'
        f"{button(words.UNDO, 'undo', kind='small', drawing='undo')}</div>"
    )


def general(report: Report) -> str:
    """Findings about the pictures as a whole."""
    items = "".join(f"<li><b>{text(one.sentence)}</b> {text(one.fix)}</li>" for one in report.general)
    return f'<ul class="general">{items}</ul>' if items else ""


def _card(drafts: Drafts, draft: Draft, report: Report, place: int) -> str:
    picture = draft.pictures[place]
    number = place + 1
    field = f"caption-{picture.id}"
    chip = f'<i class="trigger">{text(draft.trigger)}</i>' if draft.trigger else ""
    caption = text(picture.caption)
    return (
        f'<li data-id="{picture.id}">{_picture(drafts, draft, report, picture, number)}'
        f'<label for="{field}"><span>Caption {number}</span>{chip}</label>'
        f'<textarea id="{field}" rows="2" maxlength="2000" dir="auto" value="{caption}">{caption}</textarea>'
        f'<div class="notes">{_notes(report.notes.get(picture.id, ()), picture)}</div></li>'
    )


def _picture(drafts: Drafts, draft: Draft, report: Report, picture: Picture, number: int) -> str:
    address = file_address(drafts.previews(draft) / f"{picture.id}.webp")
    height, width = picture.size
    frame, kind = "", "pic"
    if picture.id in report.frames:
        down, right = (f"{50 * (1 - share):.1f}%" for share in report.frames[picture.id])
        frame, kind = f'<i class="frame" style="inset:{down} {right}"></i>', "pic whole"
    return (
        f'<div class="{kind}"><div class="fit" style="--shape:{width}/{height}">'
        f'<img loading="lazy" src="{text(address)}" alt="Picture {number}: {text(picture.name)}">{frame}</div>'
        f'<button type="button" class="drop" data-do="remove" data-about="{picture.id}" '
        f'aria-label="{text(words.REMOVE_PICTURE.format(number))}">{icon("close")}</button></div>'
    )


def _notes(notes: tuple[Note, ...], picture: Picture) -> str:
    lines = []
    if picture.rival:
        choices = button(words.TAKE_THAT, "take", picture.id, "small") + button(
            words.KEEP_MINE, "keep", picture.id, "small"
        )
        lines.append(f'<div class="note rival"><p>{text(words.RIVAL.format(picture.rival))}</p>{choices}</div>')
    for note in notes:
        do, label = ACTIONS.get(note.kind, ("leave", words.LEAVE_OUT))
        said = f"{note.words} {words.FRAME}" if note.kind == "elongated" else note.words
        lines.append(f'<div class="note"><p>{text(said)}</p>{button(label, do, picture.id, "small")}</div>')
    return "".join(lines)
