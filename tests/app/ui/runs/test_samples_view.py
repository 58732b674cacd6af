"""Samples on their way to a page: in order, small, under addresses that change with them."""

from __future__ import annotations

import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from app.jobs.views import View
from app.studio.public_files import offer_file
from app.studio.runs import samples
from app.studio.studio_queue import StudioQueue
from app.ui.document.templates import render
from app.ui.runs import samples_view
from tests.trainers.data.pictures import scene
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


def shown(view: View, public: Path) -> str:
    return render("runs/samples.html", grid=samples_view.read_grid(view, public), ranks=None)


def test_the_columns_are_in_order_and_the_words_are_only_words(queue, view):
    html = shown(view, queue.public(view))
    assert re.findall(r'scope="col">([^<]+)<', html) == ["before", "10", "20", "file"]
    assert html.count("<tr>") == 3 and html.count("<img") == 8
    assert "&lt;b&gt;a fox" in html and "<b>" not in html
    addresses = re.findall(r'src="gradio_api/file=([^"]+)"', html)
    assert len(set(addresses)) == 8
    for address in addresses:
        with Image.open(address) as picture:
            assert (picture.format, picture.size) == ("WEBP", (256, 256))
    wholes = re.findall(r'data-whole="gradio_api/file=([^"]+)"', html)
    assert {Image.open(address).size for address in wholes} == {(512, 512)}


def test_a_picture_is_made_once_and_another_one_has_another_address(queue, view):
    public = queue.public(view)
    shown(view, public)
    before = {path: path.stat().st_mtime_ns for path in public.iterdir()}
    first = shown(view, public)
    assert {path: path.stat().st_mtime_ns for path in public.iterdir()} == before
    scene(99, (64, 64)).save(view.job.folder / "samples" / "final" / "00.png")
    assert len(set(re.findall(r'src="([^"]+)"', shown(view, public))) - set(re.findall(r'src="([^"]+)"', first))) == 1


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


def test_nothing_drawn_yet_is_said(queue, view):
    for folder in (view.job.folder / "samples").iterdir():
        for file in folder.iterdir():
            file.unlink()
    assert "<table" not in shown(view, queue.public(view)) and samples.newest(view.job.folder) is None


def test_a_name_from_outside_finds_runs_only(queue, view):
    assert queue.run("dusk") is not None
    (queue.paths.runs.parent / "config.toml").touch()
    (queue.paths.runs.parent / "events.jsonl").touch()
    for name in ("", ".", "..", "../outputs/dusk", "dusk/", "/etc", ".studio", "dusk\\..", "none", "x" * 500, "a\0b"):
        assert queue.run(name) is None, name
