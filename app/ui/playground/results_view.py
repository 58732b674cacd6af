"""Generations as HTML: those that wait or go on, the one that is looked at, and the strip of the last ones."""

from __future__ import annotations

from collections.abc import Sequence

from app.jobs.permissions import Actor
from app.jobs.states import State
from app.studio.generation.generation import Generation
from app.studio.generation.generations import Generations
from app.studio.generation.request import pixels_in_words
from app.ui.playground import text as words
from app.ui.runs.run_view import glaze
from app.ui.web.html import button, file_address, text
from app.units import readable_time
from trainers.composition.ways import SUM

SHOWN = 3
"""Drawings that wait or go on, and failures, that are shown one by one."""


def going(generations: Sequence[Generation], log: str, owner: str) -> str:
    """What waits or goes on, the next one first, and what came to nothing; `log` is what the newest of those said.

    `owner` is whose trainings may be paused.
    """
    active = [generation for generation in reversed(generations) if not generation.ended]
    failed = [generation for generation in generations if generation.ended and generation.error][:SHOWN]
    if not active and not failed:
        return f'<p class="only-heard" role="status">{text(_state(generations))}</p>'
    cards = "".join(
        _card(generation, len(active) > 1, _hurry(generation, owner) if place == 0 else "")
        for place, generation in enumerate(active[:SHOWN])
    )
    rest = len(active) - SHOWN
    more = f"<span>{text(words.AND_MORE.format(rest))}</span>" if rest > 0 else ""
    all_of_them = button(words.CANCEL_ALL, "cancel-all", kind="small") if len(active) > 2 else ""
    foot = f'<div class="queue-foot">{more}{all_of_them}</div>' if more or all_of_them else ""
    problems = "".join(_failure(generation, log if place == 0 else "") for place, generation in enumerate(failed))
    return f'<p class="only-heard" role="status">{text(_state(generations))}</p>{problems}{cards}{foot}'


def newest_failure(generations: Sequence[Generation]) -> Generation | None:
    """The newest generation that came to nothing."""
    return next((generation for generation in generations if generation.ended and generation.error), None)


def chosen_one(generations: Sequence[Generation], chosen: str) -> Generation | None:
    """The generation to look at: the one that was chosen, else the newest with a picture, else the next to come."""
    drawn = [generation for generation in generations if generation.pictures]
    picked = [generation for generation in drawn if generation.id == chosen]
    active = [generation for generation in reversed(generations) if not generation.ended]
    return next(iter((*picked, *drawn, *active)), None)


def picture(generation: Generation | None, service: Generations) -> str:
    """The generation that is looked at, with its settings."""
    if generation is None:
        return f'<div class="pair"><div class="canvas bare"><p>{text(words.NOTHING_DRAWN)}</p></div></div>'
    request, size = generation.request, generation.record.size
    figures = "".join(_figure(generation, place, service) for place in range(len(generation.file_names)))
    alone = {1: " alone", 2: ""}.get(len(generation.file_names), " many")
    sizes = words.settings(
        request.seed, request.steps, generation.record.guidance, pixels_in_words(size), request.sampler
    )
    took = readable_time(generation.record.seconds) if generation.record.seconds >= 1 else ""
    way = words.way(request.compose) if request.compose != SUM else ""
    numbers = " · ".join(filter(None, (*sizes, generation.record.base, way, took)))
    negative = f'<p class="numbers">{text(words.NEGATIVE)}: {text(request.negative)}</p>' if request.negative else ""
    return (
        f'<div class="pair{alone}" style="--shape:{size[0]}/{size[1]}">{figures}</div><div class="about">'
        f'<div><p class="words">{text(request.prompt)}</p>{negative}<p class="numbers">{text(numbers)}</p></div>'
        f"{button(words.USE, 'use', generation.id)}</div>"
    )


def strip(generations: Sequence[Generation], shown: str, service: Generations) -> str:
    """The last generations as thumbnails; `shown` is the one that is looked at."""
    drawn = [generation for generation in generations if generation.pictures]
    if len(drawn) < 2:
        return ""
    thumbs = "".join(_thumb(generation, generation.id == shown, service) for generation in drawn)
    return f'<section class="last-ones"><h2>{text(words.YOURS)}</h2><ul>{thumbs}</ul></section>'


