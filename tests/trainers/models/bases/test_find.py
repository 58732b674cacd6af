"""Bases that are on the machine are found where people keep them, and nothing else is."""

from __future__ import annotations

import os
import shutil

import pytest
import torch
from safetensors.torch import save_file

from tests.tiny import tiny_single_file
from tests.trainers.models.files.test_source import cache_snapshot
from trainers.models.bases.find import find_models


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """An empty home and working folder."""
    for name in ("home", "work/here", "cache"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.delenv("VELATURA_MODELS", raising=False)
    monkeypatch.chdir(tmp_path / "work" / "here")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_only_the_starter(machine):
    (found,) = find_models()
    assert (found.name, found.kind, found.family.name) == ("starter", "starter", "sd1")
    (machine / "cache").rmdir()  # no cache at all is no error
    assert len(find_models()) == 1


def test_a_starter_that_is_none_hides_no_other_base(machine, tiny_bases, monkeypatch):
    monkeypatch.setenv("VELATURA_STARTER", str(machine))
    monkeypatch.setenv("VELATURA_MODELS", str(tiny_bases["sd1"].parent))
    assert find_models() and all(each.kind != "starter" for each in find_models())


def test_everything_is_found_once(machine, tiny_bases, monkeypatch):
    a1111 = machine / "home" / "stable-diffusion-webui" / "models" / "Stable-diffusion"
    comfy = machine / "work" / "ComfyUI" / "models" / "checkpoints"
    mine = machine / "mine"
    tiny_single_file("sd1", a1111 / "anime" / "one.safetensors")
    tiny_single_file("sdxl", comfy / "two.safetensors")
    shutil.copytree(tiny_bases["sd2-v"], mine / "three")
    (mine / "again.safetensors").symlink_to(comfy / "two.safetensors")
    cache_snapshot(machine / "cache", "someone/four", tiny_bases["sd2"], {e.name for e in tiny_bases["sd2"].iterdir()})
    # What is no base stays out of the list.
    save_file({"x.lora_down.weight": torch.ones(1)}, a1111 / "style.safetensors")
    (a1111 / "old.ckpt").write_bytes(b"pickle")
    (comfy / "broken.safetensors").write_bytes(b"not at all")
    monkeypatch.setenv("VELATURA_MODELS", os.pathsep.join([str(mine), "", str(machine / "nowhere")]))

    found = find_models()
    assert [(each.name, each.family.name, each.kind) for each in found] == [
        ("starter", "sd1", "starter"),
        ("someone/four", "sd2", "hub"),
        (str(a1111 / "anime" / "one.safetensors"), "sd1", "a1111"),
        (str(comfy / "two.safetensors"), "sdxl", "comfyui"),
        (str(mine / "three"), "sd2", "folder"),
    ]
    assert all(each.path.exists() for each in found)


def test_search_is_not_endlessly_deep(machine, monkeypatch):
    near, far = machine / "mine" / "1" / "2" / "3", machine / "mine" / "1" / "2" / "3" / "4"
    tiny_single_file("sd1", near / "near.safetensors")
    tiny_single_file("sd1", far / "far.safetensors")
    monkeypatch.setenv("VELATURA_MODELS", str(machine / "mine"))
    assert [each.path.name for each in find_models()] == ["starter", "near.safetensors"]


def test_a_link_to_its_own_parent_ends(machine, monkeypatch):
    (machine / "mine").mkdir()
    (machine / "mine" / "loop").symlink_to(machine / "mine")
    tiny_single_file("sd1", machine / "mine" / "one.safetensors")
    monkeypatch.setenv("VELATURA_MODELS", str(machine / "mine"))
    assert len(find_models()) == 2
