"""Pictures that are small as files and huge once decoded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.studio.dataset.drafts import Drafts
from app.studio.dataset.uploads import Upload, take_in
from app.studio.paths import Paths
from tests.app.user_files import write_bomb
from tests.trainers.data.pictures import png_of

ROOT = Path(__file__).parents[2]
SIDE = 3500
AT_ONCE = 3
LIMIT = 150 * 2**20
"""Bytes for one picture of that side at a time."""

PEAK = """
from pathlib import Path

def peak():
    # The most bytes that this process has held since it was last asked. A child's ru_maxrss begins with its parent's.
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
"""

FLOOD = """
import json, sys, threading
from pathlib import Path
from app.studio.dataset.drafts import Drafts
from app.studio.paths import Paths
from app.studio.dataset.uploads import Upload, take_in
from trainers.data import decode_memory

decode_memory.MOST_BYTES = int(sys.argv[2])
places = Paths(Path(sys.argv[1]))
drafts = Drafts(places)
folders = sorted(places.uploads.iterdir())
take_in(drafts, "first", [Upload(next(folders[0].iterdir()), "first.tif")], folders[0])
peak()
before = peak()
kept = {}

def upload(folder):
    files = [Upload(path, path.name) for path in sorted(folder.iterdir())]
    kept[folder.name] = len(take_in(drafts, folder.name, files, folder).pictures)

threads = [threading.Thread(target=upload, args=(folder,)) for folder in folders[1:]]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps({"grown": peak() - before, "kept": sum(kept.values())}))
"""

AGAIN = """
import json, sys, threading
from pathlib import Path
from app.jobs.states import State
from app.studio.base_models import Bases
from app.studio.dataset.drafts import Drafts
from app.studio.generation.generations import Generations
from app.studio.generation.state import Generation, GenerationProgress, Record, Stage
from app.studio.paths import Paths
from app.studio.studio_queue import StudioQueue
from app.ui.components.runs.samples import Sample, address
from app.studio.styles.library import StyleLibrary
from app.studio.generation.request import GenerateRequest
from trainers.data import decode_memory
from trainers.training.previews import read_pictures
from trainers.training.prior import class_image
from trainers.sampling.sample import SamplingParams
from trainers.errors import VelaturaError

decode_memory.MOST_BYTES = int(sys.argv[2])
places, AT_ONCE = Paths(Path(sys.argv[1])), 4
queue, pictures = StudioQueue(places), sorted(places.uploads.iterdir())
generations = Generations(queue, StyleLibrary(queue), Bases(anywhere=True))

def folder(name, picture):
    place = places.runs / name
    place.mkdir(exist_ok=True)
    (place / "00.png").unlink(missing_ok=True)
    (place / "00.png").hardlink_to(picture)
    return place

def sample(picture, name):
    place, public = folder(name, picture), places.public / name
    public.mkdir(exist_ok=True)
    return address(Sample(0, 1, False, place / "00.png"), public, small=False)

def playground(picture, name):
    place = folder(name, picture)
    record = Record(request=GenerateRequest(prompts=("x",)), whose="user:ann", made=1.0)
    progress = GenerationProgress(Stage.ENDED)
    generation = Generation(name, place, record, State.FINISHED, progress, (place / "00.png",))
    return generations.web_copy(generation, 0, small=False)

def before(picture, name):
    return read_pictures(folder(name, picture), SamplingParams(("x",), (0,), size=(512, 512)))

def prior(picture, name):
    return class_image(folder(name, picture) / "00.png", (512, 512), "x")

def damaged_draft(picture, name):
    drafts = Drafts(places)
    draft = drafts.open(name)
    (drafts.pictures(draft) / "ab.png").hardlink_to(picture)
    for path in drafts.pictures(draft).parent.glob("draft*.json"):
        path.write_bytes(b"")
    return drafts.read(name).pictures

def at(place, picture, name):
    try:
        place(picture, name)
        done.append("taken in")
    except VelaturaError as error:
        done.append(str(error))

