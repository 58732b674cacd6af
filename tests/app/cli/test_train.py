"""`velatura train`, `stop` and `resume`: what they say, and what they keep."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shlex import quote
from types import SimpleNamespace

import pytest

from app.cli.train import demo_config
from tests.app.command import Outcome, call, fresh_process, process
from tests.app.conftest import Trained
from tests.app.user_files import write_pictures
from trainers.runs.events import read_events
from trainers.sampling.plan import plan_previews
from trainers.training.previews import preview_params


def test_train_gives_one_line_of_json(trained: Trained) -> None:
    out, facts = trained.outcome.out, trained.facts
    assert out.count("\n") == 1 and out.endswith("\n")
    assert list(facts) == ["run", "style", "steps", "seconds", "parameters", "skipped"]
    assert (facts["run"], facts["style"]) == ("runs/dusk", "runs/dusk/style/dusk.safetensors")
    assert (facts["steps"], facts["parameters"], facts["skipped"]) == (2, 2_042_880, 0)
    assert facts["seconds"] > 0


def test_the_demo_draws_every_concept_on_the_way(tmp_path: Path) -> None:
    config = demo_config("black-line", "balanced", tmp_path)
    params = preview_params(config, SimpleNamespace(items=()), 128, starter=True)
    plan = plan_previews(config, params, 128)
    assert sorted(plan.whole) == [60, 120] and config.train.steps == 180
    assert plan.count == len(config.sample.prompts) == 8


def test_progress_goes_to_standard_error(trained: Trained) -> None:
    err = trained.outcome.err
    words = [line.split()[0] for line in err.splitlines()]  # and no library that it has imported has its say
    assert words == ["bomb.png", "broken.png", "text.png", "The", "dusk:", "drew", "step", "drew", "step"], err
    assert re.search(r"^step 1/2  loss 0\.\d{4}  [\d.]+ s/step  [\d.]+ (s|min) left$", err, re.MULTILINE), err
    assert re.search(r"^dusk: lora on Velatura starter \(sd1\), 2 images, 2,042,880 parameters, float32", err, re.M)
    assert "this style will fit only the starter" in err


@pytest.mark.thorough
def test_a_process_that_imports_its_libraries_says_no_more(trained: Trained, tmp_path: Path) -> None:
    words = ("train", trained.run / "config.toml", "--steps", "1", "--out", tmp_path, "--json")
    outcome = fresh_process(*words, cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    assert [line.split()[0] for line in outcome.err.splitlines()] == ["The", "dusk:", "drew", "step"], outcome.err


def stop_while_it_trains(run: Path) -> Outcome:
    """`velatura stop` by another process, once a run has done a step."""
    deadline = time.monotonic() + 120
    while not any(event["type"] == "step" for event in read_events(run)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process("stop", run, cwd=run)


@pytest.mark.usefixtures("quick_runs")
def test_stop_and_resume(tmp_path: Path, tiny_bases: dict[str, Path]) -> None:
    images = write_pictures(tmp_path / "images", "fox.png")
    assignments = ("targets.unet=cross-kv", "train.warmup=0", "data.resolution=32", "sample.size=32", "sample.steps=1")
    settings = [word for assignment in assignments for word in ("--set", assignment)]
    run = tmp_path / "runs" / "лиса"
    words = ("train", "--images", images, "--name", run.name, "--steps", "5000", *settings, "--out", run.parent)
    words += ("--base", tiny_bases["sd1"])
    with ThreadPoolExecutor() as other:
        asking = other.submit(stop_while_it_trains, run)
        trained = call(*words, "--json")
    asked = asking.result()
    assert trained.code == 0, trained.err
    assert "note: --preset recommended is known for Stable Diffusion 1.5, from " in " ".join(trained.err.split())
    assert asked.code == 0 and f"velatura resume {quote(str(run))}" in asked.err
    steps = json.loads(trained.out)["steps"]
    assert 1 <= steps < 5000
    assert call("stop", run).code == 1  # it has ended

    resumed = call("resume", run, "--steps", steps + 2, "--json")
    assert resumed.code == 0, resumed.err
    assert json.loads(resumed.out)["steps"] == steps + 2
    taken = [event["step"] for event in read_events(run) if event["type"] == "step"]
    assert taken == list(range(1, steps + 3))
    assert "is complete at step" in call("resume", run).err


def test_a_run_whose_process_died_is_not_asked_to_stop(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('name = "dead"')
    (tmp_path / "events.jsonl").write_text('{"type": "start"}\n{"type": "step", "step": 1}\n')
    told = call("stop", tmp_path)
    assert told.code == 1 and f"velatura train {tmp_path / 'config.toml'} --overwrite" in told.err
    (tmp_path / "checkpoints" / "step-00000001").mkdir(parents=True)
    assert f"velatura resume {tmp_path}" in call("stop", tmp_path).err
    assert not (tmp_path / "stop").exists()


@pytest.mark.usefixtures("no_pictures")
def test_a_new_run_may_replace_an_old_one_if_asked(trained: Trained, tmp_path: Path) -> None:
    config = trained.run / "config.toml"
    words = ("train", config, "--out", tmp_path, "--set", "targets.unet=cross-kv")
    assert call(*words, "--steps", "1").code == 0
    first = (tmp_path / "dusk" / "style" / "dusk.safetensors").read_bytes()
    assert call(*words, "--seed", "5").code == 1
    assert (tmp_path / "dusk" / "style" / "dusk.safetensors").read_bytes() == first
    replaced = call(*words, "--seed", "5", "--overwrite")
    assert replaced.code == 0
    assert (tmp_path / "dusk" / "style" / "dusk.safetensors").read_bytes() != first
    back = re.search(r"the previous dusk is in the trash; restore it with: velatura (.*)", replaced.err)
    assert back is not None and call(*back[1].split()).code == 0
    assert (tmp_path / "dusk-2" / "style" / "dusk-2.safetensors").read_bytes() == first
    assert not list(tmp_path.glob("queue.db*")), "the queue is not needed for it"
