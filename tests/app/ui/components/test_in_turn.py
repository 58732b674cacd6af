"""What is typed and chosen arrives in the order in which that was done, however late the answers come."""

from __future__ import annotations

import pytest

from app.ui.document.assets import read_scripts

pytestmark = pytest.mark.browser

RUN = """script => {
    window.said = [];
    const send = (name, text, count) => said.push(`${name}=${text} ${count}`);
    const landed = (name, text) => said.push(`${name} has ${text}`);
    window.turns = new Function('element', `${script}; return inTurn;`)(document.body)(send, 5000, landed);
}"""


def test_of_each_name_one_is_on_its_way_and_only_the_newest_follows(browser) -> None:
    page = browser.new_page()
    page.clock.install(time=1_000_000)
    page.goto("about:blank")

    def then(script: str) -> list[str]:
        page.evaluate(f"said.length = 0; {script}")
        return page.evaluate("said")

    page.evaluate(RUN, read_scripts("components/in_turn.js"))
    assert then("['a', 'ab', 'abc'].forEach(text => turns.put('name', text)); turns.put('seed', '7')") == [
        "name=a 1",
        "seed=7 2",
    ]
    assert page.evaluate("turns.latest('name')") == "abc"
    assert then("turns.afterwards(() => said.push('pressed')); turns.land(2)") == ["seed has 7"]
    assert then("turns.land(2)") == [] and then("turns.land(1)") == ["name has a", "name=abc 3"]
    page.clock.run_for(5_001)
    assert page.evaluate("said.at(-1)") == "name=abc 4", "an answer may be lost"
    assert then("turns.land(3)") == [], "the answer to an attempt that was given up"
    assert then("turns.land(4)") == ["name has abc"], "what was pressed so long ago is not done any more"
    assert then("turns.put('name', 'd'); turns.afterwards(() => said.push('pressed')); turns.land(5)")[1:] == [
        "name has d",
        "pressed",
    ]
    assert then("turns.afterwards(() => said.push('at once'))") == ["at once"]
    page.close()
