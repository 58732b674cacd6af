"""The cards of the second step as data: what the pictures are, how much care, which method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.studio.base_models import Base
from app.studio.dataset.drafts import Draft
from app.studio.runs.costs import Cost
from app.studio.settings.plan import CARE, method_of
from app.ui.train import text as words
from app.ui.train.method_pictures import Shapes, draw_formula, find_strip
from trainers.adapters.about import About
from trainers.adapters.methods import METHODS
from trainers.config.presets import find_preset
from trainers.formats.write.compatibility import programs_for
from trainers.models.family import FAMILIES

SHOWN_METHODS = 3


@dataclass(frozen=True)
class Card:
    """One of several to choose from."""

    value: str
    title: str
    said: str
    chosen: bool
    lines: tuple[str, ...] = ()
    """What stands below."""
    coats: int = 0
    """Of glaze on its swatch."""
    drawing: Shapes = ()
    strip: str = ""
    """Where the browser finds what a method has learned."""


@dataclass(frozen=True)
class Pick:
    """Cards of which one is chosen."""

    kind: str
    """What is chosen by them."""
    legend: str
    cards: list[Card]


@dataclass(frozen=True)
class Methods:
    """The preset's own method and the first ones as cards, the others in a fold, by what they are good at."""

    first: Pick
    groups: list[Pick]
    none_chosen: bool
    is_open: bool
    """Whether the chosen one is in the fold."""


def read_aims(draft: Draft) -> Pick:
    """Style or subject."""
    chosen = draft.choices.aim
    return Pick("aim", words.AIM, [Card(name, title, said, name == chosen) for name, title, said in words.AIMS])


def read_presets(draft: Draft, costs: Mapping[str, Cost]) -> Pick:
    """How much care; `costs` says by preset what was measured."""
    cards = []
    for name in CARE:
        title, said, coats = words.PRESETS[name]
        cost = words.time_and_size(costs.get(name))
        cards.append(Card(name, title, said, name == draft.choices.preset, (cost,), coats))
    return Pick("preset", words.CARE, cards)


def read_methods(draft: Draft, base: Base) -> Methods:
    """Which method; what opens their files depends on the `base`."""
    chosen, own = method_of(draft.choices), find_preset(draft.choices.preset).method
    order = list(dict.fromkeys((own, *METHODS)))
    first = sorted(order[:SHOWN_METHODS], key=list(METHODS).index)
    trained = draft.choices.settings.get("targets.text_encoder", "attn" if draft.choices.aim == "subject" else "none")
    family = next((family.name for family in FAMILIES if family.title == base.family), "sd1")

    def card(name: str) -> Card:
        about = METHODS[name].about
        opens = opens_in(about, family, trained != "none")
        lines = words.OPENS_IN.format(opens) if opens else "", _taken_by(draft.choices.preset) if name == own else ""
        return Card(
            name,
            about.title,
            about.good_at or about.summary,
            name == chosen,
            tuple(filter(None, lines)),
            drawing=draw_formula(about.formula),
            strip=find_strip(name),
        )

    groups = []
    for group, title in {**words.METHOD_GROUPS, "": words.OTHER_METHODS}.items():
        cards = [card(name) for name in METHODS if name not in first and _group(name) == group]
        if cards:
            groups.append(Pick("method", title, cards))
    shown = Pick("method", words.METHOD, [card(name) for name in first])
    return Methods(shown, groups, not chosen, bool(chosen) and chosen not in first)


def opens_in(about: About, family: str, text_encoders: bool) -> str:
    """Which programs read all of a style that a method makes."""
    told = words.OPENS[about.opens_in]
    if about.opens_in == "only-here":
        return told
    programs = sorted(programs_for(about.stored, family, text_encoders), key=lambda one: one != "ComfyUI")
    return f"{', '.join(programs)}{told}" if programs else words.PARTLY


def _group(name: str) -> str:
    """The heading under which a method stands in the fold; "" for those that have none."""
    group = METHODS[name].about.group
    return group if group in words.METHOD_GROUPS else ""


def _taken_by(preset: str) -> str:
    """What is said of the preset's own method."""
    return words.THE_PRESETS_OWN.format(words.PRESETS[preset][0]) if preset in words.PRESETS else ""
