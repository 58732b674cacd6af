"""Drawings that are asked for, wait, are drawn by real jobs, and are kept: without a page around them."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER, Actor
from app.jobs.processes.process import own_identity
from app.jobs.small_jobs import PICTURE, PLAIN
from app.jobs.states import State
from app.jobs.store import NewJob
from app.jobs.summary import Summary
from app.jobs.trash.trash import Trash
from app.studio.base_models import Bases
from app.studio.generation import generations as module
from app.studio.generation.compatibility import find_fit, misfit, own_base
from app.studio.generation.form import Desk, begin_with, first_prompt
from app.studio.generation.generation import how_far
from app.studio.generation.generations import Drawings, WishError, wait_for, wish_from
from app.studio.generation.request import Typed, Wish, as_typed, read_typed
from app.studio.paths import Paths
from app.studio.queue import Queue
from app.studio.styles.entry import StyleEntry
from app.studio.styles.library import StyleLibrary
from app.ui.playground import results_view
from app.ui.playground.results_view import going
from tests.app.jobs.working import CPU, do_next, line
from tests.trainers.conftest import images, quick_runs
from tests.trainers.tiny_runs import quick_settings
from trainers.errors import VelaturaError
from trainers.runs.events import Recorder
from trainers.runs.run import Run
from trainers.training.train import train

__all__ = ["images", "quick_runs"]
pytestmark = pytest.mark.usefixtures("quick_runs")

ANNA = "user:anna"


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tiny_bases: dict[str, Path], images: Path
) -> Iterator[tuple[Drawings, StyleEntry, StyleEntry]]:
    """A studio's drawings, and two styles that were trained in it: on a tiny SD 1 and on a tiny SDXL."""
    paths = Paths(tmp_path_factory.mktemp("studio") / "outputs")
    paths.make()
    strong = {"train": {"learning_rate": 1.0}, "data": {"trigger": "dusk style"}}
    for name, family in (("dusk", "sd1"), ("dawn", "sdxl")):
        train(quick_settings(tiny_bases[family], images, {"name": name}, strong), paths.runs)
    queue = Queue(paths)
    library = StyleLibrary(queue)
    dusk, dawn = (next(item for item in library.entries() if item.name == name) for name in ("dusk", "dawn"))
    yield Drawings(queue, library, Bases(anywhere=True)), dusk, dawn


@pytest.fixture
def drawings(trained: tuple[Drawings, StyleEntry, StyleEntry]) -> Iterator[Drawings]:
    yield trained[0]
    for drawing in trained[0].history(ANNA):
        if not drawing.ended:
            trained[0].remove(drawing.id, ANNA)


@pytest.fixture
def dusk(trained: tuple[Drawings, StyleEntry, StyleEntry]) -> StyleEntry:
    return trained[1]


@pytest.fixture
def dawn(trained: tuple[Drawings, StyleEntry, StyleEntry]) -> StyleEntry:
    return trained[2]


def wish(*styles: tuple[StyleEntry, float], **changes: Any) -> Wish:
    given: dict[str, Any] = {"prompt": "a fox", "steps": 2, "size": (32, 32)}
    return Wish(styles=tuple((item.id, strength) for item, strength in styles), **given | changes)


def pixels(path: Path) -> Any:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), int)


def test_a_way_is_refused_before_it_is_drawn_where_it_cannot_combine_these(drawings, dusk):
    def said(way: str, *others: dict[str, Any]) -> str | None:
        items = [dusk, *(replace(dusk, id=str(n), name=f"other {n}", **other) for n, other in enumerate(others))]
        asked = wish(*((item, 1.0) for item in items), compose=way)
        return find_fit(asked, {item.id: item for item in items}, drawings.bases).problems.get("compose")

    word, own = {"method": "textual-inversion"}, {"method": "krona-b", "only_here": True}
    assert said("ties", {}) is said("sum", own) is said("sum", word) is said("ties", {}, word) is None
    assert str(said("ties", {}, own)).startswith("What “other 1” does depends on the picture")
    assert said("switch:3", own) is said("composite", {}, own) is None
    assert "needs two styles that change the model" in str(said("switch:5", word))


