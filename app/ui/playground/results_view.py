"""Drawings as HTML: those that wait or go on, the one that is looked at, and the strip of the last ones."""

from __future__ import annotations

from collections.abc import Sequence

from app.jobs.permissions import Actor
from app.jobs.states import State
from app.studio.generation.generation import Drawing
from app.studio.generation.generations import Drawings
from app.ui.playground import text as words
from app.ui.runs.run_view import glaze
from app.ui.web.html import button, file_address, text
from app.units import readable_time
from trainers.composition.ways import SUM

SHOWN = 3
"""Drawings that wait or go on, and failures, that are shown one by one."""


def going(drawings: Sequence[Drawing], log: str, owner: str) -> str:
    """What waits or goes on, the next one first, and what came to nothing; `log` is what the newest of those said.

    `owner` is whose trainings may be paused.
    """
    active = [drawing for drawing in reversed(drawings) if not drawing.ended]
    failed = [drawing for drawing in drawings if drawing.ended and drawing.line][:SHOWN]
    if not active and not failed:
        return f'<p class="only-heard" role="status">{text(_state(drawings))}</p>'
    cards = "".join(
        _card(drawing, len(active) > 1, _hurry(drawing, owner) if place == 0 else "")
        for place, drawing in enumerate(active[:SHOWN])
    )
    rest = len(active) - SHOWN
    more = f"<span>{text(words.AND_MORE.format(rest))}</span>" if rest > 0 else ""
    all_of_them = button(words.CANCEL_ALL, "cancel-all", kind="small") if len(active) > 2 else ""
    foot = f'<div class="queue-foot">{more}{all_of_them}</div>' if more or all_of_them else ""
    problems = "".join(_failure(drawing, log if place == 0 else "") for place, drawing in enumerate(failed))
    return f'<p class="only-heard" role="status">{text(_state(drawings))}</p>{problems}{cards}{foot}'


def newest_failure(drawings: Sequence[Drawing]) -> Drawing | None:
    """The newest drawing that came to nothing."""
    return next((drawing for drawing in drawings if drawing.ended and drawing.line), None)


def chosen_one(drawings: Sequence[Drawing], chosen: str) -> Drawing | None:
    """The drawing to look at: the one that was chosen, else the newest with a picture, else the next to come."""
    drawn = [drawing for drawing in drawings if drawing.pictures]
    picked = [drawing for drawing in drawn if drawing.id == chosen]
    active = [drawing for drawing in reversed(drawings) if not drawing.ended]
    return next(iter((*picked, *drawn, *active)), None)


def picture(drawing: Drawing | None, studio: Drawings) -> str:
    """The drawing that is looked at, with its settings."""
    if drawing is None:
        return f'<div class="pair"><div class="canvas bare"><p>{text(words.NOTHING_DRAWN)}</p></div></div>'
    wish, size = drawing.wish, drawing.record.size
    figures = "".join(_figure(drawing, place, studio) for place in range(len(drawing.names)))
    alone = {1: " alone", 2: ""}.get(len(drawing.names), " many")
    sizes = words.settings(wish.seed, wish.steps, drawing.record.guidance, words.size(size), wish.sampler)
    took = readable_time(drawing.record.seconds) if drawing.record.seconds >= 1 else ""
    way = words.way(wish.compose) if wish.compose != SUM else ""
    numbers = " · ".join(filter(None, (*sizes, drawing.record.base, way, took)))
    negative = f'<p class="numbers">{text(words.NEGATIVE)}: {text(wish.negative)}</p>' if wish.negative else ""
    return (
        f'<div class="pair{alone}" style="--shape:{size[0]}/{size[1]}">{figures}</div><div class="about">'
        f'<div><p class="words">{text(wish.prompt)}</p>{negative}<p class="numbers">{text(numbers)}</p></div>'
        f"{button(words.USE, 'use', drawing.id)}</div>"
    )


def strip(drawings: Sequence[Drawing], shown: str, studio: Drawings) -> str:
    """The last drawings as thumbnails; `shown` is the one that is looked at."""
    drawn = [drawing for drawing in drawings if drawing.pictures]
    if len(drawn) < 2:
        return ""
    thumbs = "".join(_thumb(drawing, drawing.id == shown, studio) for drawing in drawn)
    return f'<section class="last-ones"><h2>{text(words.YOURS)}</h2><ul>{thumbs}</ul></section>'


