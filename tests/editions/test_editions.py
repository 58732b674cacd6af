"""What earlier editions left behind opens, lists, goes on, clones and exports."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
import torch
from safetensors.torch import load_file

from app.jobs.database.migrations import VERSION
from app.studio.dataset.drafts import Drafts
from app.studio.paths import Paths
from app.studio.settings.own_presets import OwnPresets
from tests.app.command import call
from tests.app.ui.api_client import connect
from tests.app.ui.server import Process
from tests.editions.edition import EDITIONS, PASSWORDS, Edition, unpack
from tests.forked import ForkedProcess
from tests.golden.measure import PORTABLE
from tests.trainers.tiny_runs import equal

GoneOn = tuple[dict[str, Edition], list[list[str]]]
"""Editions by name, and what became of their runs: edition, run, state or steps."""
FEW = ("lora", "adalora", "full", "oft", "sora", "vpt")
"""Methods that differ in what they keep and write."""
pytestmark = [pytest.mark.long, pytest.mark.slow]


@pytest.fixture(scope="module", params=EDITIONS)
def pristine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Edition:
    return unpack(request.param, tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def edition(pristine: Edition, tmp_path: Path) -> Edition:
    """A copy to work with."""
    shutil.copytree(pristine.folder, tmp_path / "work")
    return replace(pristine, folder=tmp_path / "work")


@pytest.fixture(scope="module")
def studio(
    pristine: Edition, tiny_bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Process, Edition]]:
    folder = tmp_path_factory.mktemp("studio") / "work"
    shutil.copytree(pristine.folder, folder)
    shutil.copytree(tiny_bases["sd1"], folder / "bases" / "sd1")  # but for the last digits the one that it was
    shutil.rmtree(folder / "outputs" / "waiting")  # else it is trained while the pages are looked at
    there = f"import os\nos.chdir({str(folder)!r})"  # from where its runs name their base
    process = Process(folder / "outputs", *PASSWORDS, before=there)
    yield process, replace(pristine, folder=folder)
    process.close()


def test_the_queue_lists_its_jobs_after_a_migration_with_a_copy_of_before(edition):
    listed = call("queue", "list", "--json", "--out", edition.outputs)
    assert listed.code == 0, listed.err
    jobs = {job["name"]: job["state"] for job in json.loads(listed.out)}
    # What was interrupted goes on by itself: it is in line again.
    assert jobs["Harbour"] == "finished" and jobs["interrupted"] == jobs["waiting"] == "queued"
    if edition.name == "second":
        assert VERSION == 4, "its queue is of an earlier version now: look for the copy of before here, too"
        return
    with closing(sqlite3.connect(edition.outputs / "queue.version-1.backup.db")) as before:
        assert before.execute("PRAGMA user_version").fetchone() == (1,)
        assert {Path(folder).name for (folder,) in before.execute("SELECT folder FROM jobs")} >= jobs.keys()


@pytest.fixture(scope="module", params=["few", pytest.param("all", marks=pytest.mark.thorough)])
def extent(request: pytest.FixtureRequest) -> str:
    """Whether some methods and the first edition's interrupted run go on, or all of them."""
    return str(request.param)


@pytest.fixture(scope="module")
def all_gone_on(extent: str, tmp_path_factory: pytest.TempPathFactory) -> GoneOn:
    """The editions after their methods were exported and trained longer and their queues were done; what ended.

    One process does it for all of them, which computes the bits of the editions.
    """
    folder = tmp_path_factory.mktemp("gone on")
    editions = {name: unpack(name, folder / name) for name in EDITIONS}
    for edition in editions.values():
        for method in edition.methods:
            if extent == "few" and method not in FEW:
                shutil.rmtree(edition.outputs / f"method-{method}")
    words = [str(folder), ",".join(interrupted_in(extent)), *EDITIONS]
    process = ForkedProcess("tests.editions.go_on", words, folder / "log.txt", PORTABLE)
    code, printed = process.wait(600), process.printed()
    process.close()
    assert code == 0, printed
    for edition in editions.values():
        edition.check_base()
    ended = [line.split() for line in printed.splitlines()]
    return editions, [words for words in ended if len(words) == 3 and words[0] in editions]


def interrupted_in(extent: str) -> tuple[str, ...]:
    """The editions of which the interrupted run goes on."""
    return EDITIONS if extent == "all" else EDITIONS[:1]


