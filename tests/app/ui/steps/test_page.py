"""What the page about a run's steps shows and lets people do, without a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from app.jobs.permissions import BELONGS_TO
from app.jobs.store import TRAIN, NewJob
from app.studio.comparison.votes import Votes, add_vote, read_votes
from app.studio.runs.chosen import read_choice
from app.studio.services import Services, open_services
from app.studio.studio_queue import StudioQueue
from app.ui.steps import text as words
from app.ui.steps.events import GridAction, GridFileWanted
from app.ui.steps.page import StepsPage
from tests.app.ui.ended_runs import write_run, write_snapshot
from trainers.score.votes import Vote

NASTY = "<b>a fox</b> ${1} \"'"
ASKED = "id=dusk&steps=7311%2C9137&strengths=1"
STEPS = (7311, 9137)
"""Numbers that come up nowhere else."""


@pytest.fixture
def services(queue: StudioQueue, tmp_path: Path) -> Iterator[Services]:
    opened = open_services(queue.paths, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def page(services: Services) -> StepsPage:
    with gr.Blocks():
        return StepsPage(services)


@pytest.fixture
def run(services: Services) -> Path:
    """A run of anna's that drew two prompts at two kept steps; the pictures are written without the training."""
    folder = write_run(services.paths.runs, "dusk", {"train": {"steps": 4, "warmup": 0}}, prompts=(NASTY, "a boat"))
    for number, step in enumerate(STEPS):
        write_snapshot(folder, step)
        (folder / "samples" / f"step-{2 * number + 2:08d}").rename(folder / "samples" / f"step-{step:08d}")
    for path in (folder / "samples" / "final").iterdir():
        path.unlink()
    services.queue.store.add(NewJob(TRAIN, folder, owner="anna"), phase="ended")
    return folder


def visitor(name: str = "anna", **query: str) -> Any:
    return SimpleNamespace(username=name, cookies={}, session_hash="x", query_params=query)


def shown(page: StepsPage, asked: str, name: str = "anna") -> dict[str, str]:
    answer = page.refresh(asked, "{}", visitor(name))
    return {part: str(answer[getattr(page, part)]) for part in ("head", "votes", "grid")}


def ballot(page: StepsPage, name: str = "anna") -> str:
    found = re.search(r'data-ballot="([^"]+)"', shown(page, f"{ASKED}&vote=1", name)["votes"])
    return found[1] if found is not None else ""


def act(page: StepsPage, what: Any, about: str = "", name: str = "anna") -> str:
    return str(page.on_asked(GridAction(what=what, about=about), visitor(name), f"{ASKED}&vote=1")[page.notice])


@pytest.mark.usefixtures("run")
def test_the_address_says_what_is_compared_and_every_picture_has_a_name(page):
    asked = page.open(visitor(id="dusk", steps="9137,7311", strengths="1; 0,5", row1="on"))
    wanted = [
        f"step {step}, strength {at}, a boat{not_drawn}"
        for at, not_drawn in ((1, ""), (0.5, ": not drawn"))
        for step in (9137, 7311)
    ]
    assert re.findall(r'aria-label="(step [^"]+)"', shown(page, asked)["grid"]) == wanted
    parts = shown(page, ASKED)
    assert parts["grid"].count('tabindex="0"') == 1, "Tab leads into the grid once, and arrow keys from there"
    names = re.findall(r'aria-label="(step [^"]+)"', parts["grid"])
    nasty = "&lt;b&gt;a fox&lt;/b&gt; ${1} &#34;&#39;"
    assert names == [f"step {step}, strength 1, {prompt}" for prompt in (nasty, "a boat") for step in STEPS]
    assert len(set(re.findall(r'data-whole="([^"]+)"', parts["grid"]))) == 4 and "<b>a" not in "".join(parts.values())
    assert parts["head"].count('class="go"') == 1 and "vote=1" in parts["head"]


@pytest.mark.usefixtures("run")
def test_what_is_missing_is_counted_and_who_may_not_change_the_run_only_looks(page):
    some = "id=dusk&strengths=1%2C0.5"
    assert "4 of 8 pictures are drawn." in shown(page, some)["head"] and "Draw 4 pictures" in shown(page, some)["head"]
    other = shown(page, some, "ben")
    assert (
        'data-do="draw"' not in other["head"] and "vote=1" not in other["head"] and 'data-fetch="png"' in other["head"]
    )
    assert "data-whole" in other["grid"] and ballot(page, "ben") == ""
    place = page.grids.read(page.queue.find("dusk"), strengths="0.5").places[-1]
    assert words.cell(*place[1:], "a boat", words.COMES) == "step 9137, strength 0.5, a boat: Being drawn"
    belongs = str(BELONGS_TO.format(name="dusk", owner="anna"))
    for what in ("draw", "cancel", "hurry", "left", "tie", "undo", "keep"):
        assert belongs in act(page, what, ballot(page), "ben"), what