def title(generation: Generation, place: int) -> str:
    """What one of the pictures is."""
    if generation.request.compared and place == len(generation.file_names) - 1:
        return words.PLAIN
    if not generation.record.names:
        return generation.record.base
    strengths = (style.strength for style in generation.request.styles)
    named = [f"{name} {strength:g}" for name, strength in zip(generation.record.names, strengths, strict=False)]
    return words.WITH.format(named[place] if generation.request.each else words.joined(named))


def _card(generation: Generation, named: bool, hurry: str) -> str:
    name = f"<b>{text(generation.request.prompt)}</b>" if named else ""
    runs = generation.state not in (State.QUEUED, State.PREPARING)
    bar = glaze(generation.share, words.PROGRESS) if runs else ""
    act = button(words.CANCEL, "cancel", generation.id, "small") if generation.state != State.STOPPING else ""
    return (
        f'<div class="going {"runs" if runs else "waits"}" data-key="{generation.id}"><div><p>{name}'
        f"<span>{text(words.progress(generation))}</span></p>{act}</div>{bar}{hurry}</div>"
    )


def _hurry(generation: Generation, owner: str) -> str:
    """What whoever owns the training in the way can do about it."""
    if generation.could_yield is None or not Actor(owner).may_change(generation.could_yield.owner):
        return ""
    return (
        f'<div class="hurry">{button(words.HURRY, "hurry", generation.id, "small")}'
        f"<small>{text(words.HURRY_HINT.format(generation.could_yield.name))}</small></div>"
    )


def _failure(generation: Generation, log: str) -> str:
    acts = ((words.AGAIN, "again"), (words.USE, "use"), (words.DISMISS, "dismiss"))
    buttons = "".join(button(label, what, generation.id, "small") for label, what in acts)
    details = (
        f'<details data-keep><summary>{text(words.DETAILS)}</summary><pre tabindex="0" '
        f'aria-label="{text(words.DETAILS)}">{text(log)}</pre></details>'
        if log
        else ""
    )
    return (
        f'<div class="failed" data-key="{generation.id}"><p role="alert"><b>{text(generation.request.prompt)}</b> '
        f"{text(generation.error)}</p><div>{buttons}</div>{details}</div>"
    )


def _figure(generation: Generation, place: int, service: Generations) -> str:
    name = title(generation, place)
    if place >= len(generation.pictures):
        said = "" if generation.ended else words.COMES if generation.state == State.WORKING else words.COMES_NEXT
        return f'<figure><div class="canvas"><p>{text(said)}</p></div><figcaption>{text(name)}</figcaption></figure>'
    whole, file = file_address(service.web_copy(generation, place, False)), service.downloads(generation)[place]
    save = (
        f'<a class="small" href="{text(file_address(file))}" download="{text(file.name)}" '
        f'aria-label="{text(words.DOWNLOAD)}: {text(name)}">{text(words.DOWNLOAD)}</a>'
    )
    return (
        f'<figure><button type="button" data-whole="{text(whole)}" data-title="{text(name)}" '
        f'aria-label="{text(words.ENLARGE.format(name))}"><img src="{text(whole)}" alt=""></button>'
        f"<figcaption><span>{text(name)}</span>{save}</figcaption></figure>"
    )


def _thumb(generation: Generation, is_shown: bool, service: Generations) -> str:
    current = ' aria-current="true"' if is_shown else ""
    said = f"{generation.request.prompt}, {words.SEED.lower()} {generation.request.seed}"
    return (
        f'<li data-key="{generation.id}"><button type="button" data-do="show" data-about="{generation.id}"{current} '
        f'title="{text(generation.request.prompt)}" aria-label="{text(said)}">'
        f'<img loading="lazy" src="{text(file_address(service.web_copy(generation, 0, True)))}" alt=""></button></li>'
    )


def _state(generations: Sequence[Generation]) -> str:
    """What is read out where it changes: not every step."""
    active = [generation for generation in reversed(generations) if not generation.ended]
    if not active:
        return words.DONE if generations and generations[0].pictures else ""
    return words.WAITING if active[0].state == State.QUEUED else words.AT_WORK
