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

from app.ui.drafts import Drafts
from app.ui.places import Places
from app.ui.uploads import Upload, take_in
from tests.app.files import write_bomb
from tests.trainers.data.pictures import png_of

ROOT = Path(__file__).parents[2]
SIDE = 5000
AT_ONCE = 4

FLOOD = """
import json, resource, sys, threading
from pathlib import Path
from app.ui.drafts import Drafts
from app.ui.places import Places
from app.ui.uploads import Upload, take_in
from trainers.data import decode_memory

decode_memory.MOST_BYTES = int(sys.argv[2])
places = Places(Path(sys.argv[1]))
drafts = Drafts(places)
folders = sorted(places.uploads.iterdir())
take_in(drafts, "first", [Upload(next(folders[0].iterdir()), "first.tif")], folders[0])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kept = {}

def upload(folder):
    files = [Upload(path, path.name) for path in sorted(folder.iterdir())]
    kept[folder.name] = len(take_in(drafts, folder.name, files, folder).pictures)

threads = [threading.Thread(target=upload, args=(folder,)) for folder in folders[1:]]
for thread in threads: thread.start()
for thread in threads: thread.join()
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
print(json.dumps({"grown": grown, "kept": sum(kept.values())}))
"""


def write_float_tiff(path: Path, side: int) -> None:
    """A plain grey of 32-bit floats, which packs to a thousandth."""
    Image.fromarray(np.full((side, side), 0.5, np.float32)).save(path, compression="tiff_deflate")


def test_many_small_floats_at_once_stay_within_one_limit(tmp_path: Path) -> None:
    """Several visitors at once send small pictures that take 250 MB each; all are taken in, one at a time."""
    places = Places(tmp_path / "outputs")
    places.make()
    write_float_tiff(tmp_path / "small.tif", 10)
    write_float_tiff(tmp_path / "large.tif", SIDE)
    assert (tmp_path / "large.tif").stat().st_size < 500_000
    for number in range(AT_ONCE + 1):
        folder = places.uploads / f"visitor {number}"
        folder.mkdir()
        shutil.copy(tmp_path / ("large.tif" if number else "small.tif"), folder)
    limit = 300 * 2**20
    command = [sys.executable, "-c", FLOOD, str(places.runs), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["kept"] == AT_ONCE
    left_of_smaller_ones = AT_ONCE * 2 * 2048**2 * 4  # what is kept of a picture while it is written
    assert told["grown"] < limit + left_of_smaller_ones, told


@pytest.mark.parametrize("claimed", [(20_000, 20_000), (2**31 - 1, 1), (1, 2**31 - 1), (0, 0)])
def test_a_header_that_claims_too_much_is_not_believed(tmp_path: Path, claimed: tuple[int, int]) -> None:
    places = Places(tmp_path / "outputs")
    places.make()
    path = places.uploads / "bomb.png"
    if claimed[0] == claimed[1] and claimed[0]:
        write_bomb(path, claimed[0])
    else:
        header = claimed[0].to_bytes(4, "big") + claimed[1].to_bytes(4, "big") + bytes((8, 2, 0, 0, 0))
        path.write_bytes(png_of((b"IHDR", header), (b"IDAT", b"")))
    draft = take_in(Drafts(places), "visitor:x", [Upload(path, "bomb.png")], places.uploads)
    assert not draft.pictures and len(draft.left_out) == 1 and not path.exists()
    assert draft.left_out[0].reason.startswith("This file is ")
