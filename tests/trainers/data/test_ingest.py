from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.faults import in_use_once
from tests.trainers.data import pictures
from trainers.config.sections import Data
from trainers.data.captions import base_caption, caption_from_name
from trainers.data.ingest import Duplicates, ingest, list_folder
from trainers.errors import VelaturaError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def contents(folder: Path) -> list[tuple[str, bytes, str]]:
    """(mode, pixels, caption) of every image of a folder, in order."""
    found = []
    for path in list_folder(folder).images:
        image = Image.open(path)
        found.append((image.mode, image.tobytes(), base_caption(path, Data())))
    return found


def test_good_images_are_kept_and_bad_ones_named(source: Path, tmp_path: Path) -> None:
    pictures.scene(1).save(source / "Fox in Snow.JPG", quality=95)
    pictures.scene(2).save(source / "owl.webp", lossless=True)
    (source / "owl.txt").write_bytes("\ufeffan  owl,\nby night".encode())
    (source / "broken.png").write_text("this is text")
    (source / "drawing.svg").write_text("<svg/>")
    (source / "notes.md").write_text("not a picture")
    (source / ".hidden.png").write_bytes(b"\0")
    Image.new("RGBA", (20, 20)).save(source / "clear.png")
    report = ingest(source, tmp_path / "target", keep_transparency=False)
    names = [(kept.path.name, kept.source) for kept in report.kept]
    assert names == [("0001-Fox-in-Snow.png", "Fox in Snow.JPG"), ("0002-owl.png", "owl.webp")]
    assert dict(report.skipped) == {
        "drawing.svg": "it is in an unsupported format (supported: JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF or HEIC)",
        "broken.png": "it holds text, not an image",
        "clear.png": "it is completely transparent",
    }
    assert sorted(path.name for path in (tmp_path / "target").iterdir()) == [
        "0001-Fox-in-Snow.png",
        "0002-owl.png",
        "0002-owl.txt",
    ]
    assert (tmp_path / "target/0002-owl.txt").read_text(encoding="utf-8") == "an owl,\nby night\n"
    assert Image.open(tmp_path / "target/0002-owl.png").tobytes() == pictures.scene(2).tobytes()
    assert report.duplicates == () and report.notes == ()


def test_no_metadata_survives(source: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[271] = "SECRETCAMERA"
    exif.get_ifd(0x8825)[1] = "N"
    options = {"exif": exif.tobytes(), "icc_profile": pictures.linear_grey(), "comment": b"SECRETCOMMENT"}
    pictures.scene(1).save(source / "photo.jpg", **options)
    kept = ingest(source, tmp_path / "target", keep_transparency=False).kept[0].path
    data = kept.read_bytes()
    image = Image.open(kept)
    image.load()
    assert image.info == {} and len(image.getexif()) == 0
    chunks, place = set(), 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.add(data[place + 4 : place + 8])
        place += 12 + length
    assert chunks == {b"IHDR", b"IDAT", b"IEND"}


@pytest.mark.parametrize("keep", [True, False])
def test_transparency_is_kept_or_laid_on_white(source: Path, tmp_path: Path, keep: bool) -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    image.save(source / "a.png")
    kept = Image.open(ingest(source, tmp_path / "target", keep).kept[0].path)
    assert kept.mode == ("RGBA" if keep else "RGB")
    assert kept.getpixel((1, 0)) == ((0, 0, 0, 0) if keep else (255, 255, 255))


@pytest.mark.parametrize("keep", [True, False])
def test_ingesting_the_result_again_changes_nothing(source: Path, tmp_path: Path, keep: bool) -> None:
    names = [
        "IMG_0001.jpg",
        "b, c's (2).png",
        "0001-zebra.png",
        "2023 fox.png",
        "größer 狐.tif",
        "x" * 200 + ".gif",
        "🦊.bmp",
    ]
    for number, name in enumerate(names):
        pictures.scene(number).save(source / name)
    picture = pictures.scene(9).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    picture.save(source / "alpha.png")
    (source / "alpha.txt").write_text("an alpha")
    (source / "IMG_0001.txt").write_text("")
    first, second = tmp_path / "first", tmp_path / "second"
    assert len(ingest(source, first, keep).kept) == len(ingest(first, second, keep).kept) == 8
    assert contents(first) == contents(second)
    assert [caption for _, _, caption in contents(first)][1:5] == ["2023 fox", "an alpha", "b, c's", "größer 狐"]


@settings(max_examples=150)
@given(st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=30))
def test_names_are_safe_and_keep_the_caption(stem: str) -> None:
    from trainers.data.ingest import _safe_name

    name = _safe_name(1, stem)
    assert name.startswith("0001") and name.endswith(".png") and len(name.encode()) < 140
    assert not set(name) & set('/\\<>:"|?*\0 ') and ".." not in name
    assert caption_from_name(name.removesuffix(".png")) == caption_from_name(stem)