def test_a_word_is_asked_for_no_picture_of_its_own(drawings, dusk):
    word = replace(dusk, id="1", name="word", method="textual-inversion")
    for each in (True, False):
        asked = wish((dusk, 1.0), (word, 1.0), each=each)
        problems = find_fit(asked, {item.id: item for item in (dusk, word)}, drawings.bases).problems
        assert list(problems) == ["style-1"] * each
        assert "A word draws no picture of its own" in problems.get("style-1", "") or not each


def test_a_drawing_waits_is_drawn_twice_and_says_its_parameters(drawings, dusk):
    store = drawings.queue.store
    number = drawings.ask(wish((dusk, -0.5), negative="rain", seed=7), "anna", ANNA)
    waiting = drawings.look(number)
    assert (waiting.state, waiting.ended, waiting.line) == (State.QUEUED, False, "Starts in a moment …")
    assert store.job(number).owner == "anna" and store.job(number).priority == actions.AHEAD
    drawings.ask(wish(prompt="a boat"), "anna", ANNA)
    assert [one.wish.prompt for one in drawings.history(ANNA)][:2] == ["a boat", "a fox"]
    assert do_next(store).state == "finished"
    drawn = drawings.look(number)
    assert (drawn.state, drawn.line, drawn.share) == (State.FINISHED, "", 1.0) and drawn.ended
    assert drawn.wish == wish((dusk, -0.5), negative="rain", seed=7) and drawn.record.names == ("dusk",)
    assert [path.name for path in drawn.pictures] == [PICTURE, PLAIN]
    assert np.abs(pixels(drawn.pictures[0]) - pixels(drawn.pictures[1])).max() > 0
    assert store.job_in(drawn.folder) is None, "what has ended leaves the queue"
    assert Drawings(drawings.queue, drawings.library, drawings.bases).look(number) == drawn, "the folder says it all"
    files = drawings.offered(drawn)
    assert [file.name for file in files] == ["a fox 7.png", "a fox 7 without.png"]
    assert all(file.is_relative_to(drawings.queue.paths.public) for file in files)
    with Image.open(files[0]) as picture:
        said = json.loads(picture.text["velatura"])
    assert (
        said["prompts"] == ["a fox"] and said["negative"] == "rain" and said["styles"] == [["dusk.safetensors", -0.5]]
    )
    assert (said["seed"], said["steps"], said["size"], said["guidance"]) == (7, 2, [32, 32], 7.0)
    small = drawings.shown(drawn, 0, True)
    assert small.name == "small-0.webp" and small == drawings.shown(drawn, 0, True)


def test_how_far_it_is_and_what_it_waits_for_is_said(drawings, dusk):
    number = drawings.ask(wish((dusk, 1.0), steps=24), whose=ANNA)
    record = drawings.look(number).record
    view = drawings.queue.watcher.view(number)

    def said(state: State, place: int = 0, **facts: Any) -> str:
        other = replace(view, job=replace(view.job, folder=Path("Harbour blue"), kind="train"), state=State.TRAINING)
        other = replace(other, summary=Summary(step=10, steps=100, speed=0.1667))
        mine = replace(view, state=state, place=place, summary=Summary(**facts))
        return how_far(record, mine, {Path("other"): other} if place else {})

    assert said(State.QUEUED, 1) == "Waits for Harbour blue, about 9 min …"
    assert said(State.QUEUED, 3) == "Waits for Harbour blue, 3rd in line …"
    assert said(State.PREPARING) == said(State.WORKING) == "Reading the base model …"
    assert said(State.WORKING, share=(8, 48)) == "Drawing with the style … 8 of 24"
    assert said(State.WORKING, share=(25, 48)) == "Drawing without it … 1 of 24"


