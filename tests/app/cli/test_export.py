"""`velatura best` and `velatura score`, and the step that other commands say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from app.studio.runs import chosen
from tests.app.command import call
from tests.app.ui.ended_runs import write_run, write_scores, write_snapshot
from tests.trainers.data.pictures import scene
from tests.trainers.score.encoders import write_encoder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = write_run(tmp_path, "dusk", {"train": {"steps": 40, "warmup": 0}})
    write_snapshot(folder, 20)
    return folder


def test_best_names_the_step_its_file_and_why(run):
    write_scores(run, 20, (10, 20, 30))
    told = call("best", run)
    assert told.code == 0 and "Step 20" in told.err and "step-00000020.safetensors" in told.err
    facts = json.loads(call("best", run, "--json").out)
    assert (facts["step"], Path(facts["file"])) == (20, chosen.snapshots(run)[20]) and "20" in facts["reason"]


def test_a_run_is_found_by_its_name_wherever_the_command_is_called(run, tmp_path, monkeypatch):
    write_scores(run, 20, (10, 20))
    monkeypatch.setenv("VELATURA_HOME", str(tmp_path))
    assert json.loads(call("best", "dusk", "--json").out)["step"] == 20
    assert "elsewhere is not a run folder" in call("best", "elsewhere").err


def test_best_ends_with_1_if_no_step_is_better(run):
    write_scores(run, 99, (10, 20))
    nothing = call("best", run)
    assert nothing.code == 1 and "No step" in nothing.err


def test_score_shows_what_is_recorded_as_a_table_csv_and_json(run):
    write_scores(run, 20, (10, 20))
    table = call("score", run)
    assert table.code == 0 and "60%" in table.out and "0.200" in table.out and "Step 20" in table.err
    assert call("score", run, "--csv").out.splitlines() == [
        "step,distance,change,noise,note",
        "0,1.0,0.0,0.01,",
        "10,0.99,0.1,0.01,",
        "20,0.6,0.2,0.01,best",
    ]
    facts = json.loads(call("score", run, "--json").out)
    assert facts["best"] == 20 and facts["scores"][2] == {
        "step": 20,
        "distance": 0.6,
        "change": 0.2,
        "noise": 0.01,
        "note": "best",
    }


def test_score_adds_distances_by_encoders_that_are_here(run, tmp_path, monkeypatch):
    from trainers.score.encoders import load_encoder
    from trainers.score.pictures import as_pixels

    monkeypatch.delenv("VELATURA_MODELS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    write_scores(run, 20, (10, 20))
    missing = call("score", run, "--again", "--with", "clip")  # before anything is computed
    assert (
        missing.code == 1
        and missing.out == ""
        and re.search("run `.*hf download openai/clip-vit-large-patch14", missing.err)
    )
    for name in ("dinov2", "clip"):
        write_encoder(tmp_path / "hub", name)
    trained, drawn = scene(3, (128, 128)), [scene(4, (128, 128)), scene(5, (96, 128))]  # as large as the starter's
    (run / "dataset").mkdir()
    trained.save(run / "dataset" / "fox.png")
    for number, picture in enumerate(drawn):
        picture.save(run / "samples" / "step-00000000" / f"{number:02d}.png")
        trained.save(run / "samples" / "step-00000020" / f"{number:02d}.png")
    own = json.loads(call("score", run, "--json").out)
    facts = json.loads(call("score", run, "--json", "--with", "dinov2", "--with", "clip").out)
    for name in ("dinov2", "clip"):
        embed = load_encoder(name, "cpu")
        cosines = torch.cat([embed(as_pixels([each])) for each in drawn]) @ embed(as_pixels([trained])).T
        far = pytest.approx(1 - float(cosines.mean()), abs=1e-4)
        assert [score.pop(name) for score in facts["scores"]] == [far, None, 0]
    assert facts == own  # the mark and the base's own scores stay
    config = (run / "config.toml").read_text("utf-8")
    assert 'model = "starter"' in config
    (run / "config.toml").write_text(config.replace('model = "starter"', 'model = "someone/gone"'), encoding="utf-8")
    header, *rows = (line.split(",") for line in call("score", run, "--csv", "--with", "clip").out.splitlines())
    assert header == ["step", "distance", "change", "noise", "note", "clip"]
    assert rows[1] == ["10", "0.99", "0.1", "0.01", "", ""]
    assert [float(row[-1]) for row in (rows[0], rows[2])] == [far, 0]
    table = call("score", run, "--with", "clip")
    assert "clip" in table.out and "none" in table.out and "0.0000" in table.out
    assert "clip: mean cosine distance" in table.err and "Step 20" in table.err


def test_commands_say_which_step_they_take(run, tmp_path):
    write_scores(run, 20, (10, 20, 30))
    assert "of step 20, the best one" in call("export", run, "--out", tmp_path / "best.safetensors").err
    chosen.star(run, 20)
    assert "of step 20, which is starred" in call("export", run, "--out", tmp_path / "starred.safetensors").err


def test_a_training_ends_with_the_best_step_and_how_to_compare(run, capsys):
    from app.cli.train import report_result
    from trainers.training.train import Result

    write_scores(run, 20, (10, 20))
    report_result(Result(run, run / "config.toml", 40, 3.0, 10, "", None, None), json=False)
    told = capsys.readouterr().err
    assert "Step 20: 40% of the distance to your style is gone" in told and f"velatura score {run}" in told