@pytest.fixture(scope="module")
def gone_on(pristine: Edition, all_gone_on: GoneOn) -> tuple[Edition, dict[str, str]]:
    """One of them, and how each of its runs ended."""
    editions, ended = all_gone_on
    return editions[pristine.name], {run: how for edition, run, how in ended if edition == pristine.name}


def test_a_waiting_run_is_trained_and_a_finished_one_cloned(gone_on, pristine):
    edition, said = gone_on
    assert (said["waiting"], said["again"]) == ("finished", "finished") and style_of(edition, "waiting")
    again, before = style_of(edition, "again"), style_of(pristine, "method-lora")
    if edition.keeps_bits:
        assert equal(again, before)
    else:
        assert_near(again, before)


def test_an_interrupted_run_ends_as_an_uncut_one(all_gone_on, extent):
    editions, ended = all_gone_on
    names = interrupted_in(extent)
    assert [words for words in ended if words[1] == "interrupted"] == [
        [name, "interrupted", "finished"] for name in names
    ]
    for name in names:
        edition = editions[name]
        style = style_of(edition, "interrupted")
        if edition.keeps_bits:
            assert digest(style) == edition.facts["style"]["interrupted"]
        else:
            assert_near(style, load_file(edition.folder / "uncut/interrupted/style/interrupted.safetensors"))


def style_of(edition: Edition, name: str) -> dict[str, torch.Tensor]:
    return load_file(edition.outputs / name / f"style/{name}.safetensors")


def digest(tensors: dict[str, torch.Tensor]) -> str:
    found = sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(name.encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def assert_near(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    """Two styles are the same but for what another processor rounds otherwise."""
    assert found.keys() == wanted.keys()
    apart = sum((found[name].double() - wanted[name].double()).square().sum() for name in found)
    assert apart <= 1e-6 * sum(tensor.double().square().sum() for tensor in wanted.values())


def test_every_method_is_exported_as_it_was_and_trained_longer(gone_on, pristine):
    edition, said = gone_on
    for name in edition.methods:
        exported = load_file(edition.folder / "exported" / f"method-{name}.safetensors")
        assert equal(exported, style_of(pristine, f"method-{name}")), name
    assert {name: steps for name, steps in said.items() if name.startswith("method-")} == {
        f"method-{name}": "3" for name in edition.methods
    }


def test_a_draft_keeps_its_pictures_and_captions(edition):
    if edition.name == "first":
        key, moon = "user:ann", "the moon over a dark harbour"
    else:
        key, moon = edition.facts["draft"], "the moon, night sky"
    assert [(one.name, one.caption) for one in Drafts(Paths(edition.outputs)).read(key).pictures] == [
        ("fox.png", "a red fox, snow, trees, winter"),
        ("house.png", "a blue house"),
        ("moon.png", moon),
    ]


def test_the_studio_shows_what_there_was_to_whoever_was_logged_in(studio):
    process, edition = studio
    if edition.name == "first":
        cookies = {"velatura-login": edition.facts["login"]}
        answer = httpx.get(process.url, cookies=cookies, headers={"accept": "text/html"})
        assert answer.status_code == 401 and "</html>" in answer.text, "its logins could not be ended: renewed"
    client = connect(process.url, auth=("ann", "ink-and-paper"))
    styles = {style["name"]: style["id"] for style in client.predict("", 1, api_name="/styles")["styles"]}
    more = {"first": {"elsewhere"}, "second": {"word", "ranks-r2", "ranks-r4"}}[edition.name]
    assert styles.keys() >= {"Harbour", *more} | {f"method-{name}" for name in edition.methods}
    assert client.predict("Harbour", api_name="/status")["state"] == "finished"
    going_on = ("queued", "preparing", "training", "sampling", "saving", "finished")
    assert client.predict("interrupted", api_name="/status")["state"] in going_on
    if edition.name == "second":
        compared = client.predict("ranks", api_name="/sweep_status")
        assert compared["done"] == compared["of"] == 2 and {run["run"] for run in compared["runs"]} == more - {"word"}
        (item,) = client.predict(api_name="/trash")["items"]
        assert client.predict(item["id"], api_name="/restore") == {"kind": "run", "name": "Deleted"}
        assert client.predict("Deleted", api_name="/status")["style"]
        (preset,) = OwnPresets(Paths(edition.outputs)).list("user:ann")
        assert preset.name == "Ink" and preset.table["train"] == {"steps": 77}
        pictures = client.predict("a fox", {styles["Harbour"]: 0.8}, {"seed": 3, "steps": 1}, api_name="/generate")
        assert len(pictures) == 2, "with the style, and without"
