"""Methods, techniques and presets, from `About` on the methods, `TECHNIQUES` and `presets/methods`."""

from __future__ import annotations

import re

from app.ui.train.style_view import opens_in
from tools.markdown import table
from trainers.adapters.methods import METHODS
from trainers.config.presets import list_presets
from trainers.config.techniques import TECHNIQUES, techniques_in
from trainers.models.families import FAMILIES


def methods() -> list[str]:
    """Each method: title, formula, summary, parameters, paper, and who loads its files."""
    rows = [
        (
            f"`{name}`",
            method.about.title,
            _formula(method),
            method.about.summary,
            method.about.parameters,
            _papers(method.about.paper),
            opens_in(method.about, FAMILIES[0].name, text_encoders=False),
        )
        for name, method in METHODS.items()
    ]
    return table(("method", "title", "formula", "use", "parameters per layer", "paper", "loaded by"), rows)


def techniques() -> list[str]:
    """Each technique: summary, the setting that turns it on, and paper."""
    rows = [(f"`{each.name}`", each.summary, f"`{each.setting}`", _papers(each.paper)) for each in TECHNIQUES]
    return table(("technique", "use", "setting", "paper"), rows)


def presets() -> list[str]:
    """Each preset: what it trains, and its summary."""
    rows = [(f"`{each.name}`", techniques_in(each.settings), each.summary) for each in list_presets()]
    return table(("preset", "trains", "use"), rows)


def _formula(method: type) -> str:
    """The formula of a method, which is the first line of its docstring."""
    return (method.__doc__ or "").strip().partition("\n")[0].removesuffix(".")


def _papers(papers: str) -> str:
    """Numbers of papers such as `arXiv 2106.09685`, linked."""
    numbers = re.findall(r"\d{4}\.\d{5}", papers)
    return ", ".join(f"[{number}](https://arxiv.org/abs/{number})" for number in numbers)
