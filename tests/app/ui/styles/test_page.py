"""What the page of the styles answers, without a browser."""

from __future__ import annotations

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
from app.ui.components.events import UploadedFile
from app.ui.styles.events import FilesUploaded
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
    event = FilesUploaded(files=tuple(UploadedFile(**file) for file in files), batch=3)
    shown = page.on_files_uploaded(event, request, "{}", "")
    services.close()
    uploads.close()
    notice = shown[page.notice]
    assert notice.count('<div class="banner') == 2 and "“&lt;i&gt;.bin” does not end in .safetensors" in notice
    assert "ink was imported." in notice and "<h2>ink</h2>" in shown[page.list] and shown[page.intake] == {"batch": 3}
