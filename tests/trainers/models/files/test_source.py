"""What the settings may name, and the sentence for what they may not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import presets
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.models.files.hub import cached_snapshot
from trainers.models.files.source import find_source, starter_folder
from trainers.models.load import load_model


def test_starter():
    source = find_source("starter")
    assert (source.kind, source.title, source.path) == ("starter", "Velatura starter", starter_folder())
    assert (source.path / "unet" / "config.json").is_file()


def test_another_version_of_the_starter(tiny_bases, tmp_path, monkeypatch):
    monkeypatch.setenv("VELATURA_STARTER", str(tiny_bases["sd1"]))
    source = find_source("starter")
    assert (source.kind, source.path) == ("starter", tiny_bases["sd1"])
    monkeypatch.setenv("VELATURA_STARTER", str(tmp_path))
    with pytest.raises(VelaturaError, match=r"VELATURA_STARTER is .* where there is no model_index\.json"):
        find_source("starter")
    monkeypatch.setenv("VELATURA_STARTER", "")
    assert find_source("starter").path == Path(presets.__path__[0]) / "starter"


def test_folder_and_file(tiny_bases, tmp_path):
    source = find_source(str(tiny_bases["sd1"]))
    assert (source.kind, source.title) == ("folder", "sd1")
    file = tmp_path / "my.base v2.safetensors"
    file.write_bytes(b"x")
    source = find_source(str(file))
    assert (source.kind, source.title, source.path) == ("file", "my.base v2", file)


def test_home_is_expanded(tiny_bases, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny_bases["sd1"].parent))
    assert find_source("~/sd1").path == tiny_bases["sd1"]


@pytest.mark.parametrize("name", ["a.ckpt", "a.pt", "a.PTH", "a.bin"])
def test_pickles_are_refused_unopened(name, tmp_path):
    file = tmp_path / name
    file.write_bytes(b"whatever")
    for each in (file, tmp_path / "missing" / name):
        with pytest.raises(VelaturaError, match=f"{name} is a pickle, which can run code .* convert it to"):
            find_source(str(each))


@pytest.mark.parametrize(
    "name", ["", " ", "nowhere", "no/such/folder", "./a/b", "C:\\models\\x", "a/b.safetensors", "x y/z"]
)
def test_nothing_there(name):
    with pytest.raises(VelaturaError, match="there is no base model") as caught:
        find_source(name)
    assert "`starter`" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"Dear diary, this is no checkpoint.", "is not a .safetensors file")],
)
def test_text_and_empty_files_as_base(content, reason, tmp_path):
    for name in ("base.safetensors", "base.txt"):
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(VelaturaError, match=reason):
            load_model(Base(model=str(file)), torch.float32, "cpu")


def cache_snapshot(cache: Path, model: str, folder: Path, parts: set[str]) -> Path:
    """Lay `parts` of a folder into a hub cache as the hub's client does: a snapshot of links, and a ref to it."""
    root = cache / f"models--{model.replace('/', '--')}"
    snapshot = root / "snapshots" / ("0" * 40)
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("0" * 40)
    snapshot.mkdir(parents=True)
    for entry in folder.iterdir():
        if entry.name in parts or entry.is_file():
            (snapshot / entry.name).symlink_to(entry)
    return snapshot


def test_hub_id_from_the_local_cache(tiny_bases, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    everything = {entry.name for entry in tiny_bases["sdxl"].iterdir()}
    snapshot = cache_snapshot(tmp_path, "someone/tiny-xl", tiny_bases["sdxl"], everything)
    source = find_source("someone/tiny-xl")
    assert (source.kind, source.title, source.path) == ("hub", "someone/tiny-xl", snapshot)
    model = load_model(Base(model="someone/tiny-xl"), torch.float32, "cpu")
    assert (model.family.name, model.title, model.source) == ("sdxl", "someone/tiny-xl", "someone/tiny-xl")
    cache_snapshot(tmp_path, "someone/half", tiny_bases["sdxl"], everything - {"text_encoder_2"})
    assert cached_snapshot("someone/half") is None
    assert cached_snapshot("someone/else") is None
