"""The pictures of a draft as HTML: a card each, with its findings and its caption, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from app.studio.dataset.checks import Note, Report
from app.studio.dataset.drafts import Draft, Drafts, Picture
from app.ui.components.controls import Button
from app.ui.document.templates import render
from app.ui.train import text as words


@dataclass(frozen=True)
class CardNote:
    """A finding about a picture, and what can be done about it."""

    said: str
    act: Button


@dataclass(frozen=True)
class Card:
    """A picture as the editor shows it."""

    picture: Picture
    number: int
    preview: Path
    trigger: str
    frame: str
    """How far in the frame stands that shows what stays, as CSS has it; "" where nearly all of the picture stays."""
    notes: tuple[CardNote, ...]


def read_cards(drafts: Drafts, draft: Draft, report: Report) -> list[Card]:
    """A card for each picture, in order."""
    previews = drafts.previews(draft)
    return [
        Card(
            picture,
            number,
            previews / f"{picture.id}.webp",
            draft.trigger,
            _frame(*report.frames[picture.id]) if picture.id in report.frames else "",
            tuple(_note(note, picture) for note in report.notes.get(picture.id, ())),
        )
        for number, picture in enumerate(draft.pictures, 1)
    ]


def sheet(draft: Draft, cards: Sequence[Card], since: int | None, acknowledged: int = 0) -> Markup:
    """The value of the editor: all cards, or those that changed `since` a revision, with the revision they show."""
    return render("train/cards.html", draft=draft, cards=cards, since=since, acknowledged=acknowledged)


def left_out(draft: Draft) -> str:
    """The files that were not taken in; empty where there are none."""
    return render("train/left_out.html", files=draft.left_out) if draft.left_out else ""


def foot(draft: Draft, report: Report) -> str:
    """The line at the bottom; empty where there is nothing to say."""
    if not (draft.pictures or draft.undo):
        return ""
    done = draft.undo[-1] if draft.undo else None
    return render(
        "train/pictures_foot.html", count=len(draft.pictures), hints=words.hints_line(report.hints), done=done
    )


def general(report: Report) -> str:
    """Findings about the pictures as a whole; empty where there are none."""
    return render("train/general.html", findings=report.general) if report.general else ""


def _frame(down: float, right: float) -> str:
    return " ".join(f"{50 * (1 - share):.1f}%" for share in (down, right))


def _note(note: Note, picture: Picture) -> CardNote:
    said = f"{note.words} {words.FRAME}" if note.kind == "elongated" else note.words
    match note.kind:
        case "transparent":
            return CardNote(said, Button(words.USE_AS_MASK, "mask", picture.id, "small"))
        case "no caption" | "long caption":
            return CardNote(said, Button(words.WRITE_IT, "write", picture.id, "small"))
    return CardNote(said, Button(words.LEAVE_OUT, "leave", picture.id, "small"))
