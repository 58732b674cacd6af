"""The pictures of a draft as data for the wall's script, and the lines around the wall."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from app.errors import as_sentence
from app.studio.dataset.caption_jobs import CaptionProgress
from app.studio.dataset.checks import Note, Report
from app.studio.dataset.drafts import WHOLE, Draft, Drafts, Picture, Undo
from app.studio.dataset.edits import replacements
from app.studio.settings.fields import list_folder_fields
from app.studio.settings.plan import FOLDERS, folder_settings, problems
from app.ui.components import text as shared
from app.ui.components.controls import Button, Link, banner
from app.ui.components.live import versioned
from app.ui.document.templates import render
from app.ui.gradio_internals import file_address
from app.ui.train import text as words
from app.ui.train import wall_text
from app.ui.train.settings_view import SettingRow, folder_row
from trainers.data.findings import Kind
from trainers.data.repeats import describe_repeats, repeats_of
from trainers.errors import VelaturaError
from trainers.messages import joined

MOST_SHOWN, MOST_LINES, LONG_AGO = 5, 2, 3600
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class WallRow:
    """A picture on the wall."""

    picture: Picture
    notes: tuple[Note, ...]
    frame: Box | None
    """(left, top, width, height) of the trained part as fractions; None if it is nearly the whole picture."""


@dataclass(frozen=True)
class Group:
    """The pictures of a folder, with the settings that they can have of their own."""

    name: str
    line: str
    own: str
    """The settings that differ from those of all pictures, in a line."""
    rows: list[SettingRow]

    @property
    def is_wrong(self) -> bool:
        """Whether a setting has a problem."""
        return any(row.problem for row in self.rows)


@dataclass(frozen=True)
class Change:
    """A caption that a replacement would change."""

    number: int
    between: tuple[str, ...]
    """The texts around the matches."""
    after: str


def read_rows(draft: Draft, report: Report) -> list[WallRow]:
    """A row for each picture, in order."""
    return [
        WallRow(picture, tuple(report.notes.get(picture.id, ())), _frame(picture, report.frames.get(picture.id)))
        for picture in draft.pictures
    ]


def all_rows(drafts: Drafts, draft: Draft, rows: Sequence[WallRow], acknowledged: int = 0) -> dict[str, Any]:
    """The wall's value with every row."""
    says = _Says()
    return _state(drafts, draft, acknowledged) | {"whole": True, "rows": says.pack(rows), "says": says.notes}


def changed_rows(
    drafts: Drafts, before: Draft, old: Sequence[WallRow], draft: Draft, new: Sequence[WallRow], acknowledged: int = 0
) -> dict[str, Any]:
    """The wall's value with the rows that differ from a known state; every row if the order changed."""
    old_rows, now = {row.picture.id: row for row in old}, {row.picture.id: row for row in new}
    if [id for id in old_rows if id in now] != [id for id in now if id in old_rows]:
        return all_rows(drafts, draft, new, acknowledged)
    says = _Says()
    added = [(place, row) for place, row in enumerate(new) if row.picture.id not in old_rows]
    changed = [row for row in new if row.picture.id in old_rows and old_rows[row.picture.id] != row]
    return _state(drafts, draft, acknowledged) | {
        "since": before.revision,
        "gone": [id for id in old_rows if id not in now],
        "added": [(place, *says.pack([row])) for place, row in added],
        "changed": says.pack(changed),
        "says": says.notes,
    }


def read_groups(draft: Draft) -> list[Group]:
    """The folders of the pictures, if there are several; none while the settings of folders cannot be read."""
    counts = Counter(PurePosixPath(picture.name).parent.name for picture in draft.pictures)
    sets = folder_settings(draft)
    if len(counts) < 2 or sets is None:
        return []
    wrong = problems(draft)

    def group(name: str, count: int) -> Group:
        chosen = sets.get(name, {})
        rows = [
            folder_row(name, field, chosen.get(field), wrong.get(f"{FOLDERS}.{name}.{field}", ""))
            for field in list_folder_fields()
        ]
        own = joined(", ", [wall_text.own_setting(row.title, row.value) for row in rows if row.value])
        return Group(name, wall_text.group_line(name, count), own or wall_text.GROUP_AS_ALL, rows)

    return [group(name, count) for name, count in counts.items() if name]


def overview(draft: Draft, report: Report, acknowledged: int = 0) -> str:
    """Hints about all pictures, one per line; "" if there are none."""
    counts = Counter(kind for notes in report.notes.values() for kind in {note.kind for note in notes})
    lines = [(kind, wall_text.found_line(kind, counts[kind])) for kind in wall_text.FOUND if counts[kind]]
    general: list[tuple[Kind, str]] = [("", joined(" ", (finding.sentence, finding.fix))) for finding in report.general]
    repeats = describe_repeats(repeats_of(picture.name)[0] for picture in draft.pictures)
    several = sum(1 for picture in draft.pictures if picture.lines)
    groups = read_groups(draft)
    if not (several or groups or repeats or lines or general or draft.left_out):
        return ""
    alone = not draft.pictures  # without pictures the refused files stand open
    return render(
        "train/wall_overview.html",
        several_lines=wall_text.several_lines(several) if several else "",
        groups=groups,
        acknowledged=acknowledged,
        repeats=repeats,
        lines=lines + general,
        files=draft.left_out,
        most=MOST_LINES,
        alone=alone,
    )


