"""Runs on a base that does not read the trigger word: the same bits as without one, and pictures too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.trainers.tiny_runs import both, equal, events_of, one, quick_settings, style_metadata, style_tensors
from trainers.composition.apply import apply_styles
from trainers.composition.merge import merge_files
from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.config.layers import layers
from trainers.config.sections import Base
from trainers.formats.origin import UNREAD
from trainers.formats.read import read_style
from trainers.models.load import load_model
from trainers.runs.run import Run
from trainers.training.train import train

UNREAD_WORD = both(one("data.trigger", "dusk style"), one("data.read_trigger", False))
PROMPT = "dusk style, a fox"


def on_starter(preset: str = "balanced", aim: str = "", **more: object) -> Config:
    above = ({"name": "dusk", "base": {"model": "starter"}, "data": {"trigger": "dusk  style"}}, more)
    return build_config(*layers(preset=preset, base="starter", aim=aim, above=above))


def test_the_starter_reads_a_trigger_word_only_where_it_is_needed() -> None:
    assert on_starter().unread_trigger == on_starter("quick").unread_trigger == "dusk style"
    assert on_starter(aim="subject").unread_trigger == "", "it names the subject"
    assert on_starter("dreambooth").unread_trigger == "", "it tells the images from those of the class"
    assert on_starter(data={"read_trigger": True}).unread_trigger == ""
    assert build_config(*layers(preset="balanced", base="a/b", above=({"name": "dusk"},))).data.read_trigger


@pytest.mark.usefixtures("quick_runs")
def test_an_unread_word_changes_no_bit_and_its_file_says_so(tiny_bases, tiny_trees, images, tmp_path: Path) -> None:
    base = tiny_bases["sd1"]
    pictures, files = [], []
    for name, prompt, settings in (("bare", "a fox", {}), ("worded", PROMPT, UNREAD_WORD)):
        config = quick_settings(base, images, settings, one("sample.prompts", [prompt]))
        result = train(config, tmp_path / name)
        files.append(result.style)
        run = Run(result.run)
        pictures.append([(run.samples / step / "00.png").read_bytes() for step in ("step-00000000", "final")])
    assert equal(style_tensors(files[0]), style_tensors(files[1]))
    assert pictures[0] == pictures[1] and pictures[0][0] != pictures[0][1]
    assert UNREAD not in style_metadata(files[0])
    assert style_metadata(files[1])[UNREAD] == style_metadata(files[1])["velatura.trigger"] == "dusk style"
    notes = [event["message"] for event in events_of(run, "note")]
    assert sum("does not read the trigger word dusk style" in note for note in notes) == 1

    merge_files(tmp_path / "both.safetensors", [(read_style(files[1]), 0.5), (read_style(files[0]), 0.5)])
    model = load_model(Base(model=str(base)), torch.float32, "cpu")
    known = model.encode([PROMPT]).context
    for file in (files[1], tmp_path / "both.safetensors"):
        network = apply_styles(model.parts, "sd1", [(read_style(file), 1.0)], model.words)
        assert torch.equal(model.encode([PROMPT]).context, model.encode(["a fox"]).context)
        network.remove()
        assert torch.equal(model.encode([PROMPT]).context, known)
