from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.growth.__main__ import AXES
from benchmarks.growth.preparation import COMPARISON, ENCODING, IMPORT, READING
from benchmarks.growth.report import PLOT, write
from benchmarks.growth.series import MARGIN, Quantity, fit
from benchmarks.growth.studio import answers

ALLOWED = [axis.allowed for axis in AXES.values()]
SIZES = (4, 8, 16, 32, 64, 128)


def quantity(exponent: float, allowed: float = 1.0, noise: float = 0.0, what: str = "time, s") -> Quantity:
    chance = random.Random(0)
    values = {size: [0.01 * size**exponent * (1 + noise * chance.uniform(-1, 1)) for _ in range(3)] for size in SIZES}
    return Quantity("step", "rank", what, allowed, values)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_found_in_noise(exponent: float) -> None:
    assert fit(quantity(exponent).points) == pytest.approx((exponent, 0.01))
    low, middle, high = quantity(exponent, noise=0.05).exponents
    assert low < middle < high
    assert (low, high) == pytest.approx((exponent, exponent), abs=0.1)


def test_a_constant_part_weighs_least_over_the_upper_half() -> None:
    points = {size: 1 + 0.1 * size for size in SIZES}
    lower = {size: points[size] for size in SIZES[:3]}
    assert fit(lower)[0] < fit(points)[0] < 1.0


def test_a_quantity_is_above_only_if_every_round_is() -> None:
    assert quantity(1.0).verdict == quantity(1 + MARGIN / 2).verdict == quantity(2.0, allowed=2.0).verdict == "within"
    assert quantity(1 + 2 * MARGIN).verdict == "above"
    noisy = quantity(1 + 2 * MARGIN)
    noisy.values[128][0] /= 4
    assert noisy.verdict == "not clear"
    noisy.values[128][1] = noisy.values[128][2] = -0.1
    assert noisy.verdict == "too little to measure"


def test_the_page_has_every_quantity_and_names_what_is_above(tmp_path: Path) -> None:
    page = tmp_path / "speed.md"
    page.write_text("# Other\n\nkept\n", encoding="utf-8")
    shown = [quantity(1.0, noise=0.01 * number, what="time, s") for number in range(sum(map(len, ALLOWED)) - 1)]
    write([*shown, quantity(2.0, what="memory, MiB")], 3, page)
    text = page.read_text(encoding="utf-8")
    assert "| step | rank | 4 to 128 | time, s | 0.04 | 1.28 | 1.00 | 1.00 to 1.00 | 1 | within |" in text
    assert "| memory, MiB | 0.16 | 164 | 2.00 | 2.00 to 2.00 | 1 | above |" in text
    assert "Above: step, memory, MiB by rank." in text
    assert "kept" in text and f"]({PLOT})" in text
    assert 10_000 < page.with_name(PLOT).stat().st_size < 80_000


@pytest.mark.slow
def test_pictures_are_prepared_at_two_sizes() -> None:
    found = AXES["pictures"].run(3, quick=True)
    assert [each.what for each in found] == [IMPORT, COMPARISON, READING, ENCODING]
    for each in found:
        assert list(each.values) == [10, 32]
        assert all(len(values) == 1 and values[0] > 0 for values in each.values.values())
    assert found[3].points[32] > found[3].points[10]


@pytest.mark.process
def test_an_empty_studio_answers_with_its_list(tmp_path: Path) -> None:
    found = answers(tmp_path / "empty", "/styles")
    assert set(found) == set(AXES["library"].allowed) == set(AXES["runs"].allowed)
    assert all(value > 0 for value in found.values())