told = []
small, *others = pictures
for place in (damaged_draft, sample, playground, before, prior):
    done = []
    at(place, small, f"{place.__name__} first")
    for picture in others:
        done = []
        peak()
        start = peak()
        threads = [threading.Thread(target=at, args=(place, picture, f"{place.__name__} {picture.stem} {n}"))
                   for n in range(AT_ONCE)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        told.append([place.__name__, picture.stem, peak() - start, sorted(done)])
print(json.dumps(told))
"""


def write_float_tiff(path: Path, side: int) -> None:
    """A plain grey of 32-bit floats, which packs to a thousandth."""
    Image.fromarray(np.full((side, side), 0.5, np.float32)).save(path, compression="tiff_deflate")


@pytest.mark.thorough
def test_many_small_floats_at_once_stay_within_one_limit(tmp_path: Path) -> None:
    """Several visitors at once send small pictures that take 120 MB each; all are taken in, one at a time."""
    paths = Paths(tmp_path / "outputs")
    paths.make()
    write_float_tiff(tmp_path / "small.tif", 10)
    write_float_tiff(tmp_path / "large.tif", SIDE)
    assert (tmp_path / "large.tif").stat().st_size < 500_000
    for number in range(AT_ONCE + 1):
        folder = paths.uploads / f"visitor {number}"
        folder.mkdir()
        shutil.copy(tmp_path / ("large.tif" if number else "small.tif"), folder)
    command = [sys.executable, "-c", PEAK + FLOOD, str(paths.runs), str(LIMIT)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["kept"] == AT_ONCE
    left_of_smaller_ones = AT_ONCE * 2 * 2048**2 * 4  # what is kept of a picture while it is written
    assert told["grown"] < LIMIT + left_of_smaller_ones, told


@pytest.mark.parametrize("claimed", [(20_000, 20_000), (2**31 - 1, 1), (1, 2**31 - 1), (0, 0)])
def test_a_header_that_claims_too_much_is_not_believed(tmp_path: Path, claimed: tuple[int, int]) -> None:
    paths = Paths(tmp_path / "outputs")
    paths.make()
    path = paths.uploads / "bomb.png"
    if claimed[0] == claimed[1] and claimed[0]:
        write_bomb(path, claimed[0])
    else:
        header = claimed[0].to_bytes(4, "big") + claimed[1].to_bytes(4, "big") + bytes((8, 2, 0, 0, 0))
        path.write_bytes(png_of((b"IHDR", header), (b"IDAT", b"")))
    draft = take_in(Drafts(paths), "visitor:x", [Upload(path, "bomb.png")], paths.uploads)
    assert not draft.pictures and len(draft.left_out) == 1 and not path.exists()
    assert draft.left_out[0].reason.startswith("This file is ")


@pytest.mark.thorough
def test_no_picture_that_is_shown_or_trained_on_again_takes_more_than_the_limit(tmp_path: Path) -> None:
    """Four at once: 12 megapixels are read one after the other or made small, 25 are refused; so is a line of them."""
    paths = Paths(tmp_path / "outputs")
    paths.make()
    for name, size in (
        ("0 small", (64, 64)),
        ("1 large", (SIDE, SIDE)),
        ("2 huge", (5000, 5000)),
        ("3 line", (40_000, 1)),
    ):
        Image.new("RGB", size, "red").save(paths.uploads / f"{name}.png", compress_level=1)
    assert all(path.stat().st_size < 3_000_000 for path in paths.uploads.iterdir())
    command = [sys.executable, "-c", PEAK + AGAIN, str(paths.runs), str(LIMIT)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told) == 5 * 3
    copies_beside = AT_ONCE * 2048**2 * 8  # what is kept of a picture while it is encoded
    for place, picture, grown, came in told:
        assert grown < LIMIT + copies_beside, (place, picture, grown)
        refused = picture == "2 huge" and place in ("before", "prior")
        assert all(("is too large" in one) == refused for one in came), (place, picture, came)
