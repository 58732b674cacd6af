"""The figures of a base and the weights they belong to."""

from __future__ import annotations

import hashlib
import json

from tools.starter import report
from tools.starter.report import hash_weights


def test_every_weight_file_is_hashed_by_its_path(tmp_path):
    for part in ("unet", "vae"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "weights.safetensors").write_bytes(part.encode())
    (tmp_path / "unet" / "config.json").write_text("{}", encoding="utf-8")
    assert hash_weights(tmp_path) == {
        f"{part}/weights.safetensors": hashlib.sha256(part.encode()).hexdigest() for part in ("unet", "vae")
    }


def test_the_figures_lie_beside_the_weights_with_their_hashes(tmp_path, monkeypatch):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "weights.safetensors").write_bytes(b"one")
    monkeypatch.setattr(report, "open_base", lambda _: None)
    monkeypatch.setattr(report, "load_perception", lambda *_: None)
    for name in ("reconstruction", "drawing", "prompts"):
        monkeypatch.setattr(report, f"measure_{name}", lambda *_, name=name: {name: 1.0})
    written = report.write_report(tmp_path, tmp_path, tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == written
    assert written["weights"] == hash_weights(tmp_path)
    assert [written[name] for name in ("drawing", "prompts")] == [{"drawing": 1.0}, {"prompts": 1.0}]
