"""When a page looks: whenever the studio is newer than it, no more often than it may, and only while it is seen."""

from __future__ import annotations

from typing import Any

import pytest

from app.ui.components.live import versioned
from app.ui.document.assets import read_scripts

RUN = """([script, value, everywhere]) => {
    window.props = {value, on_every_step: everywhere};
    window.looks = [];
    const trigger = () => looks.push(Date.now());
    const watch = (name, changed) => (window.changed = changed);
    new Function('element', 'trigger', 'props', 'watch', script)(document.querySelector('i'), trigger, props, watch);
}"""
HEAR = "version => document.dispatchEvent(new CustomEvent('velatura:now', {detail: {version}}))"
ANSWER = "value => { props.value = value; changed(); }"

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Any) -> Any:
    page = browser.new_page()
    page.clock.install(time=1_000_000)
    page.set_content("<section class='step shown'><i></i></section>")
    page.clock.pause_at(2_000_000)  # then only `run_for` lets time pass
    yield page
    page.close()


def run(page: Any, value: str, everywhere: bool = False) -> None:
    page.evaluate(RUN, [read_scripts("components/stale_guard.js", "components/refresh.js"), value, everywhere])


def test_a_page_looks_again_until_it_shows_what_the_studio_has_become(page: Any) -> None:
    run(page, "0")
    page.evaluate(HEAR, 8)
    page.clock.run_for(3_000)
    assert page.evaluate("looks.length") == 0, "nothing has been answered yet"
    for version, looks in ((8, 0), (9, 0), (7, 0)):  # an answer that was overtaken is no reason
        page.evaluate(ANSWER, versioned("2", version))
        page.clock.run_for(3_000)
        assert page.evaluate("looks.length") == looks
    page.evaluate(HEAR, 10)
    page.clock.run_for(10)
    page.evaluate(HEAR, 10)
    page.clock.run_for(2_500)
    assert page.evaluate("looks.length") == 2, "the first answer was lost"
    page.evaluate(ANSWER, versioned("2", 11))
    page.evaluate(HEAR, 10)
    page.clock.run_for(3_000)
    assert page.evaluate("looks.length") == 2


def test_what_changes_while_a_page_opens_is_looked_at(page: Any) -> None:
    """The page's first look may have come before it, and what the page hears first after it."""
    for version, looks in ((6, 0), (8, 1)):
        for answered_first in (True, False):
            run(page, "0")
            steps = [(ANSWER, versioned("2", 7)), (HEAR, version)]
            for script, value in steps if answered_first else reversed(steps):
                page.evaluate(script, value)
            page.clock.run_for(1_000)
            assert page.evaluate("looks.length") == looks
            page.reload()
            page.set_content("<i></i>")


def test_a_faster_pause_brings_the_next_look_forward(page: Any) -> None:
    run(page, versioned("10", 1))
    begun = page.evaluate("Date.now()")
    page.evaluate(HEAR, 2)
    page.clock.run_for(50)
    page.evaluate(ANSWER, versioned("10", 3))
    page.evaluate(HEAR, 4)  # put off for ten seconds
    page.clock.run_for(1_000)
    assert [at - begun for at in page.evaluate("looks")] == [0]
    page.evaluate(ANSWER, versioned("0.5", 3))
    page.clock.run_for(5)
    assert [at - begun for at in page.evaluate("looks")] == pytest.approx([0, 1_050], abs=10)
    page.evaluate(ANSWER, versioned("0", 3))
    page.evaluate(HEAR, 9)
    page.clock.run_for(20_000)
    assert len(page.evaluate("looks")) == 2, "it awaits nothing any more"


@pytest.mark.parametrize(("everywhere", "looks"), [(False, [0, 1]), (True, [1, 2])])
def test_a_step_that_is_not_seen_looks_once_it_is(page: Any, everywhere: bool, looks: list[int]) -> None:
    run(page, versioned("1", 1), everywhere)
    seen = []
    for is_shown in (False, True):
        page.evaluate("is => document.querySelector('section').classList.toggle('shown', is)", is_shown)
        page.evaluate(HEAR, 2 + is_shown)
        page.clock.run_for(500)
        seen.append(page.evaluate("looks.length"))
    assert seen == looks
