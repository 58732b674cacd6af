"""`velatura install`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.studio.programs import find
from tests.app.command import call


def test_a_style_is_put_into_a_program_whose_folder_is_remembered(
    sdxl_style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "running_from", list)
    monkeypatch.setattr(find, "usual_folders", lambda _names: [])
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    runs, comfy = ("--out", tmp_path / "runs"), tmp_path / "comfy ui"
    (comfy / "comfy").mkdir(parents=True)
    assert "no program was found" in call("install", "--list", *runs).err
    missing = call("install", sdxl_style, "--into", "comfyui", *runs)
    assert missing.code == 1 and "ComfyUI was not found on this machine" in missing.err
    wrong = call("install", sdxl_style, "--into", "forge", "--folder", comfy, *runs)
    assert wrong.code == 1 and "is not the folder of Forge" in wrong.err

    done = call("install", sdxl_style, "--into", "ComfyUI", "--folder", comfy, *runs, "--json")
    assert done.code == 0, done.err
    placed = comfy / "models" / "loras" / "other.safetensors"
    assert json.loads(done.out)["file"] == str(placed) and placed.read_bytes() == sdxl_style.read_bytes()
    listed = json.loads(call("install", "--list", "--json", *runs).out)
    assert listed == [{"program": "comfyui", "folder": str(placed.parent), "found": "remembered"}]
    again = call("install", sdxl_style.parent.parent, "--into", "comfyui", *runs)
    assert again.code == 0 and "was there" in again.err and "Load LoRA" in again.err
    placed.write_bytes(b"somebody's")
    taken = call("install", sdxl_style, "--into", comfy, *runs)
    assert taken.code == 1 and "another file of this name" in taken.err and placed.read_bytes() == b"somebody's"
    assert call("install", sdxl_style, "--into", comfy, "--overwrite", *runs).code == 0

    for arguments, said in (((), "give a style and a program"), ((sdxl_style, "--into", "photoshop"), "is neither")):
        refused = call("install", *arguments, *runs)
        assert refused.code == 1 and said in refused.err
