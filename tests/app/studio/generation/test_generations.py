"""Generations that are asked for, wait, are drawn by real jobs, and are kept: without a page around them."""

from __future__ import annotations

import json
import re
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
from safetensors.torch import load_file, save_file

from app.errors import FieldErrors
from app.jobs import actions
from app.jobs.events.summary import Summary
from app.jobs.job import REQUEST
from app.jobs.permissions import MACHINE_OWNER, Actor
from app.jobs.processes.process import own_identity
from app.jobs.small_jobs import AHEAD, PICTURE, PLAIN
from app.jobs.states import State
from app.jobs.store import NewJob
from app.jobs.trash.trash import Trash
from app.studio.base_models import Bases
from app.studio.generation import generations as module
from app.studio.generation.axes import IMPORTED, Axis
from app.studio.generation.compatibility import (
    LOST_STYLE,
    check_compatibility,
    check_inputs,
    incompatibility,
    own_base,
    resolve_files,
)
from app.studio.generation.form import first_prompt
from app.studio.generation.generate import _mark
from app.studio.generation.generations import Generations, wait_for
from app.studio.generation.request import GenerateRequest, Resolved, StyleRef, make_request
from app.studio.generation.state import Stage, find_progress
from app.studio.paths import Paths
from app.studio.studio_queue import StudioQueue
from app.studio.styles.entry import StyleEntry
from app.studio.styles.library import StyleLibrary
from app.ui.playground import results_view
from app.ui.playground import text as words
from tests.app.jobs.working import CPU, do_next, line
from tests.trainers.conftest import images, quick_runs
from tests.trainers.tiny_runs import quick_settings
from trainers.errors import VelaturaError
from trainers.formats.read import read_outline
from trainers.messages import to_record
from trainers.runs.events import Recorder
from trainers.runs.run import Run
from trainers.score.best import CHECKED_ON
from trainers.training.train import train

__all__ = ["images", "quick_runs"]
pytestmark = pytest.mark.usefixtures("quick_runs")

ANNA = "user:anna"


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tiny_bases: dict[str, Path], images: Path
) -> Iterator[tuple[Generations, StyleEntry, StyleEntry]]:
    """A studio's generations, and two styles that were trained in it: on a tiny SD 1 and on a tiny SDXL."""
    paths = Paths(tmp_path_factory.mktemp("studio") / "outputs")
    paths.make()
    strong = {"train": {"learning_rate": 1.0}, "data": {"trigger": "dusk style"}}
    for name, family in (("dusk", "sd1"), ("dawn", "sdxl")):
        train(quick_settings(tiny_bases[family], images, {"name": name}, strong), paths.runs)
    queue = StudioQueue(paths)
    library = StyleLibrary(queue)
    dusk, dawn = (next(item for item in library.entries() if item.name == name) for name in ("dusk", "dawn"))
    yield Generations(queue, library, Bases(anywhere=True)), dusk, dawn


@pytest.fixture
def generations(trained: tuple[Generations, StyleEntry, StyleEntry]) -> Iterator[Generations]:
    yield trained[0]
    for drawing in trained[0].history(ANNA):
        if not drawing.ended:
            trained[0].remove(drawing.id, ANNA)


@pytest.fixture
def dusk(trained: tuple[Generations, StyleEntry, StyleEntry]) -> StyleEntry:
    return trained[1]


@pytest.fixture
def dawn(trained: tuple[Generations, StyleEntry, StyleEntry]) -> StyleEntry:
    return trained[2]


def fox(*styles: tuple[StyleEntry, float], **changes: Any) -> GenerateRequest:
    """A request for a small picture."""
    given: dict[str, Any] = {"prompts": ("a fox",), "steps": 2, "size": (32, 32)}
    chosen = [{"style": style.id, "strength": strength} for style, strength in styles]
    return make_request(styles=chosen, **given | changes)


def pixels(path: Path) -> Any:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), int)


def test_a_way_is_refused_before_it_is_drawn_where_it_cannot_combine_these(generations, dusk):
    def said(way: str, *others: dict[str, Any]) -> str | None:
        items = [dusk, *(replace(dusk, id=str(n), name=f"other {n}", **other) for n, other in enumerate(others))]
        asked = fox(*((item, 1.0) for item in items), compose=way)
        return check_compatibility(asked, {item.id: item for item in items}, generations.bases).problems.get("compose")

    word, own = {"method": "textual-inversion"}, {"method": "krona-b", "only_here": True}
    assert said("ties", {}) is said("sum", own) is said("sum", word) is said("ties", {}, word) is None
    assert str(said("ties", {}, own)).startswith("“other 1” depends on the picture")
    assert said("switch:3", own) is said("composite", {}, own) is None
    assert "needs two styles that change the model" in str(said("switch:5", word))


