"""How often a part looks again: while it is seen, and while it is not."""

from __future__ import annotations

import pytest

from app.ui.document.assets import read_scripts

pytestmark = pytest.mark.browser

RUN = """script => {
    window.looks = [];
    new Function('element', 'trigger', script)(document.body, (name, said) => looks.push(said.unseen));
}"""


@pytest.mark.parametrize(("said", "looks"), [('data-again="1" data-unseen="4"', [False] * 4 + [True]), ("", [])])
def test_a_part_looks_as_often_as_it_says_and_less_while_it_is_not_seen(browser, said: str, looks: list[bool]) -> None:
    page = browser.new_page()
    page.clock.install(time=1_000_000)
    page.set_content(f"<main><i {said}></i></main>")
    page.evaluate(RUN, read_scripts("components/again.js"))
    page.clock.run_for(4_400)
    page.evaluate("document.body.style.display = 'none'")
    page.clock.run_for(4_400)
    assert page.evaluate("looks") == looks
    page.evaluate("document.querySelector('i').removeAttribute('data-unseen')")
    page.clock.run_for(9_000)
    assert page.evaluate("looks") == looks
    page.close()