def test_the_owner_of_the_training_in_the_way_lets_it_wait(drawings):
    store = drawings.queue.store
    store.add(NewJob("train", actions.new_folder(store, "Harbour blue"), owner="anna"))
    claimed = store.claim(CPU.choose, own_identity())
    run = store.begin(claimed.id, claimed.token, own_identity())
    while drawings.queue.watcher.view(run.id).state != "training":  # times of events are rounded
        Recorder(run.folder)("step", step=10, steps=100, speed=0.1667, loss=0.5)
    number = drawings.ask(wish(), "anna", ANNA)
    waiting = drawings.look(number)
    assert waiting.line == "Waits for Harbour blue, about 9 min …" and waiting.behind == run
    assert "Pause it and draw now" in going([waiting], "", "anna")
    assert "Pause it and draw now" not in going([waiting], "", "ben")
    with pytest.raises(VelaturaError, match="“Harbour blue” belongs to anna, who alone can change it"):
        drawings.hurry(waiting.id, ANNA, Actor("ben"))
    with pytest.raises(VelaturaError, match="no longer here"):
        drawings.hurry(waiting.id, "user:ben", Actor("anna"))
    urgent = store.add(NewJob("train", actions.new_folder(store, "urgent"), priority=99))
    assert drawings.look(number).behind is None, "another run would begin instead"
    store.end(urgent)
    assert store.job(run.id).requested == ""
    drawings.hurry(waiting.id, ANNA, Actor("anna"))
    assert store.job(run.id).requested == "yield" and Run(run.folder).asked_to_stop() == "pause"
    assert (drawings.look(number).line, drawings.look(number).behind) == ("Begins when Harbour blue is paused …", None)
    drawings.hurry(waiting.id, ANNA, Actor("anna"))  # once more is no matter
    assert store.end(store.job(run.id))


def test_a_drawing_is_cancelled_by_whom_it_belongs_to_and_gone(drawings):
    number = drawings.ask(wish(), whose=ANNA)
    drawing = drawings.look(number)
    with pytest.raises(VelaturaError, match="no longer here"):
        drawings.remove(drawing.id, "user:ben")
    with pytest.raises(VelaturaError, match="no longer here"):
        drawings.remove("../../dusk", ANNA)
    drawings.remove(drawing.id, ANNA)
    assert drawing.id not in [one.id for one in drawings.history(ANNA)] and not drawing.folder.exists()
    assert "drawing" not in " ".join(line(drawings.queue.store))


def test_one_that_fails_says_why_until_it_is_dismissed(drawings, dusk):
    number = drawings.ask(wish((dusk, 1.0)), whose=ANNA)
    moved = dusk.path.rename(dusk.path.with_suffix(".away"))
    assert do_next(drawings.queue.store).state == "failed"
    moved.rename(dusk.path)
    failed = drawings.look(number)
    assert failed.state == State.FAILED and failed.line.startswith("There is no style file") and not failed.pictures
    drawings.remove(failed.id, ANNA)
    with pytest.raises(VelaturaError, match="no longer here"):
        drawings.look(number)


def test_one_whose_job_was_cleared_away_is_told_from_its_pictures(drawings, monkeypatch):
    store = drawings.queue.store
    numbers = [drawings.ask(wish(compare=False), whose=ANNA) for _ in range(2)]
    do_next(store)
    actions.stop(store, numbers[1], "cancel", actor=MACHINE_OWNER)
    actions.clear(store, actor=MACHINE_OWNER)
    monkeypatch.setattr(module, "SETTLING", 0.0)
    states = {one.record.number: (one.state, len(one.pictures)) for one in drawings.history(ANNA)}
    assert states[numbers[0]] == (State.FINISHED, 1)
    assert states[numbers[1]] == (State.INTERRUPTED, 0)


def test_the_oldest_make_room_with_all_their_copies(drawings, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 2)
    whose, store = "user:ben", drawings.queue.store
    first, second = (drawings.ask(wish(seed=seed, steps=1), whose=whose) for seed in range(2))
    do_next(store)
    oldest = drawings.look(first)
    drawings.shown(oldest, 0, False)
    public = drawings.public(oldest)
    assert any(public.iterdir())
    third = drawings.ask(wish(), whose=whose)
    assert [one.record.number for one in drawings.history(whose)] == [third, second]
    assert not oldest.folder.exists() and not public.exists()
    (thrown,) = Trash(store).items(Actor("ben"))
    assert (thrown.kind, thrown.name, thrown.owner) == ("drawing", oldest.wish.prompt, "ben")
    assert actions.restore(store, thrown.id, actor=Actor("ben")) == thrown.name
    (back,) = [one for one in drawings.history(whose) if one.record.number == first]
    assert len(back.pictures) == len(oldest.pictures) and drawings.history(whose)[0].id == back.id
    for drawing in drawings.history(whose):
        drawings.remove(drawing.id, whose)