def test_a_word_is_asked_for_no_picture_of_its_own(generations, dusk):
    word = replace(dusk, id="1", name="word", method="textual-inversion")
    for each in (True, False):
        asked = fox((dusk, 1.0), (word, 1.0), each=each)
        problems = check_compatibility(asked, {item.id: item for item in (dusk, word)}, generations.bases).problems
        assert list(problems) == ["style-1"] * each
        assert "A word alone cannot draw a picture" in problems.get("style-1", "") or not each


def test_a_drawing_waits_is_drawn_twice_and_says_its_parameters(generations, dusk):
    store = generations.queue.store
    number = generations.add(fox((dusk, -0.5), negative="rain", seed=7), "anna", ANNA)
    waiting = generations.find(number)
    assert (waiting.state, waiting.ended, words.progress(waiting)) == (State.QUEUED, False, "Starts in a moment …")
    assert store.job(number).owner == "anna" and store.job(number).priority == AHEAD
    generations.add(fox(prompts=("a boat",)), "anna", ANNA)
    assert [one.request.prompt for one in generations.history(ANNA)][:2] == ["a boat", "a fox"]
    assert do_next(store).state == "finished"
    drawn = generations.find(number)
    assert (drawn.state, drawn.error, drawn.share) == (State.FINISHED, "", 1.0) and drawn.ended
    assert drawn.request == fox((dusk, -0.5), negative="rain", seed=7) and drawn.record.names == ("dusk",)
    assert [path.name for path in drawn.pictures.values()] == [PICTURE, PLAIN]
    assert np.abs(pixels(drawn.pictures[0]) - pixels(drawn.pictures[1])).max() > 0
    assert store.job_in(drawn.folder) is None, "what has ended leaves the queue"
    assert Generations(generations.queue, generations.library, generations.bases).find(number) == drawn, (
        "the folder says it all"
    )
    files = generations.downloads(drawn)
    assert [file.name for file in files] == ["a fox 7.png", "a fox 7 without.png"]
    assert all(file.is_relative_to(generations.queue.paths.public) for file in files)
    with Image.open(files[0]) as picture:
        said = json.loads(picture.text["velatura"])
    assert (
        said["prompts"] == ["a fox"] and said["negative"] == "rain" and said["styles"] == [["dusk.safetensors", -0.5]]
    )
    assert (said["seed"], said["steps"], said["size"], said["guidance"]) == (7, 2, [32, 32], 7.0)
    small = generations.web_copy(drawn, 0, True)
    assert small.name == "small-0.webp" and small == generations.web_copy(drawn, 0, True)


def test_how_far_it_is_and_what_it_waits_for_is_said(generations, dusk):
    number = generations.add(fox((dusk, 1.0), steps=24), key=ANNA)
    generation = generations.find(number)
    view = generations.queue.watcher.view(number)

    def said(state: State, place: int = 0, **facts: Any) -> str:
        other = replace(view, job=replace(view.job, folder=Path("Harbour blue"), kind="train"), state=State.TRAINING)
        other = replace(other, summary=Summary(step=10, steps=100, speed=0.1667))
        mine = replace(view, state=state, place=place, summary=Summary(**facts))
        progress = find_progress(mine, {Path("other"): other} if place else {})
        return words.progress(replace(generation, progress=progress))

    assert said(State.QUEUED, 1) == "Waits for Harbour blue, about 9 min …"
    assert said(State.QUEUED, 3) == "Waits for Harbour blue, 3rd in line …"
    assert said(State.PREPARING) == said(State.WORKING) == "Reading the base model …"
    assert said(State.WORKING, share=(8, 48)) == "Drawing with the style … 8 of 24"
    assert said(State.WORKING, share=(25, 48)) == "Drawing without it … 1 of 24"
    assert said(State.STOPPING) == "Stopping …" and said(State.SAVING) == "Writing the picture …"
    for stage in Stage:
        assert isinstance(words.progress(replace(generation, progress=replace(generation.progress, stage=stage))), str)


