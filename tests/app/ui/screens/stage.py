"""What the screens are made of: studios of their own, pictures with a fault each, styles in the library."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

from app.jobs.store import Store
from app.ui.document.language import COOKIE
from tests.app.ui.server import Process
from tests.app.ui.visitor import READY
from tests.trainers.data.pictures import scene
from trainers.runs.events import Recorder


@dataclass(frozen=True)
class Stage:
    """Where the screens are played."""

    page: Any
    studio: Process
    locked: Process
    """A studio with a login, `ann` and `pear`."""
    files: list[Path]

    @property
    def out(self) -> Path:
        """The folder of the studio's runs."""
        return self.studio.out

    @property
    def pictures(self) -> list[Path]:
        """Three of the files, with which little is wrong."""
        return [file for file in self.files if file.name in ("red boat.png", "IMG_1234.jpg", "plain.webp")]

    @property
    def store(self) -> Store:
        """The studio's queue."""
        return Store(self.out)

    def go(self, path: str = "", wait: str = READY) -> None:
        """Open a page of the studio, and wait for what tells that it is there."""
        self.page.goto(self.studio.url + path)
        self.page.wait_for_selector(wait)

    def go_fresh(self) -> Path:
        """Go to an empty first step; the file of its draft."""
        page = self.page
        self.go()
        if page.evaluate("document.body.dataset.pictures") != "0":
            self.unfold()
            self.press("Start fresh")
            page.wait_for_selector("body[data-pictures='0']")
        return self.out / ".studio" / "drafts" / page.evaluate("document.body.dataset.draft") / "draft.json"

    def unfold(self, open: bool = True) -> None:
        """Open or close the tools above the pictures, which are folded on phones."""
        summary = self.page.locator(".toolbox > summary")
        if summary.is_visible() and self.page.locator(".toolbox").evaluate("tools => tools.open") != open:
            summary.click()

    def press(self, label: str, within: Any = None) -> None:
        """Press the button with this label."""
        (within or self.page).get_by_role("button", name=label, exact=True).click()

    @contextmanager
    def speaking(self, language: str) -> Iterator[None]:
        """Let the pages speak a language for a while."""
        self.page.context.add_cookies([{"name": COOKIE, "value": language, "url": self.studio.url}])
        try:
            yield
        finally:
            self.page.context.clear_cookies(name=COOKIE)

    def to_cards(self) -> None:
        """Scroll to the pictures' cards."""
        self.page.evaluate("scrollTo(0, document.querySelector('.cards').getBoundingClientRect().top + scrollY - 80)")


@contextmanager
def hung_styles(out: Path) -> Iterator[None]:
    """Two styles in the library for a while: one of a run, one from elsewhere."""
    run, brought = out / "Harbour blue", out / ".studio/styles/pixel night.safetensors"
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {f"{layer}.lora_up.weight": torch.ones(320, 8), f"{layer}.lora_down.weight": torch.ones(8, 768)}
    (run / "samples/final").mkdir(parents=True)
    (run / "style").mkdir()
    (run / "config.toml").write_text('name = "Harbour blue"\n[base]\nmodel = "watercolour-v1"\n', encoding="utf-8")
    save_file(tensors, run / "style/Harbour blue.safetensors", {"velatura.trigger": "harbour style"})
    for number in range(4):
        scene(20 + number, (512, 512)).save(run / f"samples/final/{number:02d}.png")
    tags = {"1_x": {"pixel art": 40, "night city": 20, "<b>neon</b>": 12}}
    save_file(tensors, brought, {"ss_tag_frequency": json.dumps(tags), "modelspec.author": "somebody else"})
    Recorder(run)("done", step=600)
    try:
        yield
    finally:
        shutil.rmtree(run)
        brought.unlink()


def write_files(folder: Path) -> list[Path]:
    """Pictures with a fault each, and two files that are none."""
    folder.mkdir(parents=True)
    scene(1, (900, 700)).save(folder / "red boat.png")
    scene(1, (900, 700)).resize((450, 350)).save(folder / "red boat, smaller.jpg")
    scene(2, (800, 600)).save(folder / "IMG_1234.jpg")
    scene(6, (1600, 260)).save(folder / "wide panorama.png")
    scene(5, (40, 30)).save(folder / "tiny pear.bmp")
    cut = scene(7, (640, 640)).convert("RGBA")
    cut.paste((0, 0, 0, 0), (0, 0, 200, 640))
    cut.save(folder / "cut out.png")
    Image.new("RGB", (500, 500), "teal").save(folder / "plain.webp")
    (folder / "notes.png").write_text("not an image", encoding="utf-8")
    (folder / "a page with a very long name that goes on and on and on.svg").write_text("<svg/>", encoding="utf-8")
    return sorted(folder.iterdir())
