"""What the report looks at: the photographs and the weight files."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from tools.starter.report import hash_weights, read_photographs
from trainers.data.sample_sets import read_sets


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
