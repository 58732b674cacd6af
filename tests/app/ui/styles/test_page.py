"""What the page of the styles answers, without a browser."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import torch
from safetensors.torch import save_file

from app.studio.dataset.uploads import sender_folder
from app.studio.paths import UploadFolder
from app.studio.services import open_services
from app.studio.studio_queue import StudioQueue
from app.ui.components.download_menu import StyleFileWanted
from app.ui.components.events import UploadedFile
from app.ui.styles.events import FilesUploaded, StyleAction
from app.ui.styles.page import StylesPage
from tests.app.ui.ended_runs import LAYER


def test_of_several_files_each_is_taken_in_or_refused_in_a_line_of_its_own(queue: StudioQueue) -> None:
    uploads = UploadFolder(queue.paths)
    services = open_services(queue.paths, uploads.path)
    with gr.Blocks():
        page = StylesPage(services)
    place: Path = sender_folder(uploads.path, "") / "one upload" / "ink.safetensors"
    place.parent.mkdir(parents=True)
    up, down = torch.ones(320, 2), torch.ones(2, 768)
    save_file({f"{LAYER}.lora_up.weight": up, f"{LAYER}.lora_down.weight": down}, place)
    files = [{"name": "<i>.bin", "problem": "other"}, {"name": place.name, "path": str(place)}]
    request: Any = SimpleNamespace(username=None, cookies={}, session_hash="x")
    event = FilesUploaded(files=tuple(UploadedFile(**file) for file in files), count=3)
    shown = page.on_files_uploaded(event, request, "{}")
    services.close()
    uploads.close()
    notice = shown[page.notice]
    assert notice.count('<div class="banner') == 2 and "“&lt;i&gt;.bin” does not end in .safetensors" in notice
    assert "Made elsewhere: the file names no trigger words." in shown[page.list]
    assert "data-copy" not in shown[page.list], "there are no words to copy"
    assert "ink was imported." in notice and "<h2>ink</h2>" in shown[page.list] and shown[page.intake] == {"ack": 3}


def test_a_damaged_file_of_the_folder_is_named_below_the_styles(queue: StudioQueue, tmp_path: Path) -> None:
    services = open_services(queue.paths, tmp_path)
    with gr.Blocks():
        page = StylesPage(services)
    request: Any = SimpleNamespace(username=None, cookies={}, session_hash="x")
    damaged = queue.paths.styles / "<i>.safetensors"
    damaged.write_bytes(b"")
    os.utime(damaged, (1, 1))
    for number in range(10):
        (queue.paths.styles / f"z{number}.safetensors").mkdir()
        os.utime(queue.paths.styles / f"z{number}.safetensors", (1, 1))
    line = '<p class="hint">“&lt;i&gt;.safetensors” is empty; copy or download it again.</p>'
    assert line in page.refresh("{}", "", request)[page.list], "where there is no style"
    up, down = torch.ones(320, 2), torch.ones(2, 768)
    style = {f"{LAYER}.lora_up.weight": up, f"{LAYER}.lora_down.weight": down}
    save_file(style, queue.paths.styles / "ink.safetensors")
    shown = page.refresh("{}", "", request)[page.list]
    services.close()
    assert line in shown and "<h2>ink</h2>" in shown
    assert shown.count('<p class="hint">“') == 10 and '<p class="hint">And 1 more.</p>' in shown


def test_styles_are_put_into_programs_of_the_owner_s_machine_alone(queue: StudioQueue, tmp_path: Path) -> None:
    style = queue.paths.styles / "ink.safetensors"
    up, down = torch.ones(320, 2), torch.ones(2, 768)
    save_file({f"{LAYER}.lora_up.weight": up, f"{LAYER}.lora_down.weight": down}, style)
    comfy = tmp_path / "comfy"
    (comfy / "comfy").mkdir(parents=True)
    request: Any = SimpleNamespace(username=None, cookies={}, session_hash="x")
    for shared in (True, False):
        services = open_services(queue.paths, tmp_path, shared=shared)
        with gr.Blocks():
            page = StylesPage(services)
        (item,) = services.library.entries()
        put = StyleAction(what="put", about=item.id, program="comfyui", folder=str(comfy))
        notice = page.on_asked(put, request, "{}")[page.notice]
        listed = page.refresh("{}", "", request)[page.list]
        if shared:
            assert "only whoever runs this studio" in notice.lower() and "Put into" not in listed
            fetched = page.on_fetched(StyleFileWanted(file=f"into-comfyui {item.id}"), request)
            assert "only whoever runs" in fetched[page.notice].lower() and not (comfy / "models").exists()
            services.close()
            continue
        assert "ink is in ComfyUI now" in notice and (comfy / "models/loras/ink.safetensors").is_file()
        assert "Put into ComfyUI" in listed and "Put into another program" in listed
        again = page.on_fetched(StyleFileWanted(file=f"into-comfyui {item.id}"), request)
        assert "ink was in ComfyUI already" in again[page.notice]
        services.close()
