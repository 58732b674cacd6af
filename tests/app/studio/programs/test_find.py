"""Finding the programs on this machine that draw with styles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.studio.programs import find
from app.studio.programs.find import KINDS, Nearby, Remembered, find_programs, kind_of
from tests.waiting import wait_until
from trainers.errors import VelaturaError

RUNNING_FROM = find.running_from


def make(folder: Path, *marks: str) -> Path:
    for mark in marks:
        (folder / mark).mkdir(parents=True)
    return folder


def test_programs_are_found_where_they_usually_lie(home: Path) -> None:
    assert find_programs({}) == []
    make(home / "ComfyUI", "comfy")
    make(home / "here" / "stable-diffusion-webui-forge", "modules_forge", "webui.py")
    make(home / "stable-diffusion-webui", "extensions")  # a folder of the right name, with nothing of A1111
    make(home / "invokeai", "databases")
    found = find_programs({})
    assert [(place.kind, place.found) for place in found] == [(k, "usual") for k in ("comfyui", "forge", "invoke")]
    assert found[0].styles == home / "ComfyUI/models/loras"
    assert found[0].embeddings == home / "ComfyUI/models/embeddings"
    assert found[1].styles == home / "here/stable-diffusion-webui-forge/models/Lora"
    make(home / "stable-diffusion-webui", "webui.py")
    assert [place.kind for place in find_programs({})] == list(KINDS)


def test_what_a_person_says_counts_before_what_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, running, named, kept = (make(home / each, "comfy") for each in ("ComfyUI", "running", "named", "kept"))
    for wins, change in (
        ((usual, "usual"), lambda: None),
        ((running, "running"), lambda: monkeypatch.setattr(find, "running_from", lambda: [home, running])),
        ((named, "variable"), lambda: monkeypatch.setenv("COMFYUI_PATH", str(named))),
    ):
        change()
        (place,) = find_programs({})
        assert (place.folder, place.found) == wins
    (place,) = find_programs({"comfyui": kept})
    assert (place.folder, place.found) == (kept, "remembered")
    (place,) = find_programs({"comfyui": home / "moved away"})
    assert place.folder == named


def test_a_folder_is_remembered_if_the_program_is_there(home: Path) -> None:
    remembered, forge = Remembered(home / "outputs"), make(home / "forge", "modules_forge", "webui.py")
    assert remembered.read() == {} and kind_of(forge) == "forge"
    for wrong in ("comfyui", "a1111"):
        with pytest.raises(VelaturaError, match=r"is not the folder of"):
            remembered.keep(wrong, forge)  # type: ignore[arg-type]
    assert remembered.keep("forge", Path("~/forge")).folder == forge
    assert Remembered(home / "outputs").read() == {"forge": forge}


def test_a_shared_studio_offers_no_programs(home: Path) -> None:
    make(home / "ComfyUI", "comfy")
    shared, own = Nearby(home / "outputs", allowed=False), Nearby(home / "outputs", allowed=True)
    assert shared.found() == [] and [place.kind for place in own.found()] == ["comfyui"]
    for do in (lambda: shared.of("comfyui"), lambda: shared.remember("comfyui", home / "ComfyUI")):
        with pytest.raises(VelaturaError, match="only whoever runs this studio"):
            do()
    with pytest.raises(VelaturaError, match="no longer where it was"):
        own.of("forge")
    own.remember("forge", make(home / "forge", "modules_forge"))
    assert own.of("forge").folder == home / "forge", "without waiting for the next search"


@pytest.mark.process
def test_a_running_program_is_found_by_its_script(tmp_path: Path) -> None:
    folder = make(tmp_path / "anywhere", "comfy")
    (folder / "main.py").write_text("import sys; sys.stdin.read()", encoding="utf-8")
    running = subprocess.Popen([sys.executable, "-S", "main.py"], cwd=folder, stdin=subprocess.PIPE)
    try:
        wait_until(lambda: folder in [each.resolve() for each in RUNNING_FROM()], "not found")
    finally:
        running.communicate()