def test_path_tricks_in_names_stay_in_the_folder(source: Path, tmp_path: Path) -> None:
    pictures.scene(1).save(source / "a..\\..\\etc: passwd?.png")
    (kept,) = ingest(source, tmp_path / "target", False).kept
    assert kept.path == tmp_path / "target" / "0001-a-etc-passwd.png"


def test_duplicates_are_reported_and_kept(source: Path, tmp_path: Path) -> None:
    picture = pictures.scene(1, (240, 160))
    picture.save(source / "a.png")
    picture.save(source / "b.tiff")
    picture.save(source / "c.jpg", quality=80)
    pictures.scene(2, (240, 160)).save(source / "d.png")
    report = ingest(source, tmp_path / "target", False)
    assert len(report.kept) == 4
    assert report.duplicates == (Duplicates(("a.png", "b.tiff"), True), Duplicates(("a.png", "c.jpg"), False))


def test_links_out_of_the_folder_are_skipped(source: Path, tmp_path: Path) -> None:
    pictures.scene(1).save(source / "a.png")
    pictures.scene(2).save(tmp_path / "secret.png")
    (tmp_path / "secret.txt").write_text("password")
    (source / "b.png").symlink_to(tmp_path / "secret.png")
    pictures.scene(3).save(source / "c.png")
    (source / "c.txt").symlink_to(tmp_path / "secret.txt")
    report = ingest(source, tmp_path / "target", False)
    assert [kept.source for kept in report.kept] == ["a.png"]
    assert dict(report.skipped) == {
        "b.png": "it is a link to a file outside its folder, which is not followed",
        "c.png": "it has a caption c.txt that is a link to a file outside the folder",
    }


def test_sub_folders_are_not_entered_but_mentioned(source: Path, tmp_path: Path) -> None:
    (source / "more/deep").mkdir(parents=True)
    (source / "empty").mkdir()
    pictures.scene(1).save(source / "more/deep/a.png")
    with pytest.raises(VelaturaError, match=r"no images in .* itself, only in its subfolders \(more\)"):
        ingest(source, tmp_path / "target", False)
    pictures.scene(1).save(source / "b.png")
    report = ingest(source, tmp_path / "target", False)
    assert len(report.kept) == 1
    assert report.notes == ("Subfolders are ignored, although there are images in more.",)


def test_nothing_to_train_on_is_one_sentence_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    with pytest.raises(VelaturaError, match=r"there is no such folder"):
        ingest(tmp_path / "missing", target, False)
    with pytest.raises(VelaturaError, match=r"There are no images in .*source: add some"):
        ingest(source, target, False)
    (source / "a.png").write_text("text")
    (source / "b.png").write_bytes(b"")
    with pytest.raises(VelaturaError, match=r"No image in .* can be read: a.png holds text, not an image \(1 more"):
        ingest(source, target, False)
    with pytest.raises(VelaturaError, match=r"it is a file"):
        ingest(source / "a.png", target, False)
    assert not target.exists()


def test_target_in_use_is_left_alone(source: Path, tmp_path: Path) -> None:
    pictures.scene(1).save(source / "a.png")
    before = (source / "a.png").read_bytes()
    for target in (source, source / "a.png"):
        with pytest.raises(VelaturaError, match=r"cannot be written to .* (not empty|it is a file)"):
            ingest(source, target, False)
    assert [path.name for path in source.iterdir()] == ["a.png"] and (source / "a.png").read_bytes() == before


def test_full_disk_leaves_nothing_behind(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        pictures.scene(number).save(source / f"{number}-fox.png")
        (source / f"{number}-fox.txt").write_text("a fox")
    save, saved = Image.Image.save, []

    def full(image: Image.Image, path: Path, *options: object, **more: object) -> None:
        save(image, path, *options, **more)
        saved.append(path)
        if len(saved) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(VelaturaError, match=r"cannot be written to .*target: No space left on device"):
        ingest(source, tmp_path / "target", False)
    assert len(saved) == 3 and not (tmp_path / "target").exists()


def test_an_image_that_windows_says_is_in_use_is_written_a_little_later(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures.scene(0).save(source / "fox.png")
    tries = in_use_once(monkeypatch)
    ingest(source, tmp_path / "target", False)
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["0001-fox.png"] and len(tries) == 2


def test_order_is_by_name_whatever_the_case(source: Path, tmp_path: Path) -> None:
    for number, name in enumerate(["B.png", "a.PNG", "C.Jpeg"]):
        pictures.scene(number).save(source / name)
    report = ingest(source, tmp_path / "target", False)
    assert [kept.source for kept in report.kept] == ["a.PNG", "B.png", "C.Jpeg"]
    assert np.array_equal(np.asarray(Image.open(report.kept[1].path)), np.asarray(pictures.scene(0)))
