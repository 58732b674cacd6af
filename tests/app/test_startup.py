"""Every process of ours starts quickly: what is set before torch is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]

COUNTED = """
import gc, json, os, sys
if sys.argv[1] == "prepared":
    from app.startup import prepare_process
    prepare_process()
collections = []
gc.callbacks.append(lambda phase, info: collections.append(info["generation"]) if phase == "start" else None)
import asyncio, email, http.client, inspect, typing, unittest.mock, xml.dom.minidom, pydantic, PIL.Image, numpy
print(json.dumps([len(collections), gc.get_threshold(), os.environ.get("GOMP_SPINCOUNT")]))
"""


def count(how: str) -> tuple[int, list[int], str | None]:
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    command = [sys.executable, "-c", COUNTED, how]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    collections, thresholds, spins = json.loads(done.stdout)
    return collections, thresholds, spins


def test_a_prepared_process_collects_garbage_a_tenth_as_often():
    bare, thresholds, spins = count("bare")
    assert thresholds[0] < 20_000 and spins is None
    prepared, thresholds, spins = count("prepared")
    assert thresholds == [20_000, 20, 20] and spins == "10000"
    assert prepared * 10 <= bare


def test_a_prepared_process_leaves_large_images_to_our_own_sentence(tmp_path: Path):
    Image.new("1", (9_900, 9_900)).save(tmp_path / "large.png")  # Pillow warns from 89 million pixels on, 100 are ours
    code = "import sys; {}from PIL import Image; Image.open(sys.argv[1])"
    said = []
    for prepare in ("", "from app.startup import prepare_process; prepare_process(); "):
        command = [sys.executable, "-c", code.format(prepare), str(tmp_path / "large.png")]
        said.append(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stderr)
    assert "DecompressionBombWarning" in said[0] and said[1] == ""
