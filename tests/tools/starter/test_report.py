"""What the report looks at: the photographs and the weight files."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

from tools.starter import report
from tools.starter.report import hash_weights
from tools.starter.unseen import read_photographs
from trainers.data.sample_sets import read_sets
from trainers.errors import VelaturaError


def test_the_bundled_photographs_are_read_at_the_starter_s_size():
    found = read_photographs()
    assert found.shape == (12, 3, 128, 128) and found.dtype == torch.float32
    assert found.min() >= -1 and found.max() <= 1 and found.flatten(1).std(1).min() > 0.1
    assert len(list(read_sets()["photograph"].folder.glob("*.jpg"))) == 12
    assert len(np.unique(found.flatten(1).mean(1).numpy())) == 12


def test_every_weight_file_is_hashed_by_its_path(tmp_path):
    for part in ("unet", "vae"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "weights.safetensors").write_bytes(part.encode())
    (tmp_path / "unet" / "config.json").write_text("{}", encoding="utf-8")
    assert hash_weights(tmp_path) == {
        f"{part}/weights.safetensors": hashlib.sha256(part.encode()).hexdigest() for part in ("unet", "vae")
    }


def test_a_part_is_measured_once_or_again_and_those_of_other_weights_are_dropped(tmp_path, monkeypatch):
    (tmp_path / "unet").mkdir()
    weights = tmp_path / "unet" / "weights.safetensors"
    weights.write_bytes(b"one")
    names = ("reconstruction", "drawing", "prompts", "taught", "learning", "longer")
    rounds = {f"measure_{name}": 0 for name in names}
    monkeypatch.setattr(report, "open_base", lambda _: None)
    monkeypatch.setattr(report, "load_perception", lambda *_: None)
    monkeypatch.setattr(report, "measure_speed", lambda _: 0.5)
    for name in rounds:

        def measure(*_, name=name):
            rounds[name] += 1
            found = {"round": rounds[name]}
            return [found] if name in ("measure_learning", "measure_longer") else found

        monkeypatch.setattr(report, name, measure)

    def found(*again: str) -> dict[str, object]:
        report.write_report(tmp_path, tmp_path, tmp_path, again)
        said = json.loads((tmp_path / "metrics.json").read_text())
        assert said.pop("weights") == hash_weights(tmp_path)
        return said

    first, second = {"round": 1}, {"round": 2}
    parts = ("reconstruction", "drawing", "prompts", "taught styles", "learning", "learning longer")
    assert found() == dict.fromkeys(parts, first) | {"seconds a step": 0.5}
    whole = dict.fromkeys(parts, first) | {"seconds a step": 0.5, "learning": second, "learning longer": second}
    assert found("learning") == whole and rounds["measure_drawing"] == 1
    assert found("drawing")["drawing"] == second
    with pytest.raises(VelaturaError, match=r"The parts are reconstruction, drawing, .*: found lerning"):
        found("lerning")
    weights.write_bytes(b"two")
    monkeypatch.setattr(report, "measure_taught", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        found()
    assert [*json.loads((tmp_path / "metrics.json").read_text())] == ["weights", "reconstruction", "drawing", "prompts"]
