"""What a script can find on a screen: too wide, without a name, too small to touch, too pale to read."""

from __future__ import annotations

from typing import Any

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
PALE = """() => {
    const part = value => value / 255 <= .04045 ? value / 255 / 12.92 : ((value / 255 + .055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
    const numbers = colour => (colour.match(/[\\d.]+/g) || []).map(Number);
    const behind = one => {
        for (let at = one; at; at = at.parentElement) {
            const [r, g, b, a = 1] = numbers(getComputedStyle(at).backgroundColor);
            if (getComputedStyle(at).backgroundImage !== 'none') return null;
            if (a > .99) return [r, g, b];
            if (a > .01) return null;
        }
        return [255, 255, 255];
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const one = node.parentElement;
        const seen = node.data.trim() && one.checkVisibility({opacityProperty: true});
        if (!seen || one.closest(':disabled, [aria-disabled]')) continue;
        const style = getComputedStyle(one), back = behind(one);
        if (!back || !one.getBoundingClientRect().width) continue;
        const [a, b] = [light(numbers(style.color)), light(back)].sort((x, y) => y - x);
        const ratio = (a + .05) / (b + .05), large = parseFloat(style.fontSize) >= 24;
        if (ratio < (large ? 3 : 4.5)) found.push(`${node.data.trim().slice(0, 40)} ${ratio.toFixed(2)}`);
    }
    return [...new Set(found)];
}"""


def findings(page: Any) -> list[str]:
    """What is wrong on this screen, one line each."""
    return [
        *(f"too wide: {one}" for one in widest(page) if page.evaluate(OVERFLOWS)),
        *(f"no name: {one}" for one in nameless(page)),
        *(f"small: {one}" for one in page.evaluate(SMALL, TOUCH)),
        *(f"pale: {one}" for one in page.evaluate(PALE)),
    ]
