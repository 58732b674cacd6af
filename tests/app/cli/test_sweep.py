"""Sweeps from the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from app.jobs.store import Store
from tests.app.command import Outcome, call, commands, tree
from tests.app.jobs.working import do_next
from tests.app.user_files import write_pictures

FEW = ("--steps", "2", "--set", "sample.steps=1", "--set", "targets.unet=cross-kv")
RANKS = ("--grid", "method.rank+method.alpha=2,4")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VELATURA_HOME", raising=False)
    write_pictures(tmp_path / "images", "fox.png", "boat.png")
    return tmp_path


def start(*more: object, name: str = "dusk") -> Outcome:
    return call("sweep", "--images", "images", "--name", name, "--preset", "lora", *FEW, *more)


def facts(*line: object) -> dict:
    outcome = call("sweep", *line, "--json")
    assert (outcome.code, outcome.err, outcome.out.count("\n")) == (0, "", 1), outcome.err
    return json.loads(outcome.out)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("run.toml --grid method.rank=4,8", "start"),
        ("--images pictures --seeds 3", "start"),
        ("my.conf --methods lora,loha", "start"),
        ("dusk", "show"),
        ("dusk --csv", "show"),
        ("cancel dusk", "cancel"),
        ("--json", None),
    ],
)
def test_what_follows_sweep_says_what_it_does(words: str, command: str | None) -> None:
    context = commands()["sweep"].make_context("sweep", words.split())
    assert (context._protected_args or [None])[0] == command


def test_a_dry_run_says_all_and_makes_nothing(place: Path) -> None:
    before = tree(place)
    outcome = start("--methods", "lora,loha", "--grid", "train.batch_size=1,2", "--seeds", "2", "--dry-run")
    assert outcome.code == 0, outcome.err
    assert "dusk: 8 runs, of which the time is not known" in outcome.err and "nothing was started" in outcome.err
    said = json.loads(start("--methods", "lora,loha", "--seeds", "3,9", "--dry-run", "--json").out)
    assert [run["run"] for run in said["runs"]] == ["dusk-lora-s3", "dusk-lora-s9", "dusk-loha-s3", "dusk-loha-s9"]
    assert tree(place) == before


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "a sweep compares at least two runs"),
        (("--seeds", "1"), "a sweep compares at least two runs"),
        (("--seeds", "few"), "--seeds 'few' is not understood"),
        (("--seeds", "60", "--grid", "method.rank=1,2"), "these are 120 runs, and a sweep has at most 100"),
        (("--grid", "method.rank"), "'method.rank' is not an axis"),
        (("--grid", "method.rank=4,4"), "method.rank has the value 4 twice"),
        (("--grid", "seed=1,2", "--seeds", "2"), "seed is given twice"),
        (("--grid", "name=a,b"), "name is the same for all runs of a sweep"),
        (("--methods", "lora,lorra"), "nothing was started: dusk-lorra: "),
        (("--grid", "method.rank=4,-1,-2"), "nothing was started, 2 of 3 runs are not valid: dusk-r-1: "),
        (("--grid", "method.wrong=4,5"), "nothing was started, 2 of 2 runs are not valid"),
    ],
)
def test_one_wrong_combination_starts_none(place: Path, more: tuple[str, ...], said: str) -> None:
    before = tree(place)
    outcome = start(*more)
    assert outcome.code == 1 and said in outcome.err, outcome.err
    assert tree(place) == before


def test_a_config_file_with_methods(place: Path) -> None:
    text = 'name = "night"\n[data]\nimages = "images"\n[method]\nname = "lora"\nrank = 3\nalpha = 3\n'
    (place / "night.toml").write_text(text, encoding="utf-8")
    outcome = call("sweep", "night.toml", "--methods", "lora,loha", *FEW)
    assert outcome.code == 0, outcome.err
    lora, loha = ((place / "outputs" / f"night-{name}" / "config.toml").read_text("utf-8") for name in ("lora", "loha"))
    assert "rank = 3" in lora and 'name = "loha"' in loha and "rank = 8" in loha


@pytest.mark.usefixtures("no_pictures")
def test_a_sweep_from_its_start_to_its_results(place: Path, tiny_bases: dict[str, Path]) -> None:
    tiny = ("--base", tiny_bases["sd1"], "--set", "data.resolution=32", "--set", "sample.size=32")
    outcome = start(*RANKS, "--seeds", "2", "--set", "data.held_out=0.5", *tiny)
    assert outcome.code == 0 and "queued 4 runs" in outcome.err and "no worker serves this queue" in outcome.err
    store, names = Store(Path("outputs")), ["dusk-r2-s0", "dusk-r2-s1", "dusk-r4-s0", "dusk-r4-s1"]
    assert [job.name for job in store.line()] == names
    files = {next((store.runs / name / "dataset").glob("*.png")).stat().st_ino for name in names}
    assert len(files) == 1  # one picture, whatever the number of runs
    assert "there is a sweep dusk already" in start(*RANKS).err
    assert "there is a sweep Dusk already" in start(*RANKS, name="Dusk").err
    assert "Dusk-r2-s0: a run of this name exists" in start("--seeds", "2", name="Dusk-r2").err

    assert do_next(store).state == "finished"
    assert call("sweep", "cancel", "dusk").code == 0 and store.line() == []
    assert facts("show", "dusk")["other"] == 3
    assert facts("continue", "dusk")["changed"] == 3 and [job.name for job in store.line()] == names[1:]
    assert call("queue", "add", "--images", "images", "--name", "other", *FEW).code == 0
    assert facts("move", "dusk", "last")["changed"] == 3
    assert [job.name for job in store.line()] == ["other", *names[1:]]
    assert facts("move", "dusk", "first")["changed"] == 3
    assert [job.name for job in store.line()] == [*names[1:], "other"]
    assert call("queue", "cancel", "dusk-r4-s0").code == call("queue", "delete", "dusk-r4-s0").code == 0
    assert do_next(store).state == "finished" and do_next(store).state == "finished"

    shown = facts("dusk")
    assert (shown["done"], shown["deleted"], shown["of"]) == (3, 1, 4)
    runs = {run["run"]: run for run in shown["runs"]}
    assert runs["dusk-r4-s0"]["state"] == "deleted" and runs["dusk-r4-s0"]["loss"] is None
    assert runs["dusk-r4-s1"]["method.rank+method.alpha"] == 4 and runs["dusk-r4-s1"]["seed"] == 1
    done = [run for run in shown["runs"] if run["state"] == "finished"]
    assert [run["run"] for run in done] == [name for name in names if name != "dusk-r4-s0"]  # drew too few pictures
    assert all(run["held_out_loss"] and run["style"] is run["best_step"] is None for run in done)
    assert runs["dusk-r4-s1"]["file_bytes"] > runs["dusk-r2-s1"]["file_bytes"] > 0 and done[0]["seconds"] > 0
    rows = list(csv.DictReader(io.StringIO(call("sweep", "dusk", "--csv").out)))
    assert [row["run"] for row in rows] == [run["run"] for run in shown["runs"]] and rows[0]["step"] == "2"
    told = call("sweep", "show", "dusk", "--plot", "plot.png")
    assert "dusk-r4-s0 is not there any more" in told.err and "No run has a best step" in " ".join(told.err.split())
    with Image.open("plot.png") as plot:
        assert plot.size[0] == 1200
    assert "3 of 4 done, 1 deleted" in " ".join(call("sweep").out.split())
