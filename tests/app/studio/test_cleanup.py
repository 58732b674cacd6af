"""What browsers could see goes with what it was made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import save_file

from app.jobs.permissions import MACHINE_OWNER
from app.studio.cleanup import sweep_public
from app.studio.dataset.drafts import Draft
from app.studio.dataset.uploads import take_folder
from app.studio.public_files import offer_file
from app.studio.runs import samples
from app.studio.studio_queue import StudioQueue
from app.studio.styles.library import StyleLibrary
from app.ui.train.image_sets_view import read_strips
from tests.app.studio.styles.test_library import LORA
from trainers.data.sample_sets import read_sets
from trainers.runs.events import Recorder

ANNA = "user:anna"


def finished_run(queue: StudioQueue, name: str) -> Path:
    """A run with a sample and a style file, whose copies for pages and downloads there are; its public folder."""
    run = queue.paths.runs / name
    (run / "samples" / "step-00000000").mkdir(parents=True)
    (run / "style").mkdir()
    (run / "config.toml").write_text(f'name = "{name}"\n[method]\nname = "lora"\n[base]\nmodel = "starter"\n')
    Image.new("RGB", (64, 64)).save(run / "samples" / "step-00000000" / "00.png")
    save_file(LORA, run / "style" / f"{name}.safetensors")
    Recorder(run)("done", step=1)
    public = queue.public_of(run)
    (sample,) = samples.find_samples(run)[0]
    samples.put_sample(sample, public, True)
    offer_file(run / "style" / f"{name}.safetensors", public)
    return public


def shown(public: Path) -> list[str]:
    return sorted(path.suffix for path in public.rglob("*") if path.is_file())


def test_a_deleted_run_takes_its_copies_along(queue):
    gone, other = finished_run(queue, "dusk"), finished_run(queue, "dawn")
    assert shown(gone) == [".safetensors", ".webp"]
    queue.delete(queue.number("dusk", actor=MACHINE_OWNER), actor=MACHINE_OWNER)
    assert not gone.exists() and shown(other) == [".safetensors", ".webp"]


@pytest.mark.parametrize(("with_run", "left"), [(False, [".webp"]), (True, [])])
def test_a_deleted_style_takes_its_copies_along(queue, with_run, left):
    public, library = finished_run(queue, "dusk"), StyleLibrary(queue)
    item = next(item for item in library.entries() if item.name == "dusk")
    offered = library.download(item, "safetensors")
    library.remove(item, with_run, actor=MACHINE_OWNER)
    assert shown(public) == left and not offered.exists()
    assert (queue.paths.runs / "dusk").exists() is not with_run


def test_what_has_lost_its_owner_is_swept_at_the_start(queue, drafts):
    drawings = queue.paths.root / "drawings"
    drawing, moved = drawings / "drawing-1", queue.paths.runs / "moved"
    kept = [finished_run(queue, "dusk"), drafts.previews(take_folder(drafts, ANNA, read_sets()["photograph"].folder))]
    lost = [finished_run(queue, "moved"), drafts.previews(Draft(id="x", public="a" * 22))]
    for folder in (drawing, drawings / "drawing-2"):
        folder.mkdir(parents=True)
        public = queue.public_of(folder)
        Image.new("RGB", (8, 8)).save(public / "whole-0.webp")
        (kept if folder == drawing else lost).append(public)
    read_strips(queue.paths)
    (drawings / "drawing-2").rmdir()
    moved.rename(queue.paths.runs / "was moved")
    (queue.paths.drafts / "broken").mkdir()
    (queue.paths.drafts / "broken" / "draft.json").write_text("{")
    sweep_public(queue, drafts, drawings)
    assert all(any(folder.iterdir()) for folder in kept) and not any(folder.exists() for folder in lost)
    assert list((queue.paths.public / "samples").iterdir())
