"""A report of a run keeps numbers and the program's texts, and none of what people wrote, named or drew."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
import tomli_w

from app.studio.problem_report import read_report, redacted, write_report
from trainers.messages import Message
from trainers.runs.events import Recorder

PROCESS = """\
Loading /home/ann/My Pictures/secret garden.png and C:\\Users\\ann\\x.safetensors with hf_AbCdEf, ann@example.org
Traceback (most recent call last):
  File "/home/ann/venv/lib/python3.13/site-packages/torch/nn/modules/module.py", line 12, in forward
    return self._call_impl(*args, **kwargs)
  File "/srv/ann/velatura/trainers/training/loop.py", line 7, in take_steps
RuntimeError: sunlit, dusk-wood: size mismatch at 3/12, token 0123456789abcdef0123456789abcdef01
"""
PRIVATE = (
    "ann",
    "secret",
    "garden",
    "dusk",
    "sunlit",
    "fjord",
    "hf_AbCdEf",
    "0123456789abcdef0123456789abcdef01",
    "blurry",
    "paintings",
    "x.safetensors",
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "dusk-wood"
    (folder / "dataset").mkdir(parents=True)
    (folder / "dataset" / "0001-secret-garden.png").touch()
    (folder / "dataset" / "0001-secret-garden.txt").write_text("a fjord at noon")
    settings = {
        "name": "dusk-wood",
        "method": {"name": "lora", "rank": 8},
        "base": {"model": "/srv/ann/base.safetensors", "storage": "nf4"},
        "train": {"steps": 30, "optimizer_args": "betas=0.9,0.99"},
        "targets": {"unet": "attn-mlp"},
        "data": {"images": "/home/ann/paintings", "trigger": "sunlit", "flip": True},
        "sample": {"prompts": ["a fjord, sunlit"], "negative": "blurry"},
    }
    (folder / "config.toml").write_text(tomli_w.dumps(settings))
    (folder / "process.log").write_text(PROCESS)
    record = Recorder(folder)
    record("start", steps=30, base="/srv/ann/base.safetensors", family="sd1", device="cpu")
    record("step", step=1, steps=30, loss=0.25, lr=1e-4)
    record("problem", name="pace", message=Message("Steps of {run} take {ratio:.1f} times", run="dusk-wood", ratio=2.0))
    record("error", message="cannot read '/home/ann/secret garden.png' of dusk-wood", code="")
    return folder


def test_nothing_that_a_person_wrote_or_named_is_in_the_report(run):
    report = read_report(run, "ann")
    for name, text in report.items():
        assert not re.findall(rf"(?<![a-z])(?:{'|'.join(PRIVATE)})(?![a-z])", text, re.IGNORECASE), (name, text)


def test_what_developers_need_is_in_the_report(run):
    report = read_report(run, "ann")
    assert "velatura: " in report["about.txt"] and "torch: 2" in report["about.txt"]
    settings = report["settings.txt"].splitlines()
    for line in (
        "method.rank = 8", 'base.storage = "nf4"', 'train.optimizer_args = "betas=0.9,0.99"',
        'targets.unet = "attn-mlp"', "data.flip = true", "data.trigger = (6 letters)", "sample.negative = (6 letters)",
    ):  # fmt: skip
        assert line in settings
    assert "start steps=30 family=sd1 device=cpu" in report["events.txt"]
    assert "Steps of {run} take {ratio:.1f} times {'ratio': 2.0}" in report["events.txt"]
    assert "error code= cannot read … of …" in report["events.txt"]
    assert "File site-packages/torch/nn/modules/module.py, line 12, in forward" in report["log.txt"]
    assert "File trainers/training/loop.py, line 7, in take_steps" in report["log.txt"]
    assert "RuntimeError: …, …: size mismatch at 3/12, token …" in report["log.txt"]
    assert report["figures.csv"].splitlines()[1].startswith("1,0.25,")


def test_the_archive_has_what_is_shown(run, tmp_path):
    report = read_report(run)
    write_report(report, tmp_path / "report.zip")
    with zipfile.ZipFile(tmp_path / "report.zip") as packed:
        assert {name: packed.read(name).decode() for name in packed.namelist()} == report


def test_a_run_without_files_has_a_report(tmp_path):
    report = read_report(tmp_path)
    assert report["settings.txt"] == report["events.txt"] == report["log.txt"] == ""


def test_a_user_without_a_name_has_a_report(run, monkeypatch):
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert "dusk" not in read_report(run)["log.txt"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("12 of 20 at 3/4, 0.5 it/s", "12 of 20 at 3/4, 0.5 it/s"),
        ("in “Blue Hour” by 'Ann B'", "in … by …"),
        ("open img 1.png now", "open img … now"),
        ("the ANN run", "the … run"),
    ],
)
def test_words_are_redacted(text, kept):
    assert redacted(text, ["ann"]) == kept