def test_a_ballot_tells_nothing_and_the_studio_knows_what_was_chosen(page, run):
    parts = shown(page, f"{ASKED}&vote=1")
    markup = "".join(parts.values())
    assert not re.search(r"7311|9137|strength|[Ss]tep \d", markup) and parts["grid"].endswith("-->")
    addresses = re.findall(r'<img src="([^"]+)"', markup)
    assert len(addresses) == 2 and all(re.search(r"/[0-9a-f]{24}\.webp$", each) for each in addresses)
    for place in ((page.queue.public(page.queue.find("dusk")) / Path(each).name) for each in addresses):
        with Image.open(place) as picture:
            assert not {"exif", "xmp", "comment"} & picture.info.keys(), "nor does the file"

    keys = ballot(page)
    assert keys == ballot(page) and act(page, "left", keys) == ""
    (vote,) = read_votes(run).votes
    assert {vote.first, vote.second} == {(step, 1.0) for step in STEPS} and vote.won == 1
    drawn = {page.grids.read(page.queue.find("dusk")).pictures[row, *vote.first] for row in (0, 1)}
    left = page.queue.public(page.queue.find("dusk")) / f"{keys.split(':')[1]}.webp"
    with Image.open(left) as one:
        assert any(_alike(one, Image.open(path)) for path in drawn), "the left picture is the one that was voted for"
    assert "This did not count" in act(page, "right", keys)
    assert len(read_votes(run).votes) == 1, "the same ballot counts once"
    act(page, "tie", ballot(page))
    assert [each.won for each in read_votes(run).votes] == [1, 0.5]
    before = ballot(page)
    act(page, "undo", before)
    assert len(read_votes(run).votes) == 1 and ballot(page) != before


def _alike(one: Image.Image, other: Image.Image) -> bool:
    small = [each.convert("RGB").resize((8, 8)).tobytes() for each in (one, other)]
    return sum(abs(a - b) for a, b in zip(*small, strict=True)) / len(small[0]) < 4


@pytest.mark.parametrize(
    "about", ["", "0", "0:x:y", "x:{left}:{right}", "0:{left}:{left}", "0:{left}:y", "-1:{left}:{right}"]
)
def test_a_made_up_vote_counts_as_none(page, run, about):
    _, left, right = ballot(page).split(":")
    act(page, "left", about.format(left=left, right=right))
    assert read_votes(run) == Votes(0, (), ())


def test_the_result_is_one_sentence_and_a_range_for_each(page, run):
    def vote(first: int, count: int) -> str:
        for _ in range(count):
            votes = read_votes(run)
            add_vote(run, "a boat", Vote((STEPS[first], 1.0), (STEPS[1 - first], 1.0), 1.0), votes.lines)
        return shown(page, ASKED)["votes"]

    assert "verdict" not in shown(page, ASKED)["votes"]
    assert words.TOO_FEW.format(count=3, about=10, more=7) in vote(0, 3)
    assert words.LEVEL.format(count=12) in vote(1, 3) + vote(0, 3) + vote(1, 3)
    html = vote(1, 14)
    assert words.VOTED_ENOUGH.format(count=26) in shown(page, f"{ASKED}&vote=1")["votes"], (
        "more than enough are not counted against a number"
    )
    assert words.AHEAD.format(candidate="Step 9137 at strength 1") in html
    assert "Keep step 9137" in html
    assert act(page, "keep", "7311") == "" and read_choice(run).step == 7311
    assert 'data-do="keep" data-about="9137"' in re.sub(r"\s+", " ", shown(page, ASKED)["votes"])
    stars = re.findall(r'aria-label="Keep step (\d+)" aria-pressed="(\w+)"', shown(page, ASKED)["grid"])
    assert stars == [("7311", "true"), ("9137", "false")]
    act(page, "keep", "x")
    assert read_choice(run).step == 7311, "a made-up step changes nothing"
    ranges = re.findall(r"(\d+)% \((\d+)% to (\d+)%\)", html)
    assert len(ranges) == 2 and all(int(low) < int(mean) < int(high) for mean, low, high in ranges)
    assert html.index("Step 9137") < html.index("Step 7311")


def test_both_files_hold_the_grid_and_the_page_needs_nothing_else(page, run):
    def fetched(kind: Any) -> Path:
        answer = page.on_fetched(GridFileWanted(file=kind, at=1), visitor("ben"), ASKED)
        assert answer[page.files]["name"] == f"dusk steps.{kind}"
        return next(page.queue.public(page.queue.find("dusk")).glob(f"*/dusk steps.{kind}"))

    with Image.open(fetched("png")) as picture:
        assert picture.format == "PNG" and picture.width > 2 * 96 and picture.height > 2 * 96
        assert len(picture.convert("RGB").getcolors(2**20)) > 100
    html = fetched("html").read_text(encoding="utf-8")
    bare = re.sub(r"data:image/webp;base64,[\w+/=]+", "", html)
    assert not re.search(r"http|//\w|@import|<link|<b>a fox", bare, re.IGNORECASE) and len(bare) < 20_000
    assert (
        re.findall(r'(?:src|href)="(.{16})', html) == ["data:image/webp;"] * 4
        and "step 9137, strength 1, a boat" in html
    )


@pytest.mark.parametrize("asked", ["", "id=none", "id=..%2Fdusk", "id=dusk&row9999=on&row%D9%A1=on&steps=x"])
def test_an_address_that_names_nothing_is_answered(page, run, asked):
    parts = shown(page, asked)
    assert ("empty" in parts["head"]) == ("dusk&" not in asked) and parts["head"].count('class="go"') <= 1


def test_a_run_that_kept_nothing_says_so(page, services):
    folder = write_run(services.paths.runs, "dusk")
    services.queue.store.add(NewJob(TRAIN, folder), phase="ended")
    assert words.NOTHING in shown(page, "id=dusk")["head"], "one style and no steps are nothing to compare"
    (folder / "style" / "dusk.safetensors").unlink()
    assert words.NOTHING in shown(page, "id=dusk")["head"]
    (folder / "chosen.json").write_text(json.dumps({"step": 1}))
    assert words.NOTHING in shown(page, "id=dusk", "ben")["head"]
