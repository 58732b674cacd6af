"""The range of a figure: outliers do not flatten it, and equal values stay one level line."""

from __future__ import annotations

import pytest

from app.ui.document.assets import read_scripts

pytestmark = pytest.mark.browser


def test_equal_values_are_a_level_line_and_outliers_do_not_flatten_the_rest(browser) -> None:
    page = browser.new_page()
    page.set_content('<html lang="en"></html>')
    page.evaluate(
        "script => { window.reach = new Function(`${script}; return reach;`)(); }", read_scripts("runs/scale.js")
    )

    def reach(values: list[float | None], log: bool = False) -> list[float] | None:
        return page.evaluate("([values, log]) => reach(values, log)", [values, log])

    assert reach([0.25, None, 0.25]) == pytest.approx([0.23, 0.27])
    assert reach([0.25, 0.25 + 1e-15, 0.25]) == pytest.approx([0.23, 0.27]), "not blown up to its last digits"
    assert reach([0, 0]) == pytest.approx([-0.08, 0.08]) and reach([None]) is None
    assert reach([1, 2]) == pytest.approx([0.92, 2.08])
    low, high = reach([*(value / 100 for value in range(100)), 1e9])
    assert low < 0 and 1 < high < 2
    assert reach([1, 0, 10], log=True) == pytest.approx([10**-0.04, 10**1.04])
    page.close()
