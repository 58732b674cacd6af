from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainers.data.pictures import scene
from tests.trainers.score.encoders import COLOURS, SIDE, write_encoder
from trainers.errors import VelaturaError
from trainers.score.encoders import ENCODERS, FILES, cosine_distance, find_encoder, load_encoder
from trainers.score.pictures import as_pixels


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache."""
    monkeypatch.delenv("VELATURA_MODELS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_the_distance_is_that_of_all_pairs() -> None:
    drawn, trained = (torch.nn.functional.normalize(torch.randn(n, 5, generator=generator(n)), dim=1) for n in (3, 4))
    pairs = [1 - float(a @ b / (a.norm() * b.norm())) for a in drawn for b in trained]
    assert cosine_distance(drawn, trained) == pytest.approx(sum(pairs) / 12, abs=1e-6)
    east, north = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert cosine_distance(east, torch.cat([east, north, -east])) == pytest.approx(1.0)
    assert cosine_distance(drawn[:1], drawn[:1]) == pytest.approx(0.0, abs=1e-6)
    assert cosine_distance(torch.cat([east, east]), east) == 0.0


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_embedding_is_the_networks_own(name: str, cache: Path) -> None:
    from transformers import CLIPModel, Dinov2Model

    folder = write_encoder(cache, name)
    pictures = [scene(seed, (SIDE, SIDE)) for seed in range(9)]  # more than a batch
    seen = load_encoder(name, "cpu")(as_pixels(pictures))
    mean, deviation = (torch.tensor(each).view(3, 1, 1) for each in COLOURS[name])
    levels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2)
    values = (levels / 255 - mean) / deviation
    with torch.no_grad():
        if name == "dinov2":
            own = Dinov2Model.from_pretrained(folder).eval()(values).last_hidden_state[:, 0]
        else:
            clip = CLIPModel.from_pretrained(folder).eval()
            own = clip.visual_projection(clip.vision_model(values).pooler_output)
    assert torch.allclose(seen, own / own.norm(dim=1, keepdim=True), atol=1e-5)
    assert cosine_distance(seen[:1], seen[1:2]) > 1e-3  # they tell pictures apart


def test_an_encoder_that_is_not_here_is_not_downloaded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    write_encoder(cache, "dinov2")
    assert find_encoder("dinov2").parent.name == "snapshots"
    with pytest.raises(VelaturaError) as told:
        load_encoder("clip", "cpu")
    assert str(told.value) == (
        "openai/clip-vit-large-patch14 is not on this computer, and this command does not download it; run `hf "
        "download openai/clip-vit-large-patch14 config.json preprocessor_config.json model.safetensors` once"
    )
    monkeypatch.setattr("shutil.which", lambda _: None)  # as the installer leaves it
    monkeypatch.setattr("sys.executable", "/home/a b/bin/python")
    with pytest.raises(VelaturaError, match="run `'/home/a b/bin/hf' download openai/clip-vit-large-patch14"):
        load_encoder("clip", "cpu")
    with pytest.raises(VelaturaError, match="there is no encoder 'csd'; available are dinov2, clip"):
        find_encoder("csd")


@pytest.mark.parametrize("name", ENCODERS)
def test_files_that_are_not_an_encoders_are_refused(name: str, cache: Path) -> None:
    folder = write_encoder(cache, name)
    weights = load_file(folder / FILES[-1])
    lost = next(key for key in weights if "layernorm" in key and "text" not in key)
    save_file({key: tensor for key, tensor in weights.items() if key != lost}, folder / FILES[-1], {"format": "pt"})
    with pytest.raises(VelaturaError, match=f"the files of {ENCODERS[name].model} in .* cannot be used: .*layernorm"):
        load_encoder(name, "cpu")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(VelaturaError, match=f"the files of {ENCODERS[name].model} in .* cannot be used"):
        load_encoder(name, "cpu")