def test_the_owner_of_the_training_in_the_way_lets_it_wait(generations):
    store = generations.queue.store
    store.add(NewJob("train", actions.new_folder(store, "Harbour blue"), owner="anna"))
    claimed = store.claim(CPU.choose, own_identity())
    run = store.begin(claimed.id, claimed.token, own_identity())
    while generations.queue.watcher.view(run.id).state != "training":  # times of events are rounded
        Recorder(run.folder)("step", step=10, steps=100, speed=0.1667, loss=0.5)
    number = generations.add(fox(), "anna", ANNA)
    waiting = generations.find(number)
    assert words.progress(waiting) == "Waits for Harbour blue, about 9 min …" and waiting.could_yield == run
    assert results_view.read_going([waiting], "", "anna").waiting[0].in_the_way == "Harbour blue"
    assert results_view.read_going([waiting], "", "ben").waiting[0].in_the_way == ""
    with pytest.raises(VelaturaError, match="“Harbour blue” belongs to anna, and only they can change it"):
        generations.preempt(waiting.id, ANNA, Actor("ben"))
    with pytest.raises(VelaturaError, match="no longer exists"):
        generations.preempt(waiting.id, "user:ben", Actor("anna"))
    urgent = store.add(NewJob("train", actions.new_folder(store, "urgent"), priority=99))
    assert generations.find(number).could_yield is None, "another run would begin instead"
    store.end(urgent)
    assert store.job(run.id).requested == ""
    generations.preempt(waiting.id, ANNA, Actor("anna"))
    assert store.job(run.id).requested == "yield" and Run(run.folder).asked_to_stop() == "pause"
    assert (words.progress(generations.find(number)), generations.find(number).could_yield) == (
        "Starts when Harbour blue is paused …",
        None,
    )
    generations.preempt(waiting.id, ANNA, Actor("anna"))  # once more is no matter
    assert store.end(store.job(run.id))


def test_a_drawing_is_cancelled_by_whom_it_belongs_to_and_gone(generations):
    number = generations.add(fox(), key=ANNA)
    drawing = generations.find(number)
    with pytest.raises(VelaturaError, match="no longer exists"):
        generations.remove(drawing.id, "user:ben")
    with pytest.raises(VelaturaError, match="no longer exists"):
        generations.remove("../../dusk", ANNA)
    generations.remove(drawing.id, ANNA)
    assert drawing.id not in [one.id for one in generations.history(ANNA)] and not drawing.folder.exists()
    assert "drawing" not in " ".join(line(generations.queue.store))


def test_one_that_fails_says_why_until_it_is_dismissed(generations, dusk):
    number = generations.add(fox((dusk, 1.0)), key=ANNA)
    moved = dusk.path.rename(dusk.path.with_suffix(".away"))
    assert do_next(generations.queue.store).state == "failed"
    moved.rename(dusk.path)
    failed = generations.find(number)
    assert failed.error == "The style “dusk” has been deleted since; choose another one."
    assert failed.state == State.FAILED and not failed.pictures
    reopened = Generations(generations.queue, generations.library, generations.bases).find(number)
    assert reopened.error == failed.error and LOST_STYLE.template in str(to_record(reopened.error))
    generations.remove(failed.id, ANNA)
    with pytest.raises(VelaturaError, match="no longer exists"):
        generations.find(number)


def test_one_whose_job_was_cleared_away_is_told_from_its_pictures(generations, monkeypatch):
    store = generations.queue.store
    numbers = [generations.add(fox(compare=False), key=ANNA) for _ in range(2)]
    do_next(store)
    actions.stop(store, numbers[1], "cancel", actor=MACHINE_OWNER)
    actions.clear(store, actor=MACHINE_OWNER)
    monkeypatch.setattr(module, "SETTLING", 0.0)
    states = {one.record.number: (one.state, len(one.pictures)) for one in generations.history(ANNA)}
    assert states[numbers[0]] == (State.FINISHED, 1)
    assert states[numbers[1]] == (State.INTERRUPTED, 0)


def test_the_oldest_of_a_run_make_room_without_filling_the_owners_trash(generations, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 1)
    key, store = f"{module.OF_RUN}0", generations.queue.store
    before = len(Trash(store).items(MACHINE_OWNER))
    first = generations.add(fox(seed=1, steps=1), "ben", key)
    do_next(store)
    oldest = generations.find(first)
    generations.add(fox(seed=2, steps=1), "ben", key)
    assert not oldest.folder.exists() and len(Trash(store).items(MACHINE_OWNER)) == before
    for drawing in generations.history(key):
        generations.remove(drawing.id, key)