def test_what_cannot_be_tidied_costs_no_answer(drawings, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(module, "KEPT", 1)
    whose, store = "user:dan", drawings.queue.store
    first = drawings.ask(wish(steps=1), whose=whose)
    do_next(store)
    drawings.look(first)
    with monkeypatch.context() as broken:
        broken.setattr(Trash, "put", refuse)
        second = drawings.ask(wish(steps=1), whose=whose)
    assert [one.record.number for one in drawings.history(whose)] == [second, first], "nothing of it is lost"
    third = drawings.ask(wish(steps=1), whose=whose)
    numbers = [one.record.number for one in drawings.history(whose)]
    assert numbers == [third, second], "what is old goes the next time"
    assert len(Trash(store).items(Actor("dan"))) == 1
    for drawing in drawings.history(whose):
        drawings.remove(drawing.id, whose)


def test_a_line_of_one_person_has_an_end(drawings, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    for _ in range(2):
        drawings.ask(wish(), whose=ANNA)
    with pytest.raises(VelaturaError, match="2 of your drawings wait already"):
        drawings.ask(wish(), whose=ANNA)


def test_a_long_line_is_said_by_place_and_cancelled(drawings):
    for seed in range(12):
        drawings.ask(wish(seed=seed), whose="user:cleo")
    found = drawings.history("user:cleo")
    assert [one.wish.seed for one in found] == list(range(11, -1, -1))
    assert found[0].line == "Waits in line, 12th …" and found[-1].line == "Starts in a moment …"
    for drawing in found:
        drawings.remove(drawing.id, "user:cleo")
    assert drawings.history("user:cleo") == []


def test_every_field_that_cannot_be_met_is_said(drawings, dusk, dawn):
    with pytest.raises(WishError) as caught:
        drawings.ask(wish((dusk, 0.8), (dawn, 1.0), (dusk, 0.1), size=(33, 32)))
    assert caught.value.problems == {
        "style-1": "Made for SDXL; this base is SD 1.5.",
        "style-2": "This style is chosen twice. Take one of them out.",
        "size": "Width and height are multiples of 16 from 16 to 2,048 here; you wrote 33 × 32.",
    }
    with pytest.raises(WishError, match="This style is no longer here"):
        drawings.ask(Wish("a fox", styles=(("../x", 1.0),)))
    with pytest.raises(WishError, match="It is not on this computer yet"):
        drawings.ask(wish(base="nobody/nothing"))


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("prompt", " \n", "Say first what to draw."),
        ("prompt", "x" * 1001, "Prompt holds at most 1,000 letters; this one has 1,001."),
        ("steps", "0", "Steps is a whole number from 1 to 150; you wrote “0”."),
        ("steps", "2.5", "Steps is a whole number from 1 to 150; you wrote “2.5”."),
        ("guidance", "nan", "CFG is a number from 1 to 30; you wrote “nan”."),
        ("seed", "4294967296", "Seed is a whole number from 0 to 4,294,967,295; you wrote “4294967296”."),
        ("size", "large", "A size is written like 512 × 512; you wrote “large”."),
        ("sampler", "magic", "There is no sampler “magic”; there are ddim, euler, dpm++."),
    ],
)
def test_what_was_typed_is_read_or_a_sentence_says_why_not(field, typed, said):
    _, problems = read_typed(Typed(**{"prompt": "a fox"} | {field: typed}))
    assert problems == {field: said}


def test_what_was_typed_becomes_a_wish_and_back():
    typed = Typed(prompt=" a\nfox ", styles=(("a", "0,85"),), seed="5", guidance="7,5", size="512x768", steps="30")
    read, problems = read_typed(typed)
    assert problems == {} and read == Wish(
        "a fox", styles=(("a", 0.85),), seed=5, guidance=7.5, size=(512, 768), steps=30
    )
    assert read_typed(as_typed(read)) == (read, {})
    assert read_typed(Typed(prompt="a", size="640"))[0].size == (640, 640)
    assert read_typed(Typed(prompt="a", styles=(("a", "3"),)))[1] == {
        "style-0": "Strength is a number from -1 to 2; you wrote “3”."
    }


