from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.trainers.data.decoding import SIZE, write_kinds
from trainers.data import decode
from trainers.data.decode_memory import MOST_BYTES, OVERHEAD, DecodeBudget, bytes_to_decode

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    write_kinds(folder)
    return folder


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_decoding_takes_no_more_than_was_foreseen_from_the_header(kinds: Path) -> None:
    command = [sys.executable, "-m", "tests.trainers.data.decoding", str(kinds), "1000000"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 2 * 17
    pixels = SIZE[0] * SIZE[1]
    for name, (taken, foreseen) in found.items():
        assert taken <= foreseen, (name, taken / pixels, foreseen / pixels)
        assert foreseen <= taken + 20 * pixels + OVERHEAD, f"{name} is refused for nothing"


def test_what_is_foreseen_follows_the_size(kinds: Path) -> None:
    def foreseen(name: str, size: tuple[int, int]) -> int:
        with Image.open(kinds / name) as opened:
            opened._size = size
            return bytes_to_decode(opened)

    for name in ("rgb.png", "rgba.png", "l.png", "p.png", "i16.png", "f.tif", "progressive.jpg"):
        assert foreseen(name, (10_000, 10_000)) <= MOST_BYTES, f"100 million pixels of {name} are read"
    for name in ("clear.avif", "clear.heic", "animated.webp"):
        assert foreseen(name, (8064, 6048)) <= MOST_BYTES, f"a telephone's 48 million pixels of {name} are read"
    assert foreseen("deep.heic", (10_000, 10_000)) > MOST_BYTES
    assert foreseen("rgb.png", (100_000_000, 1)) > MOST_BYTES, "two rows alone are more"


def test_what_needs_more_than_the_limit_is_refused_unread(kinds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "decode_budget", lambda: DecodeBudget(30_000_000))
    with pytest.raises(
        decode.UnreadableError,
        match=r"f.tif is too large: opening it takes about 34 MB of memory, and 30 MB are the most",
    ):
        decode.open_image(kinds / "f.tif")


@given(st.lists(st.integers(1, 100), min_size=1, max_size=12))
def test_the_budget_is_never_passed_and_everybody_gets_a_turn(sizes: list[int]) -> None:
    budget = DecodeBudget(100)
    lock, holders, most, served = threading.Lock(), list[int](), 0, 0

    def take(size: int) -> None:
        nonlocal most, served
        with budget.reserve(size):
            with lock:
                holders.append(size)
                most = max(most, sum(holders))
            while len(holders) + len(budget._line) + served < len(sizes):  # until all others have come
                time.sleep(0.0005)
            with lock:
                holders.remove(size)
                served += 1

    threads = [threading.Thread(target=take, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert served == len(sizes) and 0 < most <= 100
    with pytest.raises(ValueError, match="101 bytes"), budget.reserve(101):
        pass


def test_an_image_waits_until_there_is_memory_for_it(kinds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = DecodeBudget(MOST_BYTES)
    monkeypatch.setattr(decode, "decode_budget", lambda: budget)
    with ThreadPoolExecutor(1) as pool:
        with budget.reserve(MOST_BYTES):
            opened = pool.submit(decode.open_image, kinds / "f.tif")
            while not budget._line and not opened.done():
                time.sleep(0.001)
            assert not opened.done()
        assert opened.result(60).width