def test_the_oldest_make_room_with_all_their_copies(generations, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 2)
    key, store = "user:ben", generations.queue.store
    first, second = (generations.add(fox(seed=seed, steps=1), key=key) for seed in range(2))
    do_next(store)
    oldest = generations.find(first)
    generations.web_copy(oldest, 0, False)
    public = generations.public(oldest)
    assert any(public.iterdir())
    third = generations.add(fox(), key=key)
    assert [one.record.number for one in generations.history(key)] == [third, second]
    assert not oldest.folder.exists() and not public.exists()
    (thrown,) = Trash(store).items(Actor("ben"))
    assert (thrown.kind, thrown.name, thrown.owner) == ("drawing", oldest.request.prompt, "ben")
    assert actions.restore(store, thrown.id, actor=Actor("ben")) == thrown.name
    (back,) = [one for one in generations.history(key) if one.record.number == first]
    assert len(back.pictures) == len(oldest.pictures) and generations.history(key)[0].id == back.id
    for drawing in generations.history(key):
        generations.remove(drawing.id, key)


def test_what_cannot_be_tidied_costs_no_answer(generations, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(module, "KEPT", 1)
    key, store = "user:dan", generations.queue.store
    first = generations.add(fox(steps=1), key=key)
    do_next(store)
    generations.find(first)
    with monkeypatch.context() as broken:
        broken.setattr(Trash, "put", refuse)
        second = generations.add(fox(steps=1), key=key)
    assert [one.record.number for one in generations.history(key)] == [second, first], "nothing of it is lost"
    third = generations.add(fox(steps=1), key=key)
    numbers = [one.record.number for one in generations.history(key)]
    assert numbers == [third, second], "what is old goes the next time"
    assert len(Trash(store).items(Actor("dan"))) == 1
    for drawing in generations.history(key):
        generations.remove(drawing.id, key)


def test_a_line_of_one_person_has_an_end(generations, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    for _ in range(2):
        generations.add(fox(), key=ANNA)
    with pytest.raises(VelaturaError, match="You already have 2 pictures waiting"):
        generations.add(fox(), key=ANNA)


def test_a_long_line_is_said_by_place_and_cancelled(generations):
    for seed in range(12):
        generations.add(fox(seed=seed), key="user:cleo")
    found = generations.history("user:cleo")
    assert [one.request.seed for one in found] == list(range(11, -1, -1))
    assert words.progress(found[0]) == "Waits in line, 12th …"
    assert words.progress(found[-1]) == "Starts in a moment …"
    for drawing in found:
        generations.remove(drawing.id, "user:cleo")
    assert generations.history("user:cleo") == []


def test_every_field_that_cannot_be_met_is_said(generations, dusk, dawn):
    with pytest.raises(FieldErrors) as caught:
        generations.add(fox((dusk, 0.8), (dawn, 1.0), (dusk, 0.1), size=(33, 32)))
    assert caught.value.problems == {
        "style-1": "Made for SDXL; this base is SD 1.5.",
        "style-2": "This style is selected twice. Remove one of them.",
        "size": "Width and height must be multiples of 16 from 16 to 4,096 here; you wrote 33 × 32.",
    }
    with pytest.raises(FieldErrors, match="This style no longer exists"):
        generations.add(make_request(prompts=("a fox",), styles=[{"style": "../x"}]))
    with pytest.raises(FieldErrors, match="It is not on this computer yet"):
        generations.add(fox(base="nobody/nothing"))


def test_a_program_waits_for_its_pictures(generations, dusk):
    wanted = fox((dusk, 0.5), seed=3, steps=1, compare=False)
    found: list[Path] = []
    asking = threading.Thread(target=lambda: found.extend(wait_for(generations, wanted, "anna")))
    asking.start()
    while not line(generations.queue.store):
        time.sleep(0.02)
    assert generations.queue.store.line()[0].owner == "anna", "whom everybody sees to use the computer"
    do_next(generations.queue.store)
    asking.join()
    assert [file.name for file in found] == ["a fox 3.png"]
    assert wanted not in [one.request for one in generations.history(ANNA)], "her strip is hers"


@pytest.mark.parametrize(
    "compared",
    [
        {"strengths": (0.5,)},
        {"strengths": (1, 1)},
        {"axes": {"strength": [0, 0]}},
        {"axes": {"seed": [4], "steps": [1]}},
    ],
)
def test_a_comparison_of_one_value_is_one_picture(generations, dusk, compared):
    number = generations.add(fox((dusk, 0.5), seed=4, steps=1, **compared), "anna", ANNA)
    assert do_next(generations.queue.store).state == "finished"
    drawn = generations.find(number)
    assert not drawn.error and [picture.name for picture in drawn.pictures.values()] == ["picture.png"]
    assert len(generations.downloads(drawn)) == 1 and generations.overview(drawn) is None


@pytest.fixture
def ink(generations: Generations, dusk: StyleEntry) -> Iterator[StyleEntry]:
    """Another style for the same base."""
    file = generations.queue.paths.styles / "ink.safetensors"
    shutil.copyfile(dusk.path, file)
    yield next(item for item in generations.library.entries() if item.name == "ink")
    file.unlink()


def test_every_style_draws_its_own_picture(generations, dusk, ink):
    number = generations.add(fox((dusk, 1.0), (ink, -0.5), each=True, seed=4), "anna", ANNA)
    assert do_next(generations.queue.store).state == "finished"
    drawn = generations.find(number)
    assert [path.name for path in drawn.pictures.values()] == ["picture-1.png", "picture-2.png", "plain.png"]
    titles = [results_view.title(drawn, place) for place in range(3)]
    assert titles == ["With dusk 1", "With ink -0.5", "Without"]
    assert len({pixels(path).tobytes() for path in drawn.pictures.values()}) == 3
    assert [file.name for file in generations.downloads(drawn)] == [
        "a fox 4 1 dusk.png",
        "a fox 4 2 ink.png",
        "a fox 4 without.png",
    ]
    shown = results_view.read_picture(drawn, generations, {})
    assert shown is not None and [figure.title for figure in shown.figures] == titles
    assert all(figure.whole and figure.file for figure in shown.figures)


def test_styles_are_combined_in_the_way_that_was_chosen(generations, dusk, ink):
    number = generations.add(fox((dusk, 0.6), (ink, 0.8), compose="switch:1", compare=False), "anna", ANNA)
    assert do_next(generations.queue.store).state == "finished"
    (picture,) = generations.find(number).pictures.values()
    with Image.open(picture) as image:
        assert json.loads(image.text["velatura"])["compose"] == "switch:1"
    shown = results_view.read_picture(generations.find(number), generations, {})
    assert shown is not None and "Taking turns (1)" in shown.numbers


def test_a_style_is_drawn_on_what_it_was_made_on(generations, dusk, dawn, tiny_bases):
    bases, library = generations.bases, {item.id: item for item in (dusk, dawn)}
    assert own_base(dusk, bases).model == str(tiny_bases["sd1"])
    assert own_base(None, bases).is_starter
    assert incompatibility(dusk, own_base(None, bases)) == "Made for SD 1.5; this base is the starter."
    found = check_compatibility(fox((dusk, 1.0), size=None), library, bases)
    assert (found.problems, found.on_base.side, found.on_base.stride) == ({}, 64, 16)
    shared = Bases(anywhere=False)
    assert check_compatibility(fox((dusk, 1.0)), library, shared).problems == {}, "its run names the base"
    assert "base" in check_compatibility(fox(base=str(tiny_bases["sd1"])), library, shared).problems


def test_a_request_is_resolved_by_the_library_or_by_its_files(generations, dusk, dawn, tiny_bases):
    library, bases = {style.id: style for style in (dusk, dawn)}, generations.bases
    asked = fox((dusk, 0.5), size=None)
    resolved = check_compatibility(asked, library, bases).resolve()
    assert resolved == Resolved.of(
        asked,
        styles=(StyleRef(style=dusk.id, strength=0.5, path=dusk.path.absolute(), name="dusk"),),
        base=str(tiny_bases["sd1"]),
        size=(64, 64),
        guidance=7.0,
        sampler="ddim",
    )
    by_file = make_request(prompts=("a fox",), styles=[StyleRef.parse(f"{dusk.path}:0.5")], base=str(tiny_bases["sd1"]))
    assert resolve_files(by_file).size == (64, 64) and resolve_files(by_file).guidance == 7.0
    for change, sentence in (
        ({"base": ""}, r"dusk.safetensors was not trained on the starter; choose a base with --base\."),
        ({"size": (33, 32)}, "Width and height must be multiples of 16 from 16 to 4,096 here; you wrote 33 × 32"),
        ({"prompts": ("",)}, "Enter a prompt"),
    ):
        with pytest.raises(FieldErrors, match=sentence):
            resolve_files(by_file.model_copy(update=change))
    with pytest.raises(FieldErrors, match="Enter a prompt"):
        check_compatibility(GenerateRequest(), library, bases).resolve()
    starter = resolve_files(make_request(prompts=("a fox",)))
    assert (starter.base, starter.size, starter.guidance) == ("starter", (128, 128), 3.0)
    assert (starter.steps, starter.sampler) == (8, "dpm++ 2m quick")


def test_a_visitor_of_a_shared_studio_asks_for_no_more_than_their_share(generations, monkeypatch):
    monkeypatch.setattr(module, "MOST_WORK", 10 * 32 * 32)
    long = fox(steps=11)
    with pytest.raises(FieldErrors) as refused:
        generations.add(long, "anna", ANNA)
    assert refused.value.problems == {
        "steps": "In this studio, a picture of 32 × 32 can have at most 10 steps; you wrote 11."
    }
    generations.remove(generations.find(generations.add(fox(steps=10), "anna", ANNA)).id, ANNA)
    generations.remove(generations.find(generations.add(long, "", ANNA)).id, ANNA)


def test_so_many_styles_go_into_one_picture(generations, dusk):
    folder = generations.queue.paths.styles
    files = [folder / f"copy-{number}.safetensors" for number in range(4)]
    tensors = load_file(dusk.path)
    for number, file in enumerate(files, 2):
        save_file({key: number * tensor for key, tensor in tensors.items()}, file)
    copies = [style for style in generations.library.entries() if style.name.startswith("copy-")]
    try:
        with pytest.raises(FieldErrors) as refused:
            generations.add(fox(*((style, 1.0) for style in (dusk, *copies)), base=dusk.base_model))
        assert refused.value.problems == {"style-4": "At most 4 styles can be combined in one picture."}
    finally:
        for file in files:
            file.unlink()


def test_a_generation_of_an_older_version_is_shown_and_drawn_again(generations, dusk):
    """Its own file stays as it is, and what it is today is written beside it."""
    folder = generations.root / "drawing-00000000000000000001-aa"
    folder.mkdir(parents=True)
    wish = {"prompt": "an owl", "styles": [[dusk.id, 0.5]], "negative": "", "seed": 3, "steps": 2, "guidance": None}
    wish |= {"size": [32, 32], "sampler": "ddim", "base": "", "compose": "sum", "each": False, "compare": True}
    table = {"wish": wish, "whose": ANNA, "made": 1.0, "names": ["dusk"], "base": "tiny", "size": [32, 32]}
    table |= {"guidance": 7.0, "number": 999, "state": "failed", "line": "No room.", "seconds": 2.5}
    (folder / "drawing.json").write_text(json.dumps(table), encoding="utf-8")
    older = generations.history(ANNA)[-1]
    assert older.request == make_request(
        prompts=("an owl",),
        styles=[{"style": dusk.id, "strength": 0.5}],
        seed=3,
        steps=2,
        size=(32, 32),
        sampler="ddim",
    )
    record = older.record
    assert (older.id, older.state, older.error) == (folder.name, State.FAILED, "No room.")
    assert (record.names, record.base, record.resolved.size, record.seconds) == (("dusk",), "tiny", (32, 32), 2.5)
    assert (record.resolved.steps, record.resolved.sampler) == (2, "ddim")
    (folder / PICTURE).write_bytes(b"a picture")
    generations.remove(older.id, ANNA)
    again = Generations(generations.queue, generations.library, generations.bases).history(ANNA)[-1]
    assert (again.id, again.error, again.pictures) == (folder.name, "", {0: folder / PICTURE})
    assert json.loads((folder / "drawing.json").read_text(encoding="utf-8")) == table
    generations.remove(generations.find(generations.add(older.request, "", ANNA)).id, ANNA)
    shutil.rmtree(folder)


def test_a_job_finds_its_request_in_its_folder(generations, dusk):
    generation = generations.find(generations.add(fox((dusk, 0.5), guidance=5), key=ANNA))
    request = GenerateRequest.model_validate_json((generation.folder / REQUEST).read_bytes())
    (style,) = request.styles
    assert (style.path, style.name, request.guidance) == (dusk.path.absolute(), "dusk", 5.0)
    assert request.base == dusk.base_model and generation.request.base == "", "what was asked for comes back"
    assert generations.queue.store.job(generation.record.number).command == ()


def test_the_fields_begin_with_what_the_style_drew_first(generations, dusk):
    queue = generations.queue
    assert first_prompt(None, queue) is None and first_prompt(dusk, queue) == "a fox"


def test_strengths_are_drawn_side_by_side_and_can_be_kept(generations, dusk):
    number = generations.add(fox((dusk, 0.6), strengths=(0, 1.5)), "anna", ANNA)
    waiting = generations.find(number)
    (waiting.folder / "rough-1.webp").write_bytes(b"a rough picture")
    rough = generations.rough_copy(waiting, 1)
    assert rough is not None and rough.read_bytes() == b"a rough picture" and generations.rough_copy(waiting, 0) is None
    assert do_next(generations.queue.store).state == "finished"
    drawn = generations.find(number)
    assert [picture.name for picture in drawn.pictures.values()] == ["picture-1.png", "picture-2.png"]
    assert [file.name for file in generations.downloads(drawn)] == ["a fox 1 at 0.png", "a fox 1 at 1.5.png"]
    assert not list(drawn.folder.glob("rough-*")), "they were for the time until it was drawn"
    shown = results_view.read_picture(drawn, generations, {1})
    assert shown is not None and shown.grid is None and shown.is_series
    assert [(one.title, one.kept) for one in shown.figures] == [("0", False), ("1.5", True)]


def test_steps_of_a_run_are_compared_with_guidance(generations, dusk):
    run = Run(dusk.path.parent.parent)
    shutil.rmtree(run.snapshots)
    assert check(generations, fox((dusk, 1.0), axes={"step": []})) == {"axis-0": IMPORTED.format(name="dusk")}
    tensors, metadata = load_file(dusk.path), read_outline(dusk.path).metadata
    run.snapshots.mkdir()
    save_file({name: tensor * 0.3 for name, tensor in tensors.items()}, run.snapshot(2), metadata)
    shutil.copyfile(dusk.path, run.snapshot(4))
    try:
        wrong = check(generations, fox((dusk, 1.0), axes={"step": [2, 3]}))
        assert wrong == {"axis-0": "The style of step 3 was not kept. There are 2 and 4."}
        request = fox((dusk, 1.0), axes={"guidance": [2, 5], "step": []})
        number = generations.add(request, "anna", ANNA)
        waiting = generations.find(number)
        assert waiting.request.axes[1].values == (2, 4) and not waiting.request.axes[1].paths
        assert do_next(generations.queue.store).state == "finished"
        drawn = generations.find(number)
        said = [json.loads(Image.open(path).text["velatura"]) for path in drawn.pictures.values()]
        assert [(one["guidance"], one["step"]) for one in said] == [(2, 2), (5, 2), (2, 4), (5, 4)]
        assert {tuple(one["styles"][0]) for one in said} == {("dusk.safetensors", 1.0)}
        alone = drawing_of(generations, fox((dusk, 1.0), guidance=5, compare=False))
        assert np.abs(pixels(drawn.pictures[3]) - alone).max() <= 1
        assert np.abs(pixels(drawn.pictures[1]) - alone).max() > 1
        assert generations.downloads(drawn)[1].name == "a fox 1 CFG 5 step 2.png"
        sheet = generations.overview(drawn)
        assert sheet is not None and sheet.name == "a fox 1 sheet.png"
        with Image.open(sheet) as picture:
            assert json.loads(picture.text["velatura"])["axes"] == {"guidance": [2.0, 5.0], "step": [2, 4]}
        shown = results_view.read_picture(drawn, generations, {2})
        assert shown is not None and shown.grid is not None and shown.grid.columns == ("2", "5")
        assert [(name, [one.kept for one in row]) for name, row in shown.grid.rows] == [
            ("2", [False, False]),
            ("4", [True, False]),
        ]
        assert shown.figures[1].title == "CFG 5, Step 2"
        drawn.pictures[1].unlink()
        gone = results_view.read_picture(generations.find(number), generations)
        assert gone is not None and [one.whole is None for one in gone.figures] == [False, True, False, False]
    finally:
        shutil.rmtree(run.snapshots)


def test_the_strength_nearest_to_the_training_pictures_is_marked(generations, dusk):
    run = Run(dusk.path.parent.parent)
    before, pictures = run.dataset.rename(run.folder / "before"), run.dataset
    alone = fox((dusk, -4.0), axes={"words": ["fox", "cat", "owl", "dog"]}, compare=False)
    number = generations.add(alone, "anna", ANNA)
    try:
        assert do_next(generations.queue.store).state == "finished"
        pictures.mkdir()
        for path in generations.find(number).pictures.values():  # those at strength -4 are what it was trained on
            shutil.copyfile(path, pictures / path.name)
        for changes, marked in (
            ({"strength": (6, -4, 0), "words": ["fox", "cat", "owl", "dog"]}, -4.0),
            ({"strength": (6, 0, -4), "words": ["fox", "cat", "owl"]}, None),
            ({"strength": (6, 1, -4), "words": ["fox", "cat", "owl", "dog"]}, None),
            ({"strength": (0, -4), "seed": "1-4"}, None),
        ):
            number = generations.add(fox((dusk, 1.0), axes=changes), "anna", ANNA)
            assert do_next(generations.queue.store).state == "finished"
            drawn = generations.find(number)
            shown = results_view.read_picture(drawn, generations)
            assert shown is not None and shown.grid is not None
            assert drawn.record.marked == marked and shown.grid.marked == ("" if marked is None else "-4")
            if marked is None:
                assert drawn.record.remarks == ()
            else:
                reason, checked = drawn.record.remarks
                share = re.match(r"Strength -4: (\d+)% of the distance to your style is gone", str(reason))
                assert share and int(share[1]) >= 50, reason  # processors round the pictures otherwise: 69% to 100%
                assert checked == CHECKED_ON
        shutil.rmtree(pictures)
        pictures.mkdir()
        words = ["fox", "cat", "owl", "dog"]
        number = generations.add(fox((dusk, 1.0), axes={"strength": (0, -4), "words": words}), "anna", ANNA)
        assert do_next(generations.queue.store).state == "finished", (
            "the pictures are drawn whether one is marked or not"
        )
        (remark,) = generations.find(number).record.remarks
        assert str(remark).startswith("No strength is marked: ")
    finally:
        shutil.rmtree(pictures, ignore_errors=True)
        before.rename(pictures)


def test_too_little_memory_for_a_mark_costs_no_picture(dusk, monkeypatch):
    def choose(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: not enough memory")

    monkeypatch.setattr("trainers.score.strengths.choose_strength", choose)
    notes: list[str] = []
    _mark(None, Run(dusk.path.parent.parent), [], lambda note: notes.append(str(note)))  # type: ignore[arg-type]
    assert notes == ["No strength is marked: there is not enough memory"]


def test_what_has_been_deleted_since_is_said(generations, dusk, tmp_path):
    resolved = check_compatibility(fox((dusk, 1.0)), {dusk.id: dusk}, generations.bases).resolve()
    check_inputs(resolved)
    step = Axis(kind="step", values=(7,), paths=(tmp_path / "step.safetensors",))
    for change, said in (
        ({"base": str(tmp_path / "sd1")}, "the base model sd1 is no longer on this computer"),
        ({"axes": (step,)}, "step 7 of “dusk” has been deleted since"),
    ):
        with pytest.raises(VelaturaError, match=said):
            check_inputs(resolved.model_copy(update=change))


def test_pictures_of_a_comparison_count_against_a_visitors_limit(generations, dusk, monkeypatch):
    monkeypatch.setattr(module, "MOST_WORK", 32 * 32 * 40)
    with pytest.raises(FieldErrors) as refused:
        generations.add(fox((dusk, 1.0), axes={"steps": [4, 20], "seed": "1-2"}), "anna", ANNA)
    sentence = "In this studio, 4 pictures of 32 × 32 can have at most 10 steps each; draw fewer, or smaller ones."
    assert refused.value.problems == {"steps": sentence}


def check(generations: Generations, request: GenerateRequest) -> dict[str, str]:
    library = {entry.id: entry for entry in generations.library.entries()}
    return dict(check_compatibility(request, library, generations.bases).problems)


def drawing_of(generations: Generations, request: GenerateRequest) -> Any:
    """The pixels of a request's only picture."""
    number = generations.add(request, "anna", ANNA)
    assert do_next(generations.queue.store).state == "finished"
    return pixels(generations.find(number).pictures[0])


def test_a_drawing_that_is_expected_names_its_base(generations, dusk, tiny_bases):
    generations.expect(fox((dusk, 0.6)))
    expected = json.loads((generations.queue.store.runs / ".expected-drawing.json").read_bytes())
    assert expected["base"] == str(tiny_bases["sd1"])
    generations.expect(fox((dusk, 0.6), base="/nowhere"))
    assert json.loads((generations.queue.store.runs / ".expected-drawing.json").read_bytes()) == expected
