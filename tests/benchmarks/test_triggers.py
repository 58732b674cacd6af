"""The section about trigger words: means over seeds and sets, and a dash where a row is missing."""

from __future__ import annotations

from benchmarks.styles.rows import read_lines
from benchmarks.styles.triggers import NAMES, PAGE, RESULTS, SETS, VARIANTS, WORDS, rows, section


def test_a_figure_is_the_mean_of_its_seeds_and_the_last_one_of_the_sets() -> None:
    known = [{"base": "new", "before": "first", "word": WORDS[1], "nearest": 0.5, "near": 0.25}]
    for images, style in zip(SETS, (0.1, 0.2, 0.6), strict=True):
        figures = {"variant": "first", "preset": "quick", "images": images, "style": style, "content": 0.5}
        known += [{"base": "new", **figures, "seed": 1, "bare style": style, "bare content": 0.7}]
    known += [{**known[1], "seed": 2, "style": 0.3, "content": 0.7, "bare style": 0.3}]
    lines = section(known).splitlines()
    assert f"| {NAMES['first']} | – | 50 % · 0.25 | – | – |" in lines
    bare = "0.333 · 0.700"  # of 0.2, 0.2 and 0.6
    assert f"| {NAMES['first']} | 0.200 · 0.600 | 0.200 · 0.500 | 0.600 · 0.500 | – | – | – | {bare} |" in lines
    assert f"| {NAMES['last']} | – | – | – | – | – | – | – |" in lines
    assert "`new…`" in lines[-1]


def test_every_way_is_named_and_trained_with_the_word_where_it_says() -> None:
    assert VARIANTS.keys() == NAMES.keys() and {row.variant for row in rows()} == VARIANTS.keys()
    captions = [form.format(word="dusk", subject="fox") for form, _ in VARIANTS.values()]
    assert captions == ["fox", "dusk, fox", "fox, dusk", "dusk, fox", "fox <inkgeo>"]


def test_the_page_is_what_the_rows_say() -> None:
    assert section([*read_lines(RESULTS)]).strip() in PAGE.read_text(encoding="utf-8")
