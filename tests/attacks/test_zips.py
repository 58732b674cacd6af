"""ZIPs that lie about what is in them: no file outside, no more than the limits, and one sentence for each."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from app.studio.dataset import archive
from app.studio.dataset.archive import unpack
from trainers.errors import VelaturaError

SUFFIXES = frozenset({".png", ".txt"})
LONG = f"{'x' * 300}.png"
NAMES = st.sampled_from(
    ("a.png", "../a.png", "/a.png", "C:/a.png", "a\\..\\..\\b.png", "a/b.txt", LONG, "\u202egnp.exe", "n\0.png")
)


def packed(entries: list[tuple[str, bytes]]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in entries:
            opened.writestr(name, data)
    return memory.getvalue()


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() or path.is_symlink()]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(NAMES, st.binary(max_size=40)), max_size=4, unique_by=lambda entry: entry[0]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    st.floats(0, 1),
)
def test_damage_ends_in_a_sentence_and_nothing_lands_outside(
    tmp_path_factory, entries: list[tuple[str, bytes]], changes: list[tuple[float, int]], length: float
) -> None:
    folder = tmp_path_factory.mktemp("zip")
    target = folder / "target"
    target.mkdir()
    content = bytearray(packed(entries))
    for place, value in changes:
        content[int(place * len(content))] = value
    (folder / "set.zip").write_bytes(content[: max(1, round(min(1, length + 0.5) * len(content)))])
    try:
        unpacked = unpack(folder / "set.zip", target, SUFFIXES)
    except VelaturaError as error:
        assert str(error).endswith((".", "again."))
    else:
        assert all(path.parent == target for _, path in unpacked.files)
        assert len(unpacked.files) + len(unpacked.left_out) <= len(entries) + len(changes)
    assert all(path.parent in (target, folder) for path in files_below(folder))


def test_a_file_without_a_name_is_left_out(tmp_path: Path) -> None:
    content = packed([("n.png", b"x"), ("good.png", b"y")]).replace(b"n.png", b"\0.png")
    (tmp_path / "set.zip").write_bytes(content)
    target = tmp_path / "target"
    target.mkdir()
    unpacked = unpack(tmp_path / "set.zip", target, SUFFIXES)
    assert [name for name, _ in unpacked.files] == ["good.png"] and unpacked.left_out == (
        ("", "This file has no name."),
    )


def test_many_entries_over_the_same_bytes_are_counted_by_what_comes_out(tmp_path: Path, monkeypatch) -> None:
    """Overlapping entries unpack one kernel again and again: what is written is what counts."""
    monkeypatch.setattr(archive, "MOST_BYTES", 3 * 2**20)
    kernel = bytes(2**20 - 1)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = packer.compress(kernel) + packer.flush()
    name, sums = b"a.png", (zlib.crc32(kernel), len(deflated), len(kernel))
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 33, *sums, len(name), 0) + name + deflated
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 33, *sums, len(name), 0, 0, 0, 0, 0, 0) + name
    many = entry * 100
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 100, 100, len(many), len(local), 0)
    (tmp_path / "set.zip").write_bytes(local + many + end)
    target = tmp_path / "target"
    target.mkdir()
    try:
        unpack(tmp_path / "set.zip", target, SUFFIXES)
        raise AssertionError("it was taken")
    except VelaturaError as error:
        assert "unpacks to" in str(error) or "damaged" in str(error)
    assert sum(path.stat().st_size for path in files_below(target)) <= 3 * 2**20