def foot(draft: Draft, report: Report) -> str:
    """The line below the wall, or ""."""
    if not (draft.pictures or draft.undo):
        return ""
    done = words.undo_line(draft.undo[-1], _count_files(draft, draft.undo[-1])) if draft.undo else ""
    hinted = sum(1 for notes in report.notes.values() if notes)
    return render("train/pictures_foot.html", count=len(draft.pictures), hints=words.hints_line(hinted), done=done)


def _count_files(draft: Draft, step: Undo) -> int:
    """Number of caption files for a step's pictures; names that differ only in their suffix share one."""
    pictures = [picture for identifier in step.captions if (picture := draft.picture(identifier))]
    return len({PurePosixPath(picture.name).with_suffix("") for picture in pictures if picture.name})


def around(draft: Draft, report: Report, acknowledged: int = 0) -> tuple[str, str]:
    """The lines above and below the wall, with the draft's version so that a page ignores older ones."""
    parts = overview(draft, report, acknowledged), foot(draft, report)
    return versioned(parts[0], version_of(draft)), versioned(parts[1], version_of(draft))


def version_of(draft: Draft) -> int:
    """Microseconds since the epoch of the draft's last change; increases with each revision."""
    return round(draft.changed * 1e6)


def preview(draft: Draft, find: str, replace: str, identifiers: Collection[str] = ()) -> Markup:
    """The effect of a replacement as a short list of before and after."""
    after = replacements(draft, find, replace, identifiers)
    changes = [
        Change(number, tuple(picture.caption.split(find)), after[picture.id])
        for number, picture in enumerate(draft.pictures, 1)
        if picture.id in after
    ]
    return render("train/preview.html", changes=changes, find=find, most=MOST_SHOWN, done=None, tried=False)


def replaced(count: int, find: str) -> Markup:
    """The number of changed captions, or that no caption contains the text."""
    return render("train/preview.html", changes=[], find=find, most=0, done=count, tried=True)


def writing(state: CaptionProgress) -> Markup:
    """The progress of captioning by a model."""
    return render("train/writing.html", state=state, line=words.captions_line(state), none_empty=False)


def none_empty() -> Markup:
    """The line for a model that has no caption to write."""
    return render("train/writing.html", state=CaptionProgress(), line=words.NONE_EMPTY, none_empty=True)


def refused(error: VelaturaError) -> Markup:
    """The line for a captioning model that cannot be used."""
    return render("train/writing.html", state=CaptionProgress(), line=as_sentence(error), none_empty=False)


def notice(draft: Draft) -> str:
    """A notice about the draft's file, until it is dismissed."""
    return (
        banner(wall_text.draft_restored(draft.restored), Button(shared.DISMISS, "read-notice"), kind="problem")
        if draft.restored is not None
        else ""
    )


def newest_notice(draft: Draft) -> str:
    """The notice with the draft's version, so that a page ignores older ones."""
    return versioned(notice(draft), version_of(draft))


def trigger(draft: Draft) -> dict[str, Any]:
    """The trigger word with the draft's version, so that a page ignores older ones."""
    return {"trigger": draft.trigger, "version": version_of(draft)}


def aside(draft: Draft, clone_of: str = "") -> str:
    """The notice about a clone, or about a draft that was set aside for another."""
    kept = draft.aside
    acts = [Button(wall_text.BRING_BACK, "bring-back"), Button(wall_text.LET_GO, "let-go")] if kept else []
    return banner(wall_text.cloned(clone_of, len(kept.pictures) if kept else 0), *acts)


def welcome_back(draft: Draft, now: float, trained_as: str) -> str:
    """The notice for a returning user about trained or old pictures."""
    if not draft.pictures:
        return ""
    if trained_as:
        link = Link(words.OPEN_RUN, f"run?id={quote(trained_as)}")
        return banner(wall_text.TRAINED.format(trained_as), link, Button(shared.DISMISS, "dismiss-notice"))
    if now - draft.changed <= LONG_AGO:
        return ""
    sentence = wall_text.still_here(len(draft.pictures), draft.changed, now)
    return banner(sentence, Button(wall_text.KEEP_GOING, "dismiss-notice"))


class _Says:
    """The distinct notes of some rows, as most pictures share theirs."""

    def __init__(self) -> None:
        self.notes: list[tuple[Kind, str]] = []
        self._places: dict[Note, int] = {}

    def pack(self, rows: Iterable[WallRow]) -> list[list[Any]]:
        """Rows in the order of the script's `FIELDS`."""
        return [self._packed(row) for row in rows]

    def _packed(self, row: WallRow) -> list[Any]:
        picture = row.picture
        notes = [self._place(note) for note in row.notes]
        first = (picture.id, picture.name, picture.caption, *picture.rotated_size)
        return [*first, notes, picture.crop, picture.mask, row.frame, picture.rival, picture.rotation]

    def _place(self, note: Note) -> int:
        if note not in self._places:
            self._places[note] = len(self.notes)
            self.notes.append((note.kind, note.words))
        return self._places[note]


def _state(drafts: Drafts, draft: Draft, acknowledged: int) -> dict[str, Any]:
    return {
        "revision": draft.revision,
        "draft": draft.id,
        "trigger": draft.trigger,
        "previews": file_address(drafts.previews(draft)),
        "ack": acknowledged,
    }


def _frame(picture: Picture, stays: tuple[float, float] | None) -> Box | None:
    if picture.crop is None and stays is None:
        return None
    left, top, width, height = picture.crop or WHOLE
    down, right = stays or (1.0, 1.0)
    box = (left + width * (1 - right) / 2, top + height * (1 - down) / 2, width * right, height * down)
    return tuple(round(value, 4) for value in box)  # type: ignore[return-value]
