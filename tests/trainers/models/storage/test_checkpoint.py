"""A checkpoint in the original layout takes little more memory while it is packed than afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.models.ldm_names import single_file
from tests.trainers.models.storage.loading_memory import can_be_measured, measure_apart, memory_of
from trainers.config.sections import Base
from trainers.models.files.configs import CONFIGS
from trainers.models.full_size import build_from_config
from trainers.models.storage.packed import Packer

pytestmark = [pytest.mark.long, pytest.mark.thorough]
REDUCED: dict[str, dict[str, Any]] = {
    "unet": {"transformer_layers_per_block": [1, 2, 3]},
    "vae": {},
    "text_encoder": {},
    "text_encoder_2": {"num_hidden_layers": 8},
}
"""What is reduced of SDXL, whose layers have their real width."""


def write_checkpoint(file: Path, trees: Path) -> int:
    """Write a checkpoint of zeros in fp16, which takes no disk, and its configs; returns its largest tensor's bytes."""
    shutil.copytree(CONFIGS, trees)
    parts = {}
    for part, reduced in REDUCED.items():
        place = trees / "sdxl" / part / "config.json"
        config = json.loads(place.read_text("utf-8")) | reduced
        place.write_text(json.dumps(config), encoding="utf-8")
        parts[part] = build_from_config(config).state_dict()
    shapes = {name: tensor.shape for name, tensor in single_file(parts, {0, 1}).items()}
    header: dict[str, Any] = {"__metadata__": {"modelspec.prediction_type": "epsilon"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * shape.numel()
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with file.open("wb") as content:
        content.write(len(text).to_bytes(8, "little") + text)
        content.truncate(8 + len(text) + end)
    return max(2 * shape.numel() for shape in shapes.values())


def memory_of_loading(file: Path, trees: Path, storage: str, answer: Any) -> None:
    """In a process of its own: bytes that loading took at its peak, and those of the networks."""
    from trainers.models.files import configs
    from trainers.models.load import import_libraries, load_model

    import_libraries()
    configs.CONFIGS = trees

    def load(_: Packer) -> tuple[torch.nn.Module, ...]:
        model = load_model(Base(model=str(file), storage=storage), torch.bfloat16, "cpu", "0" * 64)
        return (model.denoiser, model.vae, *model.text_encoders)

    answer.send(memory_of(storage, load))


@can_be_measured
@pytest.mark.parametrize("storage", ["int8", "nf4"])
def test_a_checkpoint_takes_the_packed_size_and_three_of_its_largest_tensor_at_most(storage, tmp_path):
    file, trees = tmp_path / "base.safetensors", tmp_path / "configs"
    largest = write_checkpoint(file, trees)
    peak, packed = measure_apart("spawn", memory_of_loading, file, trees, storage)
    whole = file.stat().st_size
    print(f"{whole / 1e6:.0f} MB: packed {packed / 1e6:.0f}, peak {peak / 1e6:.0f}, largest {largest / 1e6:.0f}")
    assert packed < 0.7 * whole and peak <= packed + 3 * largest
