"""The page of a sweep: its pictures, its table, and what its buttons do."""

from __future__ import annotations

import re
from types import SimpleNamespace

import gradio as gr
import pytest

from app.jobs.permissions import Actor
from app.studio.sweeps.axes import Axis
from app.studio.sweeps.sweep_file import read_sweep
from app.ui.components.pagination import ListChoice
from app.ui.runs.list import listing
from app.ui.sweep.events import SweepAction, SweepFileWanted
from app.ui.sweep.page import SweepPage
from tests.app.studio.sweeps.made import write_ended_sweep
from tests.app.ui.ended_runs import PROMPTS, write_run, write_scores

METHODS, RANKS = Axis(("method.name",), ("lora", "loha")), Axis(("method.rank",), (4, 8))
REQUEST = SimpleNamespace(username="", cookies={}, session_hash="a page")


@pytest.fixture
def page(queue) -> SweepPage:
    with gr.Blocks():
        return SweepPage(SimpleNamespace(queue=queue))


def rows(html: str) -> list[list[str]]:
    found = re.findall(r"<tr[^>]*>(.*?)</tr>", html)
    return [[re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in found]


def test_pictures_results_and_losses_are_shown(queue, page) -> None:
    write_ended_sweep(queue.store.runs, "dusk", METHODS, RANKS)
    shown = page.refresh("dusk", "", REQUEST)
    head, pictures, results = (str(shown[part]) for part in (page.head, page.pictures, page.results))
    assert "4 of 4 done" in head and "Sweep · Method × Rank" in head and "data-do" not in head
    tables = rows(pictures)
    assert [row[0] for row in tables] == ["", "LoRA", "LoHA"] * len(PROMPTS) and tables[0][1:] == ["Rank 4", "Rank 8"]
    assert pictures.count("data-whole=") == 8 and PROMPTS[1] in pictures
    table = rows(results)
    assert table[0][:4] == ["Run", "Method", "Rank", "State"] and len(table) == 5
    assert sorted(row[0] for row in table[1:]) == ["dusk-loha-r4", "dusk-loha-r8", "dusk-lora-r4", "dusk-lora-r8"]
    assert table[0][4:8] == ["Time", "File", "Memory", "Loss"] and "No run has a best step" in results
    assert "polyline" in results
    assert list(page.refresh("dusk", shown[page.live.seen], REQUEST)) == [page.live.refresher.part]


def test_the_run_nearest_to_the_style_is_first_with_a_sentence_to_keep_it(queue, page) -> None:
    write_ended_sweep(queue.store.runs, "dusk", RANKS)
    write_scores(queue.store.runs / "dusk-r8", 10, (10, 20), nearest=6.9)
    results = str(page.refresh("dusk", "", REQUEST)[page.results])
    table = rows(results)
    assert table[0][3:5] == ["Distance in style", "Best step"]
    assert [(row[0], *row[3:5]) for row in table[1:]] == [("dusk-r8", "69%", "10"), ("dusk-r4", "–", "–")]
    assert "Keep dusk-r8: 31% nearer to your style" in results and "Nearest to your style first." in results


def test_one_run_is_kept_and_its_mark_is_undone(queue, page) -> None:
    write_ended_sweep(queue.store.runs, "dusk", RANKS)
    shown = page.on_asked(SweepAction(what="keep", about="dusk-r4"), REQUEST, "dusk")
    assert read_sweep(queue.store.runs, "dusk").kept == "dusk-r4" and str(shown[page.results]).count("Your choice") == 1
    page.on_asked(SweepAction(what="unkeep", about="dusk-r4"), REQUEST, "dusk")
    assert read_sweep(queue.store.runs, "dusk").kept == ""
    other = SimpleNamespace(**vars(REQUEST) | {"username": "ann"})
    refused = page.on_asked(SweepAction(what="keep", about="dusk-r4"), other, "dusk")
    assert "only they can change it" in str(refused[page.notice]) and read_sweep(queue.store.runs, "dusk").kept == ""
    assert "data-do" not in str(refused[page.results])


@pytest.mark.parametrize(("file", "name"), [("sheet", "dusk.png"), ("csv", "dusk.csv")])
def test_files_are_saved_under_the_name_of_the_sweep(queue, page, file: str, name: str) -> None:
    write_ended_sweep(queue.store.runs, "dusk", RANKS)
    shown = page.on_fetched(SweepFileWanted(file=file), REQUEST, "dusk")
    assert shown[page.files]["name"] == name and name in shown[page.files]["address"]


def test_a_sweep_that_is_not_there_is_said(page) -> None:
    shown = page.refresh("<b>", "", REQUEST)
    assert "There is no such sweep" in str(shown[page.head]) and "<b>" not in str(shown[page.head])


def test_the_list_of_runs_shows_a_sweep_as_one_row(queue) -> None:
    write_ended_sweep(queue.store.runs, "dusk", RANKS)
    write_run(queue.store.runs, "alone")
    html = str(listing(queue, queue.look(), ListChoice(), Actor()))
    assert html.count("<li data-key=") == 2 and 'href="sweep?id=dusk"' in html and "2 of 2 done" in html
    assert "run?id=dusk-r4" not in html and 'href="run?id=alone"' in html


def test_a_member_changes_nothing_of_anothers_sweep_and_an_admin_does(queue, page) -> None:
    runs = queue.store.runs
    write_ended_sweep(runs, "dusk", RANKS, owner="ann")
    bob = SimpleNamespace(username="bob", cookies={}, session_hash="a page")
    for what in ("stop-all", "continue", "first", "last", "keep", "unkeep"):
        shown = page.on_asked(SweepAction(what=what, about="dusk-r4"), bob, "dusk")
        assert "“dusk” belongs to ann, and only they can change it" in str(shown[page.notice]), what
    assert read_sweep(runs, "dusk").kept == ""
    page._act(SweepAction(what="keep", about="dusk-r4"), Actor("eve", is_admin=True), "dusk")
    assert read_sweep(runs, "dusk").kept == "dusk-r4"
