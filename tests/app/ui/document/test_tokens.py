"""The palette: text can be read on every ground on which it stands, in both themes."""

from __future__ import annotations

import re

import pytest

from app.ui.document.assets import read_scripts

ENOUGH = 4.5
"""The contrast of text to its ground, of WCAG 2.2, level AA."""
GROUNDS = ("wall", "panel", "inset")
PAIRS = (
    *((ink, ground) for ink in ("ink", "ink-2", "ink-3", "glaze", "madder", "ochre") for ground in GROUNDS),
    *((ink, f"{ink}-soft") for ink in ("glaze", "ochre", "madder", "lapis")),
    *(("ink", f"{ground}-soft") for ground in ("glaze", "ochre", "madder", "lapis", "umber")),
    ("ink-2", "umber-soft"),
    ("on-glaze", "glaze"),
)


def colours(theme: str) -> dict[str, str]:
    """The colours of a theme by name; those that the dark one leaves out are the light one's."""
    light, dark = (
        dict(re.findall(r"--([\w-]+): #([0-9a-f]{6});", rules))
        for rules in re.findall(r":root(?:\[data-theme='dark'\])? {([^}]+)}", read_scripts("document/tokens.css"))
    )
    return light if theme == "light" else light | dark


def luminance(colour: str) -> float:
    shares = [int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_on_its_ground(theme: str) -> None:
    palette = colours(theme)
    measured = {pair: contrast(*(palette[name] for name in pair)) for pair in PAIRS}
    assert {pair: round(value, 2) for pair, value in measured.items() if value < ENOUGH} == {}


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("000000", "ffffff") == pytest.approx(21) and contrast("777777", "ffffff") == pytest.approx(
        4.48, 1e-3
    )
