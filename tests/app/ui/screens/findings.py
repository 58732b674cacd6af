"""What a script can find on a screen: too wide, without a name, too small to touch, and what axe knows of WCAG."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe

from tests.app.ui.visitor import nameless, widest

OVERFLOWS = "document.documentElement.scrollWidth > innerWidth"
"""Whether the page itself moves sideways; what scrolls within a box of its own may be as wide as it is."""
SMALL = """() => {
    // What a finger or a pointer hits around the middle of a control, wherever its box ends.
    const most = matchMedia('(hover: none)').matches ? 40 : 24, reach = most / 2 - 1;
    const bar = one => {
        for (; one; one = one.parentElement)
            if (['fixed', 'sticky'].includes(getComputedStyle(one).position)) return one;
    };
    const hits = (one, x, y) => {
        const there = document.elementFromPoint(x, y);
        return one.contains(there) || there?.closest('label')?.control === one;
    };
    const reached = (one, x, y) => // what lies under a bar can be scrolled out from under it
        hits(one, x, y) || bar(document.elementFromPoint(x, y)) !== bar(one);
    const seen = one => {
        const box = one.getBoundingClientRect(), [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
        return x > reach && y > reach && x < innerWidth - reach && y < innerHeight - reach && hits(one, x, y);
    };
    const small = one => {
        const label = one.closest('label'), whole = label?.control === one ? label : one; // which is hit, too
        const box = whole.getBoundingClientRect(), [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
        return [[-reach, 0], [reach, 0], [0, -reach], [0, reach]].some(([dx, dy]) => !reached(one, x + dx, y + dy));
    };
    return [...document.querySelectorAll('a[href], button, summary, input, select, textarea')]
        .filter(one => one.checkVisibility() && !one.disabled && !one.closest('p a, dd a') && seen(one) && small(one))
        .map(one => [one, one.getBoundingClientRect()])
        .map(([one, box]) => `${one.tagName} ${(one.ariaLabel || one.innerText || one.type || '').slice(0, 40)} `
            + `${Math.round(box.width)}x${Math.round(box.height)}`);
}"""
"""Controls on the screen with too little to hit: 40 pixels each way for a finger, else 24."""
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    "rules": {"label-content-name-mismatch": {"enabled": True}},  # WCAG 2.5.3; axe calls the rule experimental
    "resultTypes": ["violations"],
}
"""Of axe: WCAG 2.2, levels A and AA."""
LOOKS = RULES | {"runOnly": {"type": "rule", "values": ["color-contrast", "target-size"]}, "rules": {}}
"""Those of the rules that look at colours and sizes."""


def findings(page: Any) -> list[str]:
    """What is wrong on this screen, one line each."""
    return [
        *(f"too wide: {one}" for one in widest(page) if page.evaluate(OVERFLOWS)),
        *(f"no name: {one}" for one in nameless(page)),
        *(f"small: {one}" for one in page.evaluate(SMALL)),
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
