"""When a page looks: no more often than its pace says, and at once when that gets faster."""

from __future__ import annotations

import pytest

from app.ui.document.assets import read_scripts

pytestmark = pytest.mark.browser

RUN = """script => {
    window.props = {value: '10'};
    window.looks = [];
    const trigger = () => looks.push(Date.now());
    const watch = (name, changed) => (window.changed = changed);
    new Function('element', 'trigger', 'props', 'watch', script)(document.body, trigger, props, watch);
}"""
CHANGED = "document.dispatchEvent(new Event('velatura:changed'))"


def test_a_faster_pace_brings_the_next_look_forward(browser) -> None:
    page = browser.new_page()
    page.clock.install(time=1_000_000)
    page.goto("about:blank")
    page.evaluate(RUN, read_scripts("components/ticker.js"))
    begun = page.evaluate("Date.now()")
    page.evaluate(CHANGED)
    page.clock.run_for(50)
    page.evaluate(CHANGED)  # put off for ten seconds
    page.clock.run_for(1_000)
    assert [at - begun for at in page.evaluate("looks")] == pytest.approx([0], abs=300)
    page.evaluate("props.value = '0.5'; changed()")
    page.clock.run_for(5)
    assert [at - begun for at in page.evaluate("looks")] == pytest.approx([0, 1_050], abs=300)
    page.evaluate("changed()")
    page.clock.run_for(20_000)
    assert len(page.evaluate("looks")) == 2, "nothing has changed since"
    page.evaluate(f"{CHANGED}; {CHANGED}")
    page.clock.run_for(600)
    assert len(page.evaluate("looks")) == 3
    page.close()


def test_what_changes_while_a_page_opens_is_looked_at(browser) -> None:
    """The page's first look may have come before it, and what the page hears first after it."""
    heard = "document.dispatchEvent(new CustomEvent('velatura:now', {detail: {since: %d}}))"
    page = browser.new_page()
    page.clock.install(time=1_000_000)
    page.goto("about:blank")
    for since, looks in ((6, 0), (8, 1)):
        for answered_first in (True, False):
            page.evaluate(RUN.replace("'10'", "'0'"), read_scripts("components/ticker.js"))
            steps = ["props.value = '2 7'; changed()", heard % since]
            for step in steps if answered_first else reversed(steps):
                page.evaluate(step)
            page.evaluate(heard % 9)  # of later changes `velatura:changed` tells
            page.clock.run_for(3_000)
            assert page.evaluate("looks.length") == looks
            page.reload()
    page.close()
