from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainers.captioning.captioners import WORDS, write_blip, write_florence, write_tagger
from trainers.captioning.models import CAPTIONERS, LONGEST, fetch_captioner, find_captioner, load_captioner
from trainers.errors import VelaturaError

WRITERS = {"blip": write_blip, "florence-2": write_florence, "wd14": write_tagger}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as VELATURA_MODELS names it: tiny models under the names of the real ones."""
    folder = tmp_path_factory.mktemp("models")
    for name, write in WRITERS.items():
        write(folder / CAPTIONERS[name].model.partition("/")[2])
    return folder


@pytest.fixture
def here(models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VELATURA_MODELS", f"/nowhere:{models}")
    return models


def plain(red: int, green: int, blue: int) -> Image.Image:
    return Image.new("RGB", (60, 60), (red, green, blue))


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8))


@pytest.mark.parametrize("name", CAPTIONERS)
def test_models_are_found_where_they_were_put(name: str, here: Path) -> None:
    found = fetch_captioner(name)
    assert found == here / CAPTIONERS[name].model.partition("/")[2] == find_captioner(name)
    assert (found / CAPTIONERS[name].files[-1]).is_file()


def test_tags_that_are_sure_the_surest_first(here: Path) -> None:
    write = load_captioner("wd14", fetch_captioner("wd14"), "cpu")
    assert write(plain(250, 120, 10)) == "red fox, green tree"
    assert write(plain(10, 120, 250)) == "blue sky, green tree", "the red fox, a character, must be surer than 0.85"
    assert write(plain(200, 80, 80)) == "", "0.31 is not sure enough, nor is 0.78 for a character"
    assert write(plain(0, 0, 255).resize((80, 10))) == "blue sky, green tree, red fox", "wide ones lie on white"


@pytest.mark.parametrize("name", ["blip", "florence-2"])
def test_sentences_depend_on_the_picture(name: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LONGEST, name, 12)
    write = load_captioner(name, fetch_captioner(name), "cpu")
    said = [write(noise(seed)) for seed in range(3)]
    assert said == [write(noise(seed)) for seed in range(3)]
    assert len(set(said)) > 1, said
    for text in said:
        assert text == text.strip() and not any(mark in text for mark in "[]<>")
        assert 0 < len(text.split()) <= 12
    if name == "blip":
        assert {word for text in said for word in text.split()} <= set(WORDS[5:])


def test_pickles_are_never_opened(models: Path, tmp_path: Path) -> None:
    import torch

    folder = tmp_path / "blip"
    folder.mkdir()
    for file in (models / "blip-image-captioning-base").iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(VelaturaError, match=r"the files of BLIP in .* cannot be used"):
        load_captioner("blip", folder, "cpu")


def test_without_a_network_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELATURA_MODELS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "wd-vit-tagger-v3").mkdir()
    with pytest.raises(VelaturaError, match="WD14 tagger is not on this computer and there is no network") as refused:
        fetch_captioner("wd14")
    assert str(refused.value).endswith("Write captions by hand, or try again once there is one.")


def test_an_unknown_captioner_is_named_with_those_there_are(tmp_path: Path) -> None:
    for call in (find_captioner, fetch_captioner, lambda name: load_captioner(name, tmp_path)):
        with pytest.raises(VelaturaError, match="no captioning model 'nice'; available are blip, florence-2, wd14"):
            call("nice")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    write_tagger(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"not onnx")
    with pytest.raises(VelaturaError, match=r"the files of WD14 tagger in .* cannot be used"):
        load_captioner("wd14", tmp_path)
