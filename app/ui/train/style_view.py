"""Step 2 as template data: aim, preset, and the methods in *Advanced*."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from app.studio.base_models import Base
from app.studio.dataset.drafts import Draft
from app.studio.runs.estimate_jobs import Estimate
from app.studio.runs.estimates import Cost, Pace, RunTime
from app.studio.settings.plan import SPECIAL, STOPS, changed_settings, method_of, problems
from app.ui.train import text as words
from app.ui.train.method_pictures import Shapes, draw_formula, find_picture
from app.ui.train.techniques_view import TechniqueCard, read_techniques, titles_on
from app.units import readable_size
from trainers.adapters.about import About
from trainers.adapters.methods import METHODS
from trainers.config.presets import find_preset
from trainers.errors import OUT_OF_MEMORY
from trainers.formats.programs.check import programs_for
from trainers.formats.programs.table import DIFFUSERS
from trainers.messages import Message as _
from trainers.messages import joined
from trainers.models.families import FAMILIES, find_family


@dataclass(frozen=True)
class Card:
    """A choice of several."""

    value: str
    title: str
    said: str
    chosen: bool
    line: str = ""
    """Its cost, if known."""
    picture: str = ""
    """The URL of its picture."""


@dataclass(frozen=True)
class Pick:
    """Cards for a choice."""

    kind: str
    """The setting that they choose."""
    legend: str
    cards: list[Card]
    said: str = ""
    """The text above them."""


@dataclass(frozen=True)
class Stops:
    """Three presets from subtle to faithful."""

    pick: Pick
    instead: str
    """The choice if it is none of them."""
    measured: str
    """The source of the times."""
    measuring: Estimate | None
    """The measurement in progress."""
    can_measure: bool
    tries: Tries
    """The pictures of the stops."""


@dataclass(frozen=True)
class Tries:
    """The pictures of trials by preset, each a URL, and until then one of the person's own."""

    own: str
    """"" without one."""
    pictures: Mapping[str, str]
    current: AbstractSet[str]
    """The presets whose pictures show the draft as it is now."""
    prompt: str
    awaits: bool
    """Whether a trial is awaited."""
    is_on: bool
    can_be: bool
    """Whether there are any, or could be."""

    @property
    def line(self) -> str:
        """The sentence about the pictures."""
        if self.current:
            line = words.TRIED.format(prompt=self.prompt)
            return joined(" ", (line, words.OTHERS_FOLLOW)) if self.awaits else line
        return words.OUTDATED if self.pictures else words.TRIES_COME if self.awaits else words.OWN_PICTURE


@dataclass(frozen=True)
class Advanced:
    """The content of *Advanced* without all settings."""

    special: Pick
    """Presets for small files and little memory."""
    methods: list[Pick]
    method: Method | None
    techniques: list[TechniqueCard]


@dataclass(frozen=True)
class Method:
    """The chosen method."""

    title: str
    said: str
    opens: str
    drawing: Shapes
    strip: str
    """The URL of a picture before and after training, or ""."""


def read_aims(draft: Draft) -> Pick:
    """Style or subject."""
    chosen = draft.choices.aim
    return Pick("aim", words.TEACHING, [Card(name, title, said, name == chosen) for name, title, said in words.AIMS])


def read_presets(draft: Draft, times: Mapping[str, RunTime], names: tuple[str, ...], legend: str) -> Pick:
    """Presets to choose from, with the run's duration by preset in `times`."""
    cards = [
        Card(
            name,
            *words.PRESETS[name],
            name == draft.choices.preset,
            words.run_time(times.get(name)),
        )
        for name in names
    ]
    return Pick("preset", legend, cards)


def pace_line(pace: Pace | None, times: Mapping[str, RunTime], now: float) -> str:
    """The source of the times of the three stops; "" if nothing was measured."""
    stops = [times[name] for name in STOPS if name in times]
    if pace and not pace.was_busy and stops and all(stop.is_estimate for stop in stops):
        return words.ALL_ESTIMATED
    return words.pace_line(pace, now)


