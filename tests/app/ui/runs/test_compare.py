"""Runs side by side: which rows, which settings, which losses, and what is said where something is missing."""

from __future__ import annotations

import re
import shutil
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from app.studio.settings.differences import find_differences, read_settings
from app.studio.studio_queue import StudioQueue
from app.studio.styles.library import StyleLibrary
from app.ui.components.runs.curve import draw_together, round_numbers
from app.ui.runs import compare_text as words
from app.ui.runs import sheet_view
from app.ui.runs.compare import ComparisonPage
from tests.app.ui.ended_runs import PROMPTS, write_run

pytestmark = pytest.mark.slow

NASTY = "<b>a fox</b> ${1} \"'"


@pytest.fixture
def page(queue: StudioQueue) -> ComparisonPage:
    with gr.Blocks():
        return ComparisonPage(SimpleNamespace(queue=queue, library=StyleLibrary(queue)))


def shown(page: ComparisonPage, ids: str) -> str:
    return str(page.refresh(ids, "")[page.sheet])


def table(html: str, kind: str) -> list[list[str]]:
    """The rows of a section's table as text."""
    section = re.search(f'<section class="{kind}">(.*?)</section>', html, re.DOTALL)
    assert section is not None
    rows = re.findall(r"<tr>(.*?)</tr>", section[1])
    return [[re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_pictures_stand_in_rows_of_words_and_columns_of_runs(queue, page):
    write_run(queue.store.runs, "one", prompts=(*PROMPTS, NASTY))
    write_run(queue.store.runs, "two", prompts=(PROMPTS[1], NASTY), first=5)
    html = shown(page, "one,two,one")
    rows = table(html, "pictures")
    nasty = "&lt;b&gt;a fox&lt;/b&gt; ${1} &#34;&#39;"
    assert [row[0] for row in rows] == ["", PROMPTS[1], nasty, "", PROMPTS[0]], "what one run alone drew comes last"
    assert [row[1:] for row in rows[1:]] == [["", ""], ["", ""], rows[3][1:], ["", words.NOT_DRAWN]]
    assert [re.sub("one|two", "", head) for head in rows[0][1:]] == ["at step 300"] * 2 and "<b>a" not in html
    pictures = re.findall(r'data-whole="([^"]+)" data-title="(\w+)" aria-label="([^"]+?), (?:one|two)"', html)
    assert [f"{title}: {prompt[:6]}" for _, title, prompt in pictures] == [
        "one: two ca", "two: two ca", "one: &lt;b&", "two: &lt;b&", "one: a ligh",
    ]  # fmt: skip
    assert len({address for address, _, _ in pictures}) == 5 and words.ALONE in html
    assert html.count('class="more offers-of"') == 2 and "300 steps" in html and "kB" in html


def test_without_a_common_prompt_every_picture_is_seen_at_once(queue, page):
    write_run(queue.store.runs, "one", {"targets": {"text_encoder": "attn"}}, ("a fox",))
    write_run(queue.store.runs, "two", {"train": {"warmup": 3}}, ("a boat",))
    html = shown(page, "one,two")
    assert words.NONE_SHARED in html and "fold-in" not in html
    drawn = [["a fox", "", words.NOT_DRAWN], ["a boat", words.NOT_DRAWN, ""]]
    assert table(html, "pictures")[1:] == drawn
    assert "targets.<wbr>text_<wbr>encoder</code>" in html, "a name breaks between its words"


def test_nothing_is_looked_at_before_it_is_known_which_runs_are_meant(page):
    assert page.open(SimpleNamespace(query_params={"ids": "one,two"})) == "one,two"
    assert page.live.refresher.part.value == "0"


def test_only_what_differs_is_listed_in_the_words_of_all_settings(queue, page):
    write_run(queue.store.runs, "one", {"train": {"learning_rate": 1e-4}, "method": {"rank": 8}})
    write_run(queue.store.runs, "two", {"train": {"learning_rate": 0.002}, "method": {"rank": 16}})
    write_run(queue.store.runs, "three", {"method": {"name": "lokr", "factor": 4}, "train": {"learning_rate": 1e-4}})
    html = shown(page, "one,two")
    assert table(html, "differing")[1:] == [
        ["Rank method.rank", "8", "16"],
        ["Learning rate train.learning_rate", "0.0001", "0.002"],
    ]
    rows = {row[0].split()[0]: row[1:] for row in table(shown(page, "one,three"), "differing")[1:]}
    assert rows["Method"] == ["LoRA", "LoKr"] and rows["Factor"] == ["–", "4"]
    assert "DoRA" not in rows and "Learning" not in rows  # off where there is such a thing; the same
    twins = [read_settings(queue.store.runs / "one")] * 2
    assert find_differences(twins) == []
    (queue.store.runs / "two" / "config.toml").write_text("method = 3", encoding="utf-8")
    assert words.NOT_READ.format("two") in shown(page, "one,two")


def test_what_makes_a_comparison_unfair_is_said(queue, page):
    write_run(queue.store.runs, "one")
    write_run(queue.store.runs, "two")
    said = (words.OTHER_BASES, words.OTHER_SEEDS, words.ALONE)
    assert not [each for each in said if each in shown(page, "one,two")]
    model = "/secret/place/sd15.safetensors"
    write_run(queue.store.runs, "three", {"base": {"model": model}, "sample": {"seeds": [7]}})
    html = shown(page, "one,three")
    assert [each in html for each in said] == [True, True, False]
    assert ["Base model base.model", "Velatura starter", "sd15.safetensors"] in table(
        html, "differing"
    ) and "secret" not in html


def test_too_few_too_many_and_none_are_said(queue, page):
    for name in "abcde":
        write_run(queue.store.runs, name)
    assert words.EMPTY[0] in shown(page, "") and words.EMPTY[0] in shown(page, " , ,")
    assert words.ONE[0] in shown(page, "a") and words.ONE[0] in shown(page, "a,a")
    for ids in ("a,none", "<b>,../outputs/a", "x" * 900):
        html = shown(page, ids)
        assert words.NOT_THERE[0] in html and "<b>," not in html and html.count('class="go"') == 1
    html = shown(page, "a,none,b")
    assert words.MISSING.format("none") in html and html.count("<h2><a") == 2
    html = shown(page, "a,b,c,d,e")
    assert words.TOO_MANY in html and re.findall(r'href="run\?id=(\w)"', html) == list("abcd")
    for name in "ab":
        shutil.rmtree(queue.store.runs / name / "samples")
    assert words.NO_PICTURES in shown(page, "a,b")
    html = shown(page, "a,c")
    assert words.NO_PICTURES not in html and words.NOTHING_DRAWN in html


def test_nothing_is_sent_twice_and_looks_are_rare_when_all_have_ended(queue, page):
    write_run(queue.store.runs, "one")
    write_run(queue.store.runs, "two")
    first = page.refresh("one,two", "")
    assert first[page.live.refresher.part].endswith("-->10")
    again = page.refresh("one,two", first[page.live.seen])
    assert list(again) == [page.live.refresher.part]


def test_losses_are_drawn_over_one_another_on_one_scale(queue):
    write_run(queue.store.runs, "one", {"train": {"steps": 100, "warmup": 0}})
    write_run(queue.store.runs, "two", {"train": {"steps": 50, "warmup": 0}})
    (queue.store.runs / "none").mkdir()
    named = [(name, queue.losses(queue.store.runs / name).curve()) for name in ("one", "none", "two")]
    drawn = draw_together(named)
    assert drawn is not None
    assert [(tick.at, tick.label) for tick in drawn.figure.across] == [(20.0 * k, f"{20 * k}") for k in range(6)]
    up = [(tick.at, float(tick.label)) for tick in drawn.figure.up]
    assert (
        len(up) >= 2
        and all(0 <= at <= 100 for at, _ in up)
        and sorted(up, reverse=True) == sorted(up, key=lambda it: it[1])
    )
    ends = {line.kind: float(line.points.split()[-1].split(",")[0]) for line in drawn.figure.lines}
    assert ends == {"smooth line-1": 1000, "smooth line-3": 500}
    assert [(each.place, each.name) for each in drawn.legend] == [(1, "one"), (3, "two")]
    assert drawn.legend[0].now == f"{named[0][1].smoothed[-1]:.4f}" and draw_together(named[1:2]) is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.031, 0.047, [0.035, 0.04, 0.045]),
        (-0.3, 0.3, [-0.2, 0, 0.2]),
        (0, 3000, [0, 1000, 2000, 3000]),
    ],
)
def test_axes_have_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert round_numbers(low, high) == pytest.approx(expected)


def other(queue: StudioQueue, name: str, row: int, run: str) -> dict[str, Any]:
    view = queue.run(name)
    assert view is not None
    return sheet_view.answer(queue, view, row, run)


def test_a_picture_is_compared_with_what_other_runs_have_drawn_of_its_words(queue):
    write_run(queue.store.runs, "one", {"train": {"steps": 40, "warmup": 0}})
    write_run(queue.store.runs, "two", prompts=("a boat", PROMPTS[1]), first=5)
    write_run(queue.store.runs, "three", prompts=("a boat",), first=9)
    assert other(queue, "one", 0, "")["runs"] == [] and other(queue, "one", 1, "")["runs"] == ["two"]
    picture = other(queue, "one", 1, "two")["picture"]
    assert queue.public(queue.run("two")).name in picture and picture.rpartition("-")[0].endswith("000300f-01")
    for row, run in ((0, "two"), (1, "three"), (1, "../one"), (-1, "two"), (99, "two")):
        assert other(queue, "one", row, run)["picture"] is None
