"""Styles on a base that is packed or waits in main memory: the same change as on one that is whole and there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.tiny_flow import tiny_flow_folder
from trainers.composition.compose import compose
from trainers.composition.ways import read_composition
from trainers.config.sections import Base
from trainers.formats.read import Style, read_style
from trainers.models.load import load_model
from trainers.models.model import Model

pytestmark = [pytest.mark.long, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Z-Image, whose layers have no bias."""
    return tiny_flow_folder("z-image", tmp_path_factory.mktemp("base"))


def load(folder: Path, storage: str, away: bool) -> Model:
    held = {"storage": storage, "swap_blocks": 2 if away else 0, "offload_encoders": away}
    return load_model(Base.model_validate({"model": str(folder), **held}), torch.float32, "cpu", "0" * 64)


def styles(model: Model, folder: Path) -> list[tuple[Style, float]]:
    """A LoRA, and a DoRA, whose change depends on the weights."""
    found = []
    for number in range(2):
        draw, tensors = torch.Generator().manual_seed(number), dict[str, Tensor]()
        for path, layer in model.denoiser.named_modules():
            if isinstance(layer, nn.Linear) and path.endswith(("to_q", "to_v")):
                name, (out, width) = f"transformer.{path}", (layer.out_features, layer.in_features)
                tensors[f"{name}.lora_A.weight"] = torch.randn(2, width, generator=draw)
                tensors[f"{name}.lora_B.weight"] = 0.2 * torch.randn(out, 2, generator=draw)
                if number:
                    tensors[f"{name}.lora_magnitude_vector"] = torch.rand(out, generator=draw)
        save_file(tensors, folder / f"{number}.safetensors")
        found.append((read_style(folder / f"{number}.safetensors"), 1.0))
    return found


@torch.no_grad()
def output(model: Model) -> Tensor:
    latents = torch.randn(1, model.latent_channels, 8, 8, generator=torch.Generator().manual_seed(4))
    return model.predict(latents, torch.tensor([500.0]), model.encode(["a fox"]), None, 1.0)


def test_styles_mean_the_same_wherever_the_weights_are(folder: Path, tmp_path: Path) -> None:
    found: dict[tuple[str, str, bool], Tensor] = {}
    ways = ("sum", "svd:2", "k-lora")
    for storage in ("full", "int8"):
        for away in (False, True):
            model = load(folder, storage, away)
            chosen = styles(model, tmp_path)
            for way in ways:
                network, styling = compose(model, chosen, read_composition(way), 4)
                styling.set_step(0, (None,))
                found[way, storage, away] = output(model)
                network.remove()
    for way in ways:
        whole, packed = found[way, "full", False], found[way, "int8", False]
        assert whole.isfinite().all() and torch.equal(found[way, "full", True], whole), way
        assert torch.equal(found[way, "int8", True], packed), way
        assert (packed - whole).abs().max() < 0.1 * whole.abs().max(), way
