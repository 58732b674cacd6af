from __future__ import annotations

import io
import stat
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.studio.dataset import archive, uploads
from app.studio.dataset.checks import Report
from app.studio.dataset.drafts import Draft, Drafts, LeftOut
from app.studio.dataset.edits import with_trigger
from app.studio.dataset.uploads import Upload, take_folder, take_in
from app.studio.settings.gather import gather_settings
from app.ui.train.images_view import foot
from app.ui.train.text import undo_line
from tests.app.user_files import write_bomb, write_pictures
from tests.trainers.data.pictures import scene
from trainers.data.repeats import read_repeats
from trainers.messages import Message

KEY = "visitor:someone"


@pytest.fixture
def folder(drafts: Drafts) -> Path:
    """Where uploads arrive: each in a folder of its own, as Gradio puts them."""
    return drafts.paths.uploads


def put(folder: Path, name: str, content: bytes | Image.Image | None = None, **options: object) -> Upload:
    place = folder / f"upload{len(list(folder.iterdir()))}"
    place.mkdir()
    path = place / Path(name).name
    if isinstance(content, Image.Image):
        content.save(path, **options)
    else:
        path.write_bytes(content or b"")
    return Upload(path, name)


def packed(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", method) as opened:
        for name, data in entries:
            opened.writestr(name, data)
    return memory.getvalue()


def png(seed: int = 0, size: tuple[int, int] = (80, 60)) -> bytes:
    memory = io.BytesIO()
    scene(seed, size).save(memory, "PNG")
    return memory.getvalue()


def kept(drafts: Drafts, draft: Draft, place: int = 0) -> Image.Image:
    with Image.open(drafts.pictures(draft) / f"{draft.pictures[place].id}.png") as image:
        image.load()
        return image


def reasons(draft: Draft) -> str:
    return " | ".join(f"{one.name}: {one.reason}" for one in draft.left_out)


def everything(drafts: Drafts) -> list[Path]:
    return [path for path in drafts.paths.root.rglob("*") if path.is_file()]


def test_formats_are_taken_and_originals_deleted(drafts, folder):
    import pillow_heif

    pillow_heif.register_heif_opener()
    names = ("red boat.png", "b.webp", "cup of tea.heic", "pear.bmp", "IMG_2.tiff", "g.gif", "h.avif")
    draft = take_in(drafts, KEY, [put(folder, name, scene(k, (90, 60))) for k, name in enumerate(names)], folder)
    assert [one.name for one in draft.pictures] == list(names) and not draft.left_out
    assert [one.caption for one in draft.pictures][:5] == ["red boat", "b", "cup of tea", "pear", ""]
    assert [one.size for one in draft.pictures] == [(60, 90)] * 7
    assert list(folder.rglob("*")) == []
    suffixes = {path.suffix for path in everything(drafts)}
    assert suffixes <= {".png", ".webp", ".json", ".lock", ""}


def test_gps_and_rotation(drafts, folder):
    exif = Image.Exif()
    exif[274] = 6
    exif.get_ifd(0x8825)[2] = (52.0, 30.0, 0.0)
    exif[271] = "SECRETCAMERA"
    upload = put(folder, "IMG_1.jpg", scene(1, (90, 60)), exif=exif, comment=b"SECRETCAMERA")
    assert b"SECRETCAMERA" in upload.path.read_bytes()
    draft = take_in(drafts, KEY, [upload], folder)
    image = kept(drafts, draft)
    assert image.size == (60, 90), "turned upright"
    assert not image.getexif() and image.info == {}
    assert everything(drafts) and not any(b"SECRETCAMERA" in path.read_bytes() for path in everything(drafts))
    assert not upload.path.exists()


def test_what_is_no_picture_is_left_out_and_the_others_go_on(drafts, folder):
    write_bomb(folder / "bomb.png")
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    given = [
        put(folder, "notes.png", b"just text"),
        Upload(folder / "bomb.png", "bomb.png"),
        put(folder, "cut.png", png()[:200]),
        put(folder, "empty.jpg"),
        put(folder, "clear.png", clear),
        put(folder, "page.svg", b"<svg onload='alert(1)'/>"),
        put(folder, "good.png", scene(1)),
    ]
    draft = take_in(drafts, KEY, given, folder)
    assert [one.name for one in draft.pictures] == ["good.png"]
    said = reasons(draft)
    for words in (
        "notes.png: This file holds text",
        "bomb.png: This file is too large",
        "cut.png: This file is damaged",
        "empty.jpg: This file is empty",
        "clear.png: This file is completely transparent",
        "page.svg: This file is an SVG",
    ):
        assert words in said
    assert list(folder.rglob("*")) == []


def test_why_a_file_was_left_out_can_be_said_in_other_languages_later(drafts, folder):
    take_in(drafts, KEY, [put(folder, "note.png", b"a fox")], folder)
    (kept,) = drafts.read(KEY).left_out
    assert kept.reason == kept.sentence == "This file holds text, not an image."
    assert isinstance(kept.sentence, Message) and kept.sentence.named["said"].named["name"].template == "This file"
    assert LeftOut(id="1", name="note.png", reason="of an older version").sentence == "of an older version"


def test_fifty_megapixels_are_the_limit(drafts, folder, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_PIXELS", 80 * 60)
    draft = take_in(drafts, KEY, [put(folder, "a.png", png()), put(folder, "b.png", png(1, (80, 61)))], folder)
    assert [one.name for one in draft.pictures] == ["a.png"]
    assert "it has 80 × 61 pixels, and 0 million are the most" in reasons(draft)
    assert uploads.MOST_BYTES_A_FILE == 200 * 2**20


def test_a_large_picture_is_kept_at_what_training_can_use(drafts, folder, monkeypatch):
    monkeypatch.setattr(uploads, "KEPT_SIDE", 64)
    source = scene(3, (256, 64))
    draft = take_in(drafts, KEY, [put(folder, "wide.png", source)], folder)
    assert draft.pictures[0].size == (32, 128), "64² pixels, of the same shape"
    shown = np.asarray(kept(drafts, draft), float)
    assert np.abs(shown - np.asarray(source.resize((128, 32), Image.Resampling.LANCZOS), float)).mean() < 2


def test_paths_from_outside_are_not_believed(drafts, folder, tmp_path):
    outside = tmp_path / "private.png"
    scene(1).save(outside)
    link = folder / "link.png"
    link.symlink_to(outside)
    draft = take_in(drafts, KEY, [Upload(outside, "a.png"), Upload(folder / "../../../private.png", "b.png")], folder)
    assert not draft.pictures and outside.exists()
    draft = take_in(drafts, KEY, [Upload(link, "c.png")], folder)
    assert not draft.pictures and outside.exists()


def test_no_more_than_200(drafts, folder, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_PICTURES", 2)
    draft = take_in(drafts, KEY, [put(folder, f"{k}.png", png(k)) for k in range(4)], folder)
    assert [one.name for one in draft.pictures] == ["0.png", "1.png"]
    assert "A style takes at most 2 pictures, so this one was left out." in draft.left_out[-1].reason


def test_what_another_upload_left_no_room_for_leaves_no_file(drafts, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_PICTURES", 2)
    take = uploads.take

    def slow(*given):
        taken = take(*given)
        monkeypatch.setattr(uploads, "take", take)
        take_folder(drafts, KEY, write_pictures(tmp_path / "other", "owl.png"))
        return taken

    monkeypatch.setattr(uploads, "AT_ONCE", 1)
    monkeypatch.setattr(uploads, "take", slow)
    draft = take_in(drafts, KEY, [put(folder, f"{k}.png", png(k)) for k in range(2)], folder)
    assert [one.name for one in draft.pictures] == ["owl.png", "0.png"]
    kept = {one.id for one in draft.pictures}
    assert {path.stem for path in drafts.pictures(draft).iterdir()} == kept
    assert {path.stem for path in drafts.previews(draft).iterdir()} == kept


def test_pictures_that_share_a_caption_file_are_named(drafts, folder):
    pictures = [put(folder, name, png(k)) for k, name in enumerate(("boat.png", "boat.jpg", "fox.png"))]
    take_in(drafts, KEY, pictures, folder)
    draft = take_in(drafts, KEY, [put(folder, "boat.txt", b"a boat"), put(folder, "fox.txt", b"a fox")], folder)
    assert [one.caption for one in draft.pictures] == ["a boat", "a boat", "a fox"]
    assert "3 captions read from 2 files: pictures with the same name share a file." in foot(draft, Report({}, (), {}))


def test_captions_in_text_files(drafts, folder):
    draft = take_in(drafts, KEY, [put(folder, "art/fox.png", png()), put(folder, "old/fox.png", png(1))], folder)
    draft = take_in(drafts, KEY, [put(folder, "art/fox.txt", "ein Füchslein\n".encode("utf-16"))], folder)
    assert [one.caption for one in draft.pictures] == ["ein Füchslein", "fox"]
    assert undo_line(draft.undo[-1]) == "1 caption read from files."
    draft = take_in(drafts, KEY, [put(folder, "owl.txt", b"an owl")], folder)
    assert "owl.txt: No picture here has the same name as this text file" in reasons(draft)
    assert [one.caption for one in draft.pictures] == ["ein Füchslein", "fox"]


@pytest.mark.parametrize("content", [b"x" * 70_000, png(2)], ids=["too long", "not text"])
def test_what_is_no_caption_is_left_out(drafts, folder, content):
    take_in(drafts, KEY, [put(folder, "fox.png", png())], folder)
    draft = take_in(drafts, KEY, [put(folder, "fox.txt", content)], folder)
    assert "fox.txt: This file is not a caption: a caption is text of at most 64 KiB, saved as UTF-8" in reasons(draft)
    assert [one.caption for one in draft.pictures] == ["fox"]


def test_a_folder_of_ours_stays_as_it_is(drafts, tmp_path):
    ours = tmp_path / "set"
    ours.mkdir()
    scene(1).save(ours / "a.png")
    (ours / "a.txt").write_text("a lake")
    draft = take_folder(drafts, KEY, ours)
    assert draft.pictures[0].caption == "a lake" and (ours / "a.png").exists()


def test_a_zip_with_folders_and_captions(drafts, folder):
    ours = (("art/fox.png", png()), ("art/fox.txt", b"a fox"), ("owl.jpg", png(1)))
    same_names = (("old/fox.png", png(2)), ("old/fox.txt", b"an old fox"))
    content = packed(*ours, ("__MACOSX/art/._fox.png", b"x"), (".DS_Store", b"x"), *same_names)
    draft = take_in(drafts, KEY, [put(folder, "set.zip", content)], folder)
    captions = {"art/fox.png": "a fox", "owl.jpg": "owl", "old/fox.png": "an old fox"}
    assert [(one.name, one.caption) for one in draft.pictures] == list(captions.items())
    expected = [scene(seed, (80, 60)).tobytes() for seed in range(3)]
    assert [kept(drafts, draft, place).tobytes() for place in range(3)] == expected
    assert not draft.left_out and list(folder.rglob("*")) == []


def test_a_picture_in_a_zip_stays_if_its_caption_is_not_text(drafts, folder):
    content = packed(("art/fox.png", png()), ("art/fox.txt", "ein Fuchs".encode("utf-16-le")), ("owl.png", png(1)))
    draft = take_in(drafts, KEY, [put(folder, "set.zip", content)], folder)
    assert [(one.name, one.caption) for one in draft.pictures] == [("art/fox.png", "fox"), ("owl.png", "owl")]
    assert len(draft.left_out) == 1 and "art/fox.txt: This file is not a caption" in reasons(draft)


def test_hostile_names_in_a_zip(drafts, folder, tmp_path):
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    entries = [
        ("../evil.png", png()),
        ("/etc/evil.png", png()),
        ("C:/evil.png", png()),
        ("a\\..\\..\\evil.png", png()),
        (link, b"/etc/passwd"),
        ("inner.zip", packed(("x.png", png()))),
        ("run.sh", b"rm"),
        ("good.png", png(2)),
    ]
    before = sorted(tmp_path.rglob("*evil*"))
    draft = take_in(drafts, KEY, [put(folder, "set.zip", packed(*entries))], folder)
    assert [one.name for one in draft.pictures] == ["good.png"]
    said = reasons(draft)
    assert said.count("leads out of the ZIP") == 4 and "is a link" in said
    assert (
        "inner.zip: This file is an archive inside the ZIP" in said
        and "run.sh: This file is not in a supported image format" in said
    )
    assert sorted(tmp_path.rglob("*evil*")) == before == []


@pytest.mark.parametrize("size", [30 * 2**20])
def test_a_bomb_is_stopped_by_what_comes_out(drafts, folder, size):
    content = bytearray(packed(("bomb.png", bytes(size))))
    assert len(content) < 50_000
    place = content.find(b"PK\x01\x02")
    struct.pack_into("<I", content, place + 24, 1000)  # the list of contents lies about the size
    for data in (bytes(content), packed(("bomb.png", bytes(size)))):
        draft = take_in(drafts, KEY, [put(folder, "set.zip", data)], folder)
        assert not draft.pictures and list(folder.rglob("*")) == []
        assert "far more than pictures" in draft.left_out[-1].reason or "damaged" in draft.left_out[-1].reason


def test_limits_of_a_zip(drafts, folder, monkeypatch):
    noise = np.random.default_rng(1).bytes(3000)
    monkeypatch.setattr(archive, "MOST_BYTES_EACH", 2000)
    draft = take_in(drafts, KEY, [put(folder, "a.zip", packed(("big.png", noise), ("s.png", png(1, (9, 9)))))], folder)
    assert len(draft.pictures) == 1 and "big.png: This file is larger than" in reasons(draft)
    monkeypatch.setattr(archive, "MOST_BYTES_EACH", 10_000)
    monkeypatch.setattr(archive, "MOST_BYTES", 4000)
    draft = take_in(drafts, KEY, [put(folder, "b.zip", packed(("1.png", noise), ("2.png", noise)))], folder)
    assert "unpacks to more than" in draft.left_out[-1].reason
    monkeypatch.setattr(archive, "MOST_FILES", 3)
    draft = take_in(drafts, KEY, [put(folder, "c.zip", packed(*((f"{k}.png", b"x") for k in range(4))))], folder)
    assert draft.left_out[-1].reason == "The ZIP holds 4 files; at most 3 are allowed."
    monkeypatch.setattr(archive, "MOST_BYTES_OF_NAMES", 100)
    draft = take_in(drafts, KEY, [put(folder, "d.zip", packed(*((f"{k}.png", b"x") for k in range(3))))], folder)
    assert "too many files" in draft.left_out[-1].reason
    assert len(draft.pictures) == 1


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all" * 99, packed(("a.png", png()))[:-30]])
def test_what_calls_itself_a_zip(drafts, folder, content):
    draft = take_in(drafts, KEY, [put(folder, "set.zip", content)], folder)
    assert not draft.pictures and "ZIP" in draft.left_out[-1].reason


def test_a_locked_zip_says_so(drafts, folder):
    content = bytearray(packed(("a.png", png())))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(mark) + place] |= 1
    draft = take_in(drafts, KEY, [put(folder, "set.zip", bytes(content))], folder)
    assert "password-protected" in draft.left_out[-1].reason


def test_a_long_list_of_contents_is_not_read(folder, tmp_path):
    big = packed(*((f"{k:05d}" + "x" * 60_000 + ".png", b"") for k in range(20)))
    upload = put(folder, "set.zip", big)
    began = time.process_time()
    with pytest.raises(Exception, match="too many files"):
        archive.unpack(upload.path, tmp_path, frozenset({".png"}))
    assert time.process_time() - began < 1


def test_folders_of_kohya_give_repeats_and_suggest_the_trigger_word(drafts, folder, tmp_path):
    files = packed(("set/10_dusk style/fox.png", png()), ("set/2_dusk style/owl.png", png(1)), ("toad.png", png(2)))
    draft = take_in(drafts, KEY, [put(folder, "set.zip", files)], folder)
    assert draft.trigger == "dusk style"
    drafts.write_dataset(draft, tmp_path / "run")
    counts = read_repeats(tmp_path / "run")
    assert {one.name[-8:]: counts.get(f"{k:04d}.png", 1) for k, one in enumerate(draft.pictures, 1)} == {
        "/fox.png": 10,
        "/owl.png": 2,
        "toad.png": 1,
    }
    assert take_in(drafts, KEY, [put(folder, "3_dawn/rat.png", png(4))], folder).trigger == "", "as if all came at once"
    named = drafts.change(KEY, lambda now: with_trigger(now, "my own"))
    assert take_in(drafts, KEY, [put(folder, "3_dawn/hare.png", png(3))], folder).trigger == named.trigger
    (tmp_path / "set" / "10_dusk style").mkdir(parents=True)
    (tmp_path / "set" / "10_dusk style" / "fox.png").write_bytes(png())
    options = {"name": "style", "images": tmp_path / "set"}
    assert gather_settings(tmp_path, None, None, options, []).data.trigger == "dusk style"
    assert gather_settings(tmp_path, None, None, options, ["data.trigger=dawn"]).data.trigger == "dawn"
