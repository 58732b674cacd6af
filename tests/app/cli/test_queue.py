"""The queue from the command line."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.accounts.people import people_of
from app.jobs.store import NewJob, Store
from app.studio.paths import Paths
from app.studio.runs.notes import write_notes
from app.studio.studio_queue import StudioQueue
from app.studio.styles.library import StyleLibrary
from tests.app.command import Outcome, begun, call, commands
from tests.app.ui.ended_runs import write_run
from tests.app.user_files import write_pictures
from tests.tiny import tiny_single_file
from tests.waiting import wait_until
from trainers.config.layers import gather_config
from trainers.training.prepare import prepare

FEW = ("--steps", "1", "--set", "sample.steps=1", "--set", "targets.unet=cross-kv")


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VELATURA_HOME", raising=False)
    write_pictures(tmp_path / "images", "fox.png", "boat.png")
    return tmp_path


def add(name: str, *more: object) -> Outcome:
    outcome = call("queue", "add", "--images", "images", "--name", name, *FEW, *more)
    assert outcome.code == 0, outcome.err
    return outcome


def facts(*line: object) -> list[dict]:
    outcome = call(*line, "--json")
    assert (outcome.code, outcome.err, outcome.out.count("\n")) == (0, "", 1), outcome.err
    return json.loads(outcome.out)


def names(*line: object) -> list[str]:
    return [row["name"] for row in facts(*line)]


def test_a_queue_that_is_not_there_is_empty_and_stays_so(place):
    assert facts("queue", "list") == [] and facts("queue") == []
    assert "is empty; `velatura queue add`" in call("queue").err
    for line in (("stop", "3"), ("resume", "dusk"), ("move", "3", "up"), ("clear",)):
        outcome = call("queue", *line)
        said = "there is no job 'dusk' in the queue" if "dusk" in line else "there is no queue in"
        assert (outcome.code, outcome.out) == (1, "") and said in outcome.err
    assert [path.name for path in place.iterdir()] == ["images"]


def test_add_takes_what_train_takes():
    options = {name: {p.name: p for p in commands()[name].params} for name in ("train", "queue add")}
    own = options["queue add"].keys() - options["train"].keys()
    assert own == {"priority", "first", "on", "memory"} and options["train"].keys() <= options["queue add"].keys()
    for name, option in options["train"].items():
        assert (option.opts, option.help) == (options["queue add"][name].opts, options["queue add"][name].help)


def test_jobs_are_added_listed_ordered_and_taken_out(place):
    told = add("dusk").err
    assert "dusk is job 1: queued. 1st in line." in told
    assert "no worker serves this queue; start one with: velatura worker\n" in told
    assert "2nd in line" in add("dawn").err
    row = json.loads(add("noon", "--priority", "2", "--json").out)
    assert (row["job"], row["state"], row["place"], row["priority"]) == (3, "queued", 1, 2)
    assert names("queue", "list") == ["noon", "dusk", "dawn"] == [row["name"] for row in facts("queue")]
    assert names("queue", "move", "dawn", "up") == ["noon", "dawn", "dusk"]
    assert names("queue", "move", place / "outputs" / "dusk", "first") == ["dusk", "noon", "dawn"]
    shown = words(call("queue").out)
    lines = (
        r"1 dusk queued – [\d.]+ kB 1st in line. 3 noon queued – [\d.]+ kB 2nd in line. 2 dawn queued – [\d.]+ kB 3rd"
    )
    assert re.search(lines, shown)
    write_notes(place / "outputs" / "dawn", "too strong", "blue")
    assert "3rd in line. too strong #blue" in words(call("queue").out)
    row = facts("queue")[2]
    assert (row["note"], row["tags"]) == ("too strong", ["blue"]) and row["bytes"] > 1000
    assert facts("queue", "stop", "noon")["state"] == "cancelled"  # it had not begun
    assert call("queue", "cancel", "2").err == "dawn is job 2: cancelled\n"
    assert "removed 2 jobs from the queue" in call("queue", "clear").err
    assert names("queue") == ["dusk"] and (place / "outputs" / "dawn" / "dataset").is_dir()


def test_a_deleted_run_is_listed_in_the_trash_brought_back_and_deleted_for_good(place, monkeypatch):
    add("dusk")
    assert "the trash in" in call("queue", "trash").err
    call("queue", "cancel", "dusk")
    assert "dusk was deleted; restore it within 30 days with: velatura queue trash restore" in call(
        "queue", "delete", "dusk"
    ).err.replace("\n", " ")
    assert names("queue") == [] and not (place / "outputs" / "dusk").exists()
    (item,) = facts("queue", "trash")
    assert (item["name"], item["kind"], item["owner"]) == ("dusk", "run", "") and item["bytes"] > 0
    assert "30 days left" in call("queue", "trash", "list").out
    assert facts("queue", "trash", "restore", "dusk") == {"name": "dusk"}
    assert names("queue") == ["dusk"] and (place / "outputs" / "dusk" / "dataset").is_dir()
    assert "there is no 'dusk' in the trash" in call("queue", "trash", "restore", "dusk").err
    item = facts("queue", "delete", "dusk")["item"]
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    refused = call("queue", "trash", "empty")
    assert refused.code != 0 and "Permanently delete 1 item" in refused.err
    assert [one["id"] for one in facts("queue", "trash")] == [item]
    assert facts("queue", "trash", "empty", "--yes")["deleted"] == 1 and facts("queue", "trash") == []


def test_a_run_is_given_to_somebody_of_the_table_with_its_style(place):
    out = place / "outputs"
    write_run(out, "dusk", {"train": {"steps": 4, "warmup": 0}})  # made before there was a queue
    assert "dusk now belongs to ann" in call("queue", "give", "dusk", "ann").err, "nobody is known yet"
    with people_of(out) as people:
        people.add("ann", "pear-tree"), people.add("ben", "plum-tree")
    wrong = call("queue", "give", "dusk", "bne")
    assert (wrong.code, wrong.out) == (
        1,
        "",
    ) and "there is no account bne; there are ann, ben" in wrong.err
    (row,) = facts("queue")
    assert (row["owner"], row["state"]) == ("ann", "finished")
    assert facts("queue", "give", "dusk", "ben")["owner"] == "ben"
    assert [(style.name, style.owner) for style in StyleLibrary(StudioQueue(Paths(out))).entries()] == [("dusk", "ben")]
    call("queue", "repair", "--from-folders")
    assert facts("queue")[0]["owner"] == "ben", "its folder says whose it is"
    assert "now belongs to the owner of this machine" in call("queue", "give", "dusk", "").err
    assert facts("queue")[0]["owner"] == ""


def test_what_does_not_fit_is_one_sentence(place):
    add("dusk")
    for line, sentence in (
        ("stop 9", "there is no job 9 in the queue; `velatura queue list` shows the jobs"),
        (f"stop {10**30}", f"there is no job {10**30} in the queue"),
        ("stop nobody", "there is no job 'nobody' in the queue"),
        ("pause dusk", "dusk cannot be paused: it is waiting"),
        ("resume dusk", "dusk cannot be resumed: it is waiting"),
        ("retry 1", "dusk cannot be tried again: it is waiting"),
        ("clone 1", "dusk cannot be cloned: it is waiting"),
        ("delete dusk", "dusk cannot be deleted: it is waiting"),
        ("move dusk aside", "'aside' is not a position; use up, down, first, last or a number from 1"),
        ("add --images nowhere --name x", "there is no such folder"),
        ("add --images images --name x --set train.stepz=3", "there is no setting train.stepz"),
        ("add --images images --name dusk", "dusk is already in the queue; choose another --name"),
    ):
        outcome = call("queue", *line.split())
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1), line
        assert sentence in outcome.err, line
    assert sorted(path.name for path in (place / "outputs").iterdir() if "queue.db" not in path.name) == ["dusk"]


def test_options_in_front_of_the_command_are_not_ignored(place):
    outcome = call("queue", "--out", "runs", "list")
    assert outcome.code == 1 and "put --out and --json after the command: velatura queue list" in outcome.err


def test_a_run_from_outside_the_queue_is_taken_in_by_its_name_even_where_that_is_a_number(place):
    prepare(gather_config(None, None, {"name": "12", "images": "images"}, []), place / "outputs")
    outcome = call("stop", "outputs/12")
    assert (
        outcome.code == 1 and "outputs/12 has not started; `velatura queue cancel outputs/12` removes it" in outcome.err
    )
    row = facts("queue", "resume", "12")
    assert (row["job"], row["name"], row["state"], row["place"]) == (1, "12", "queued", 1)
    assert facts("queue", "cancel", place / "outputs" / "12")["job"] == 1 == facts("queue", "retry", "1")["job"]


def test_a_queue_elsewhere(place, monkeypatch):
    add("dusk", "--out", "runs")
    assert names("queue", "list", "--out", "runs") == ["dusk"] and names("queue") == []
    monkeypatch.setenv("VELATURA_HOME", str(place / "runs"))
    assert names("queue") == ["dusk"] and "worker --out runs" in add("dawn", "--out", "runs").err


def test_a_worker_does_what_waits_until_ctrl_c_and_the_rest_goes_on_from_there(place, tiny_bases):
    quick = ("data.resolution=32", "sample.size=16", "sample.prompts=['a fox']")
    tiny = ["--base", tiny_bases["sd1"], *(word for setting in quick for word in ("--set", setting))]
    add("dusk", "--priority", "1", *tiny)
    add("broken", *tiny)
    config = place / "outputs" / "broken" / "config.toml"
    config.write_text(re.sub(r"(?m)^unet = .*$", 'unet = ["no.such"]', config.read_text()))
    store = Store(place / "outputs")
    with begun("worker", "--device", "cpu", cwd=place) as worker:

        def has_ended() -> bool:
            assert worker.is_running(), worker.outcome().err
            return {job.phase for job in store.jobs()} == {"ended"}

        wait_until(has_ended, "a job does not end")
        assert "no worker" not in add("later", "--set", "train.device=mps").err  # one serves it, not this device
        worker.interrupt()
        outcome = worker.outcome()
    assert outcome.code == 0, outcome.err
    lines = outcome.err.splitlines()
    assert lines[0] == "serving the queue in outputs on cpu; Ctrl-C stops the worker, not the runs"
    assert lines[1] == "dusk: starts on cpu" and re.fullmatch(r"dusk: finished\. Done( in \d+ s)?\.", lines[2])
    assert lines[3] == "broken: starts on cpu" and lines[4].startswith(
        "broken: failed. the pattern 'no.such' matches no"
    )
    assert lines[5:] == ["stopped; running jobs continue, waiting jobs wait for the next worker"]
    assert call("worker", "--once", "--device", "cpu").err == ""  # nothing there for a CPU
    assert call("worker", "--until-empty", "--device", "cpu").err.splitlines() == lines[:1]
    call("queue", "cancel", "later")

    assert (place / "outputs" / "dusk" / "style" / "dusk.safetensors").is_file()
    rows = {row["name"]: row for row in facts("queue")}
    assert (rows["dusk"]["step"], rows["dusk"]["steps"], rows["dusk"]["actions"][0]) == (1, 1, "longer")
    assert facts("queue", "clone", "dusk", "--name", "dawn", "--set", "seed=4")["place"] == 1
    retried = facts("queue", "retry", "broken", "--set", "targets.unet=cross-kv")
    longer = facts("queue", "resume", "dusk", "--steps", "2")
    assert [retried["place"], longer["place"]] == [2, 2]
    assert names("queue") == ["dawn", "dusk", "broken", "later"]


@pytest.fixture
def read_only(store: Store, tmp_path: Path) -> Iterator[Path]:
    """A disk that nobody can write to, with a queue on it that was not closed."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    tmpfs = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mounted)]
    if shutil.which("mount") is None or subprocess.run(tmpfs, capture_output=True).returncode:
        pytest.skip("needs the right to mount a disk")
    try:
        for name in ("dusk", "dawn"):
            (store.runs / name).mkdir(parents=True)
            store.add(NewJob("train", store.runs / name))
        shutil.copytree(store.runs, mounted / "runs")
        subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
        yield mounted / "runs"
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_a_queue_on_a_read_only_disk_is_listed_and_not_changed(read_only):
    before = {path: path.read_bytes() for path in read_only.iterdir() if path.is_file()}
    listed = call("queue", "--json", "--out", read_only)
    assert [job["name"] for job in json.loads(listed.out)] == ["dusk", "dawn"]
    refused = call("queue", "cancel", "dusk", "--out", read_only)
    assert refused.code == 1 and "the queue cannot be changed" in " ".join(refused.err.split())
    studio = call("ui", "--out", read_only, "--port", 7993)
    words = " ".join(studio.err.split())
    assert studio.code == 1 and "cannot write to" in words and "Read-only file system; choose another" in words
    assert {path: path.read_bytes() for path in read_only.iterdir() if path.is_file()} == before


def test_the_source_of_recommended_settings_is_printed_or_that_none_is_known(place: Path) -> None:
    pony = tiny_single_file("sdxl", place / "ponyDiffusion.safetensors")
    other = tiny_single_file("sd2-v", place / "other.safetensors")
    recommended = add("a", "--base", pony, "--preset", "recommended").err
    assert "recommended for Pony Diffusion V6 XL, from civitai's trainer, its defaults for Pony" in words(recommended)
    offered = words(add("b", "--base", pony).err)
    assert "note: --preset recommended is known for Pony Diffusion V6 XL, from civitai's trainer" in offered
    unknown = words(add("c", "--base", other).err)
    assert "no recommendation is known for this base; these are Velatura's defaults" in unknown
    for silent in (("--preset", "lora"), ("--base", "starter")):
        assert "recommend" not in add(silent[1], *silent).err
