"""Samples on their way to a page: in order, small, under addresses that change with them."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.jobs.permissions import MACHINE_OWNER, Actor
from app.jobs.states import State
from app.jobs.view import View
from app.studio.public_files import offer_file
from app.studio.runs import chosen, samples
from app.studio.studio_queue import StudioQueue
from app.ui.runs import sheet_view
from tests.app.ui.ended_runs import write_scores, write_snapshot, write_style
from tests.trainers.data.pictures import scene
from trainers.config.build import build_config, dump_config
from trainers.config.migrations import VERSION
from trainers.runs.events import Recorder

NASTY = "<b>a fox</b> ${1} \"'"


@pytest.fixture
def view(queue: StudioQueue) -> View:
    """A run with two prompts, drawn before training, at two steps and from its file."""
    run = queue.store.runs / "dusk"
    run.mkdir()
    record = Recorder(run)
    (run / "config.toml").write_text('name = "dusk"\n[method]\nname = "loha"\n[base]\nmodel = "starter"\n')
    record("start", prompts=[NASTY, "a boat"], steps=20)
    for number, folder in enumerate(("step-00000000", "step-00000010", "step-00000020", "final")):
        (run / "samples" / folder).mkdir(parents=True)
        for row in range(2):
            scene(10 * number + row, (512, 512)).save(run / "samples" / folder / f"{row:02d}.png")
    found = queue.run("dusk")
    assert found is not None
    return found


def shown(view: View, public: Path) -> dict[str, Any]:
    return json.loads(sheet_view.read_sheet(view, public, MACHINE_OWNER))


def again(queue: StudioQueue) -> View:
    found = queue.run("dusk")
    assert found is not None
    return found


def test_steps_are_in_order_and_what_the_file_drew_stands_for_its_step(queue, view):
    public = queue.public(view)
    sheet = shown(view, public)
    assert [cell["step"] for cell in sheet["cells"]] == [0, 10, 20] and sheet["prompts"] == [NASTY, "a boat"]
    assert [name.split("-")[1] for name in sheet["cells"][2]["whole"]] == ["000020f", "000020f"]
    assert sheet["ratio"] == 1.0 and sheet["folder"].endswith(f"/{public.name}/")
    for size, side in (("small", 256), ("whole", 512)):
        names = [name for cell in sheet["cells"] for name in cell[size]]
        assert len(set(names)) == 6
        for name in names:
            with Image.open(public / name) as picture:
                assert (picture.format, picture.size) == ("WEBP", (side, side))


def test_a_picture_is_made_once_and_another_one_has_another_address(queue, view):
    public = queue.public(view)
    first = shown(view, public)
    before = {path: path.stat().st_mtime_ns for path in public.iterdir()}
    assert shown(view, public) == first
    assert {path: path.stat().st_mtime_ns for path in public.iterdir()} == before
    scene(99, (64, 64)).save(view.job.folder / "samples" / "final" / "00.png")
    later = shown(view, public)
    changed = [
        a != b
        for one, other in zip(first["cells"], later["cells"], strict=True)
        for a, b in zip(one["small"], other["small"], strict=True)
    ]
    assert changed == [False] * 4 + [True, False]


def test_what_is_still_to_come_has_its_place_and_a_picture_that_is_missing_is_none(queue, view):
    run = view.job.folder
    (run / "samples/step-00000020/01.png").unlink()
    for file in (run / "samples/final").iterdir():
        file.unlink()
    table = '[sample]\nevery = 10\nprompts = ["a boat"]\n'
    (run / "config.toml").write_text(f"schema_version = {VERSION}\n{table}")
    training = replace(again(queue), state=State.TRAINING)
    training = replace(training, summary=replace(training.summary, steps=50))
    sheet = shown(training, queue.public(view))
    assert sheet["planned"] == [30, 40, 50] and sheet["going"] and sheet["steps"] == 50
    write_snapshot(run, 15)
    assert shown(training, queue.public(view))["planned"] == [15, 30, 40, 50], "there was no time to draw it"
    assert shown(again(queue), queue.public(view))["planned"] == [15]
    shutil.rmtree(run / "snapshots")
    assert [bool(name) for name in sheet["cells"][2]["small"]] == [True, False]
    for folder in (run / "samples").iterdir():
        shutil.rmtree(folder)
    empty = shown(training, queue.public(view))
    assert (empty["cells"], empty["prompts"], empty["planned"][:2]) == ([], ["a boat"], [0, 10])
    assert sheet_view.read_sheet(replace(training, state=State.FINISHED), queue.public(view), MACHINE_OWNER) == ""


def test_before_the_first_picture_the_page_knows_its_size(queue, view):
    shutil.rmtree(view.job.folder / "samples")
    for size, width in ((0, 128), (64, 64)):  # by default that of the base
        config = build_config({"name": "dusk", "data": {"images": "dataset"}, "sample": {"size": size}})
        (view.job.folder / "config.toml").write_text(dump_config(config))
        assert shown(replace(again(queue), state=State.TRAINING), queue.public(view))["width"] == width


def test_the_starred_step_or_the_newest_kept_one_is_what_the_run_gives(queue, view):
    run, public = view.job.folder, queue.public(view)
    assert (shown(view, public)["gives"], any(cell["kept"] for cell in shown(view, public)["cells"])) == (None, False)
    for step in (10, 20):
        write_snapshot(run, step)
    assert [shown(view, public)[key] for key in ("gives", "starred", "settled")] == [20, False, False]
    assert [cell["kept"] for cell in shown(view, public)["cells"]] == [False, True, True]
    chosen.star(run, 10)
    assert (shown(view, public)["gives"], shown(view, public)["starred"]) == (10, True)
    chosen.star(run, None)
    write_style(run)
    Recorder(run)("final", step=20)
    Recorder(run)("done", step=20)
    sheet = shown(again(queue), public)
    assert [sheet[key] for key in ("gives", "starred", "settled")] == [20, False, True]
    assert not json.loads(sheet_view.read_sheet(again(queue), public, Actor("ben")))["may"]


def test_without_a_star_the_best_step_is_what_the_run_gives(queue, view):
    run, public = view.job.folder, queue.public(view)
    write_style(run)
    write_snapshot(run, 10)
    write_scores(run, 10, (10, 20))
    Recorder(run)("final", step=20)
    keys = ("gives", "starred", "best", "settled")
    assert [shown(replace(again(queue), state=State.TRAINING), public)[key] for key in keys] == [10, False, True, False]
    Recorder(run)("done", step=20)
    assert [shown(again(queue), public)[key] for key in keys] == [10, False, True, True]
    write_snapshot(run, 20)
    chosen.star(run, 20)
    assert [shown(again(queue), public)[key] for key in keys] == [20, True, False, False]


def test_prompts_that_are_never_drawn_are_named_with_where_they_can_be_drawn(queue, view):
    public, run = queue.public(view), view.job.folder
    assert (shown(view, public)["left"], shown(view, public)["draw"]) == ([], "")
    table = f'schema_version = {VERSION}\n[sample]\nprompts = ["a fox", "a boat", "a pear", "a zebra"]\n'
    (run / "config.toml").write_text(table)

    def sheet() -> dict[str, Any]:
        return json.loads(sheet_view.read_sheet(again(queue), public, MACHINE_OWNER, "run:dusk"))

    assert sheet()["left"] == ["a pear", "a zebra"] and sheet()["draw"] == "playground?style=run:dusk"
    Recorder(run)("start", prompts=["a fox", "a boat", "a pear", "a zebra"], steps=20)
    assert sheet()["left"] == ["a pear", "a zebra"], "skipped at the end"
    going = replace(again(queue), state=State.TRAINING)
    assert shown(going, public)["left"] == [], "they are drawn at the end"
    for step in (10, 20):
        write_snapshot(run, step)
    assert sheet()["draw"] == "playground?style=run:dusk&compare=step" and sheet()["compare"] == "steps?id=dusk"
    assert not json.loads(sheet_view.read_sheet(again(queue), public, None))["compare"], "guests stay where they are"


def test_training_pictures_are_for_people_with_a_login_and_come_one_by_one(queue, view):
    public, dataset = queue.public(view), view.job.folder / "dataset"
    assert shown(view, public)["trained"] == 0
    assert sheet_view.trained(view, "a boat", 0, public)["trained"] == ""
    (view.job.folder / "config.toml").write_text(
        dump_config(build_config({"name": "dusk", "data": {"images": "dataset"}}))
    )
    dataset.mkdir()
    for name in ("a-fox", "a-boat"):
        scene(1).save(dataset / f"{name}.png")
    assert shown(view, public)["trained"] == 2
    assert json.loads(sheet_view.read_sheet(view, public, Actor("ben")))["trained"] == 2, "he may clone the run"
    assert json.loads(sheet_view.read_sheet(view, public, None))["trained"] == 0, "a guest sees none"
    answer = sheet_view.trained(view, "a boat", 0, public)
    assert answer["caption"] == "a boat" and "/trained-a-boat-" in answer["trained"]
    assert sheet_view.trained(view, "a boat", 1, public)["caption"] == "a fox"


def test_a_run_of_the_same_name_has_another_public_folder(queue, view):
    other = view.job.folder.with_name("other")
    view.job.folder.rename(other)
    view.job.folder.mkdir()
    moved = replace(view, job=replace(view.job, folder=other))
    names = {queue.public(view).name, queue.public(moved).name}
    assert len(names) == 2 and all(re.fullmatch(r"[0-9a-f]{32}", name) for name in names)


def test_the_archive_and_the_style_are_what_the_run_has(queue, view):
    public = queue.public(view)
    place = samples.archive(view, public)
    with zipfile.ZipFile(place) as packed:
        names = sorted(packed.namelist())
        assert packed.read("dusk/10/01.png") == (view.job.folder / "samples/step-00000010/00.png").read_bytes()
    heads = ("10", "20", "before", "file")
    assert place.name == "dusk-samples.zip" and names == [
        f"dusk/{head}/{row}.png" for head in heads for row in ("01", "02")
    ]
    style = view.job.folder / "dusk.safetensors"
    style.write_bytes(b"a style")
    first, second = (offer_file(style, public) for _ in range(2))
    assert second.read_bytes() == b"a style" and second.name == "dusk.safetensors"
    assert first != second and not first.exists()  # one offer at a time is kept


def test_a_name_from_outside_finds_runs_only(queue, view):
    assert queue.run("dusk") is not None
    (queue.paths.runs.parent / "config.toml").touch()
    (queue.paths.runs.parent / "events.jsonl").touch()
    for name in ("", ".", "..", "../outputs/dusk", "dusk/", "/etc", ".studio", "dusk\\..", "none", "x" * 500, "a\0b"):
        assert queue.run(name) is None, name
