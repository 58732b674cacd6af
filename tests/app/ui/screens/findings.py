"""What a script can find on a screen: too wide, without a name, too small to touch, and what axe knows of WCAG."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe

from tests.app.ui.visitor import nameless, widest

OVERFLOWS = "document.documentElement.scrollWidth > innerWidth"
"""Whether the page itself moves sideways; what scrolls within a box of its own may be as wide as it is."""
TOUCH = 40
"""Pixels that a finger needs, each way."""
SMALL = """most => [...document.querySelectorAll('a[href], button, summary, input, select, textarea')]
    .filter(one => one.checkVisibility() && !one.closest('p, dd, .html-container label') && !one.disabled)
    .map(one => [one, one.getBoundingClientRect()])
    .filter(([one, box]) => box.width && box.height && (box.height < most || box.width < most)
        && getComputedStyle(one).position !== 'fixed' && getComputedStyle(one).clipPath === 'none')
    .map(([one, box]) => `${one.tagName} ${(one.ariaLabel || one.innerText || one.type || '').slice(0, 40)} `
        + `${Math.round(box.width)}x${Math.round(box.height)}`)"""
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
"""Of axe: WCAG 2.2, levels A and AA."""
LOOKS = RULES | {"runOnly": {"type": "rule", "values": ["color-contrast", "target-size"]}}
"""Those of the rules that look at colours and sizes."""


def findings(page: Any) -> list[str]:
    """What is wrong on this screen, one line each."""
    return [
        *(f"too wide: {one}" for one in widest(page) if page.evaluate(OVERFLOWS)),
        *(f"no name: {one}" for one in nameless(page)),
        *(f"small: {one}" for one in page.evaluate(SMALL, TOUCH)),
        *violations(page),
    ]


def violations(page: Any, rules: dict[str, Any] = RULES) -> list[str]:
    """What axe finds on this screen, a line for each element."""
    found = Axe().run(page, options=rules).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:120]} ({node['failureSummary'].splitlines()[-1].strip()[:160]})"
        for rule in found
        for node in rule["nodes"]
    ]