def title(drawing: Drawing, place: int) -> str:
    """What one of the pictures is."""
    if drawing.both and place == len(drawing.names) - 1:
        return words.PLAIN
    if not drawing.record.names:
        return drawing.record.base
    strengths = (strength for _, strength in drawing.wish.styles)
    named = [f"{name} {strength:g}" for name, strength in zip(drawing.record.names, strengths, strict=False)]
    return words.WITH.format(named[place] if drawing.wish.each else words.joined(named))


def _card(drawing: Drawing, named: bool, hurry: str) -> str:
    name = f"<b>{text(drawing.wish.prompt)}</b>" if named else ""
    runs = drawing.state not in (State.QUEUED, State.PREPARING)
    bar = glaze(drawing.share, words.PROGRESS) if runs else ""
    act = button(words.CANCEL, "cancel", drawing.id, "small") if drawing.state != State.STOPPING else ""
    return (
        f'<div class="going {"runs" if runs else "waits"}" data-key="{drawing.id}"><div><p>{name}'
        f"<span>{text(drawing.line)}</span></p>{act}</div>{bar}{hurry}</div>"
    )


def _hurry(drawing: Drawing, owner: str) -> str:
    """What whoever owns the training in the way can do about it."""
    if drawing.behind is None or not Actor(owner).may_change(drawing.behind.owner):
        return ""
    return (
        f'<div class="hurry">{button(words.HURRY, "hurry", drawing.id, "small")}'
        f"<small>{text(words.HURRY_HINT.format(drawing.behind.name))}</small></div>"
    )


def _failure(drawing: Drawing, log: str) -> str:
    acts = ((words.AGAIN, "again"), (words.USE, "use"), (words.DISMISS, "dismiss"))
    buttons = "".join(button(label, what, drawing.id, "small") for label, what in acts)
    details = (
        f'<details data-keep><summary>{text(words.DETAILS)}</summary><pre tabindex="0" '
        f'aria-label="{text(words.DETAILS)}">{text(log)}</pre></details>'
        if log
        else ""
    )
    return (
        f'<div class="failed" data-key="{drawing.id}"><p role="alert"><b>{text(drawing.wish.prompt)}</b> '
        f"{text(drawing.line)}</p><div>{buttons}</div>{details}</div>"
    )


def _figure(drawing: Drawing, place: int, studio: Drawings) -> str:
    name = title(drawing, place)
    if place >= len(drawing.pictures):
        said = "" if drawing.ended else words.COMES if drawing.state == State.WORKING else words.COMES_NEXT
        return f'<figure><div class="canvas"><p>{text(said)}</p></div><figcaption>{text(name)}</figcaption></figure>'
    whole, file = studio.shown(drawing, place, False), studio.offered(drawing)[place]
    save = (
        f'<a class="small" href="{text(file_address(file))}" download="{text(file.name)}" '
        f'aria-label="{text(words.DOWNLOAD)}: {text(name)}">{text(words.DOWNLOAD)}</a>'
    )
    return (
        f'<figure><button type="button" data-whole="{text(whole)}" data-title="{text(name)}" '
        f'aria-label="{text(words.ENLARGE.format(name))}"><img src="{text(whole)}" alt=""></button>'
        f"<figcaption><span>{text(name)}</span>{save}</figcaption></figure>"
    )


def _thumb(drawing: Drawing, is_shown: bool, studio: Drawings) -> str:
    current = ' aria-current="true"' if is_shown else ""
    said = f"{drawing.wish.prompt}, {words.SEED.lower()} {drawing.wish.seed}"
    return (
        f'<li data-key="{drawing.id}"><button type="button" data-do="show" data-about="{drawing.id}"{current} '
        f'title="{text(drawing.wish.prompt)}" aria-label="{text(said)}">'
        f'<img loading="lazy" src="{text(studio.shown(drawing, 0, True))}" alt=""></button></li>'
    )


def _state(drawings: Sequence[Drawing]) -> str:
    """What is read out where it changes: not every step."""
    active = [drawing for drawing in reversed(drawings) if not drawing.ended]
    if not active:
        return words.DONE if drawings and drawings[0].pictures else ""
    return words.WAITING if active[0].state == State.QUEUED else words.AT_WORK
