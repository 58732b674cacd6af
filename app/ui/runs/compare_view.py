"""Runs side by side as HTML: their heads, their last samples, the settings in which they differ, and their losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.jobs.losses import Curve
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.views import View
from app.studio.base_models import base_name
from app.studio.runs.samples import Sample, by_words, newest_whole
from app.studio.settings.differences import ABSENT, find_differences, setting
from app.studio.settings.fields import Field
from app.studio.styles.entry import StyleEntry
from app.studio.styles.library import StyleLibrary
from app.ui.components.download_menu import download_menu
from app.ui.runs import compare_text as words
from app.ui.runs import run_view
from app.ui.runs import text as run_words
from app.ui.runs.curve import draw_together, line_mark
from app.ui.runs.samples_view import sample_button
from app.ui.web.html import banner, text, wide_table

FEWEST, MOST = 2, 4
"""How many runs stand side by side."""


@dataclass(frozen=True)
class Side:
    """One of the runs that stand side by side."""

    view: View
    public: Path
    curve: Curve
    settings: Mapping[str, Any]
    columns: list[list[Sample]]
    """Its samples: before, each step, and those of the file last."""
    item: StyleEntry | None
    """Its style in the library, once it has ended and there is one."""

    @property
    def name(self) -> str:
        return self.view.job.name

    @property
    def last(self) -> list[Sample]:
        """Its newest samples, once all of them are drawn."""
        return newest_whole(self.columns)

    def rows(self) -> dict[tuple[str, int], Sample]:
        """Its newest samples by their words."""
        return by_words(self.view, self.last)


def compared(sides: Sequence[Side], library: StyleLibrary, said: Sequence[str]) -> str:
    """The whole page; `said` is what there is to say about the runs that were asked for."""
    notes = "".join(banner(" ".join(each)) for each in (said, _cautions(sides)) if each)
    return (
        f'<div class="title" data-title="{text(words.TITLE)}"><div><a class="back" href="runs">{text(run_words.TITLE)}'
        f"</a><h1>{text(words.TITLE)}</h1></div></div>"
        f'<div class="notes-above">{notes}</div>'
        f'<ul class="heads">{"".join(_head(place, side, library) for place, side in enumerate(sides, 1))}</ul>'
        f'<div class="beside of{len(sides)}">{_pictures(sides)}{_differences(sides)}{_losses(sides)}</div>'
    )


def _cautions(sides: Sequence[Side]) -> list[str]:
    """Why these runs can be compared only in part."""
    found = []
    if len({setting(side.settings, "base", "model") for side in sides}) > 1:
        found.append(words.OTHER_BASES)
    drawn = [side for side in sides if side.last]
    if len({str(setting(side.settings, "sample", "seeds")) for side in drawn}) > 1:
        found.append(words.OTHER_SEEDS)
    if len({frozenset(side.rows()) for side in drawn}) > 1:
        found.append(words.OTHER_PROMPTS)
    return found


def _head(place: int, side: Side, library: StyleLibrary) -> str:
    view = side.view
    download = download_menu(library, side.item) if side.item is not None else ""
    return (
        f'<li data-key="{text(side.name)}"><div class="whose">{line_mark(place)}<h2>'
        f'<a href="run?id={text(side.name)}">{text(side.name)}</a></h2></div>{run_view.chip(view.state)}'
        f"<p>{text(run_view.kind(view, MACHINE_OWNER))}</p>{run_view.facts(view)}"
        f'<div class="acts">{download}</div></li>'
    )


def _pictures(sides: Sequence[Side]) -> str:
    if not any(side.last for side in sides):
        return _section(run_words.SAMPLES, "pictures", f'<p class="hint">{text(words.NO_PICTURES)}</p>')
    drawn = [side.rows() for side in sides]
    rows = dict.fromkeys(row for each in drawn for row in each)
    heads = "".join(
        f'<th scope="col">{_whose(place, side)}<small>{text(_when(side))}</small></th>'
        for place, side in enumerate(sides, 1)
    )
    body = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>'
        + "".join(_cell(side, each.get(row), row[0]) for side, each in zip(sides, drawn, strict=True))
        + "</tr>"
        for row in rows
    )
    table = wide_table(run_words.SAMPLES, "grid", f"<tr><td></td>{heads}</tr>{body}")
    return _section(run_words.SAMPLES, "pictures", f'<p class="hint">{text(words.LEAD)}</p>{table}')


def _whose(place: int, side: Side) -> str:
    return f'{line_mark(place)}<span class="name" title="{text(side.name)}">{text(side.name)}</span>'


def _when(side: Side) -> str:
    if not side.last:
        return words.NOTHING_DRAWN
    first = side.last[0]
    return words.AT_STEP.format(first.step) if first.step or first.file else words.BEFORE_TRAINING


def _cell(side: Side, sample: Sample | None, prompt: str) -> str:
    return f"<td>{sample_button(sample, side.name, prompt, side.public) if sample is not None else ''}</td>"


def _differences(sides: Sequence[Side]) -> str:
    read = [side for side in sides if side.settings]
    unread = "".join(
        f'<p class="hint">{text(words.NOT_READ.format(side.name))}</p>' for side in sides if not side.settings
    )
    found = find_differences([side.settings for side in read]) if read else []
    if not found:
        same = "" if unread else f'<p class="hint">{text(words.ALL_THE_SAME)}</p>'
        return _section(words.DIFFERENCES, "differing", unread + same)
    heads = "".join(
        f'<th scope="col">{_whose(place, side)}</th>' for place, side in enumerate(sides, 1) if side.settings
    )
    rows = "".join(
        f'<tr><th scope="row">{text(one.field.title)} <code>{text(one.field.key).replace(".", ".<wbr>")}</code></th>'
        f"{''.join(f'<td>{text(_value(one.field, value))}</td>' for value in one.values)}</tr>"
        for one in found
    )
    head = f'<tr><th scope="col">{text(words.SETTING)}</th>{heads}</tr>'
    table = wide_table(words.DIFFERENCES, "settings-table", head + rows)
    return _section(words.DIFFERENCES, "differing", unread + table)


def _value(field: Field, value: Any) -> str:
    """A setting of a run as *All settings* shows it."""
    if value is ABSENT:
        return words.NOT_OF_IT
    if field.key == "base.model":
        return base_name(str(value))
    return run_words.method(str(value)) if field.key == "method.name" else field.show(value) or words.NOTHING


def _losses(sides: Sequence[Side]) -> str:
    drawn = draw_together([(side.name, side.curve) for side in sides])
    hint = words.LOSS_HINT if drawn else words.NO_LOSS
    return _section(run_words.LOSS, "learning", f'{drawn}<p class="hint">{text(hint)}</p>')


def _section(title: str, kind: str, body: str) -> str:
    return f'<section class="{kind}"><h2>{text(title)}</h2>{body}</section>'