def read_stops(
    draft: Draft, times: Mapping[str, RunTime], estimate: Estimate, measured: str, ready: bool, tries: Tries
) -> Stops:
    """The three stops; `measured` is the source of the times, and `ready` is True if they can be measured."""
    preset, busy = draft.choices.preset, estimate.busy
    instead = words.INSTEAD.format(words.PRESETS[preset][0]) if preset in SPECIAL else ""
    sentence = measured if ready else words.NOT_MEASURED_HERE
    if not busy and estimate.phase == "failed" and not measured:
        sentence = estimate.sentence
    pick = read_presets(draft, times, STOPS, words.CARE)
    return Stops(pick, instead, sentence, estimate if busy else None, ready and not busy, tries)


def read_advanced(draft: Draft, base: Base, times: Mapping[str, RunTime]) -> Advanced:
    """The content of *Advanced*."""
    special = read_presets(draft, times, SPECIAL, words.SPECIAL)
    return Advanced(special, read_methods(draft), read_method(draft, base), read_techniques(draft, base))


def memory_line(draft: Draft, last: Cost | None, estimate: Estimate) -> str:
    """A line about scarce memory; "" if there is enough or the settings already need little."""
    if draft.choices.preset == "low-memory":
        return ""
    if estimate.code == OUT_OF_MEMORY:
        return estimate.sentence
    if last and last.free and last.memory > last.free:
        return words.SHORT_OF_MEMORY.format(needed=readable_size(last.memory), free=readable_size(last.free))
    return ""


def read_methods(draft: Draft) -> list[Pick]:
    """All methods by purpose."""
    chosen = method_of(draft.choices)

    def card(name: str) -> Card:
        about, picture = METHODS[name].about, find_picture(f"methods/small/{name}")
        return Card(name, about.title, _(about.good_at or about.summary), name == chosen, picture=picture)

    groups = []
    for group, (title, sentence) in words.METHOD_GROUPS.items():
        cards = [card(name) for name in METHODS if _group(name) == group]
        if cards:
            groups.append(Pick("method", title, cards, sentence))
    return groups


def read_method(draft: Draft, base: Base) -> Method | None:
    """The chosen method, if any, with the programs that read its files unless `base` is the starter."""
    name = method_of(draft.choices)
    if not name:
        return None
    about, preset = METHODS[name].about, draft.choices.preset
    trained = draft.choices.settings.get("targets.text_encoder", "attn" if draft.choices.aim == "subject" else "none")
    family = find_family(base.family) or FAMILIES[0]
    opens = "" if base.is_starter else words.OPENS_IN.format(opens_in(about, family.name, trained != "none"))
    is_preset = find_preset(preset).method == name and preset in words.PRESETS
    lines = (
        _(about.good_at or about.summary),
        words.THE_PRESETS_OWN.format(words.PRESETS[preset][0]) if is_preset else "",
    )
    drawing, strip = draw_formula(about.formula), find_picture(f"methods/{name}")
    return Method(about.title, joined(" ", lines), opens, drawing, strip)


def advanced_line(draft: Draft) -> str:
    """The summary line of *Advanced*."""
    method, changed = method_of(draft.choices), len(changed_settings(draft.choices))
    names = [METHODS[method].about.title if method else words.WITHOUT_METHOD, *titles_on(draft)]
    return words.ADVANCED_LINE.format(method=joined(" + ", names), settings=words.changed_line(changed))


def wrong_line(draft: Draft) -> str:
    """The number of settings with problems; "" if there are none."""
    return words.mending_line(len(problems(draft)))


def opens_in(about: About, family: str, text_encoders: bool) -> str:
    """The programs that read the whole style of a method."""
    if about.opens_in == "only-here":
        return words.ONLY_HERE
    programs = sorted(programs_for(about.stored, family, text_encoders), key=lambda program: program != "ComfyUI")
    direct = about.opens_in == "second-file" and programs_for(about.stored, family, text_encoders, (DIFFUSERS,))
    opens = words.OPENS["diffusers" if direct else about.opens_in]
    return opens.format(programs=", ".join(programs)) if programs else words.PARTLY


def _group(name: str) -> str:
    """The group of a method, or ""."""
    group = METHODS[name].about.group
    return group if group in words.METHOD_GROUPS else ""