def test_a_program_says_the_same_in_its_own_way(drawings, dusk):
    options = {"seed": 3, "steps": 1, "size": "32x32", "compare": False}
    wanted = wish_from("a fox", {dusk.id: 0.5}, options)
    assert wanted == Wish("a fox", ((dusk.id, 0.5),), seed=3, steps=1, size=(32, 32), compare=False)
    for wrong, sentence in (({"stepz": 1}, "there is no option 'stepz'"), ({"compare": 1}, "compare is true or false")):
        with pytest.raises(VelaturaError, match=sentence):
            wish_from("a fox", {}, wrong)
    with pytest.raises(VelaturaError, match="from 1 to 150; you wrote “0”"):
        wish_from("a fox", {}, {"steps": 0})
    found: list[Path] = []
    asking = threading.Thread(target=lambda: found.extend(wait_for(drawings, wanted, "anna")))
    asking.start()
    while not line(drawings.queue.store):
        time.sleep(0.02)
    assert drawings.queue.store.line()[0].owner == "anna", "whom everybody sees to use the computer"
    do_next(drawings.queue.store)
    asking.join()
    assert [file.name for file in found] == ["a fox 3.png"]
    assert wanted not in [one.wish for one in drawings.history(ANNA)], "her strip is hers"


@pytest.fixture
def ink(drawings: Drawings, dusk: StyleEntry) -> Iterator[StyleEntry]:
    """Another style for the same base."""
    file = drawings.queue.paths.styles / "ink.safetensors"
    shutil.copyfile(dusk.path, file)
    yield next(item for item in drawings.library.entries() if item.name == "ink")
    file.unlink()


def test_every_style_draws_its_own_picture(drawings, dusk, ink):
    number = drawings.ask(wish((dusk, 1.0), (ink, -0.5), each=True, seed=4), "anna", ANNA)
    assert do_next(drawings.queue.store).state == "finished"
    drawn = drawings.look(number)
    assert [path.name for path in drawn.pictures] == ["picture-1.png", "picture-2.png", "plain.png"]
    titles = [results_view.title(drawn, place) for place in range(3)]
    assert titles == ["With dusk 1", "With ink -0.5", "Without"]
    assert len({pixels(path).tobytes() for path in drawn.pictures}) == 3
    assert [file.name for file in drawings.offered(drawn)] == [
        "a fox 4 1 dusk.png",
        "a fox 4 2 ink.png",
        "a fox 4 without.png",
    ]
    shown = results_view.picture(drawn, drawings)
    assert shown.count("<figure>") == 3 and '<div class="pair many"' in shown


def test_styles_are_combined_in_the_way_that_was_chosen(drawings, dusk, ink):
    number = drawings.ask(wish((dusk, 0.6), (ink, 0.8), compose="switch:1", compare=False), "anna", ANNA)
    assert do_next(drawings.queue.store).state == "finished"
    (picture,) = drawings.look(number).pictures
    with Image.open(picture) as image:
        assert json.loads(image.text["velatura"])["compose"] == "switch:1"
    assert "Taking turns (1)" in results_view.picture(drawings.look(number), drawings)


def test_a_style_is_drawn_on_what_it_was_made_on(drawings, dusk, dawn, tiny_bases):
    bases, library = drawings.bases, {item.id: item for item in (dusk, dawn)}
    assert own_base(dusk, bases).model == str(tiny_bases["sd1"])
    assert own_base(None, bases).is_starter
    assert misfit(dusk, own_base(None, bases)) == "Made for SD 1.5; this base is the starter."
    fit = find_fit(wish((dusk, 1.0), size=None), library, bases)
    assert (fit.problems, fit.size, fit.stride) == ({}, (64, 64), 16)
    shared = Bases(anywhere=False)
    assert find_fit(wish((dusk, 1.0)), library, shared).problems == {}, "its run names the base"
    assert "base" in find_fit(wish(base=str(tiny_bases["sd1"])), library, shared).problems


def test_the_fields_begin_with_what_the_style_drew_first(drawings, dusk):
    queue = drawings.queue
    assert first_prompt(None, queue) == "a lighthouse" and first_prompt(dusk, queue) == "a fox"
    begun = begin_with(dusk, queue)
    assert (begun.prompt, begun.styles) == ("a fox", ((dusk.id, "0.8"),))
    before = Typed(prompt="my own words", seed="9")
    assert begin_with(dusk, queue, before) == before.with_(styles=((dusk.id, "0.8"),))
    assert begin_with(dusk, queue, before, {"my own words"}).prompt == "a fox"
    desk = Desk(queue.paths)
    assert desk.read(ANNA) is None
    desk.keep(ANNA, before)
    assert Desk(queue.paths).read(ANNA) == before and desk.read("user:ben") is None
