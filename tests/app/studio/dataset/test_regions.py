"""Crops and masks of a draft: drawn, read from files, undone, trained, thrown away and given out."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.studio.dataset import edits
from app.studio.dataset.checks import Checker
from app.studio.dataset.drafts import Draft, Drafts, Region
from app.studio.dataset.exports import export_captions
from app.studio.dataset.regions import MASK_SIDE, keep_mask
from app.studio.dataset.uploads import take_folder, take_in
from tests.app.studio.dataset.test_draft_trash import take_out_for_good
from tests.app.studio.dataset.test_uploads import folder, packed, png, put, reasons  # noqa: F401
from tests.app.user_files import write_pictures
from tests.trainers.data.pictures import scene
from trainers.config.sections import Data
from trainers.data.dataset import Draw, load_dataset, mask
from trainers.data.decode import UnreadableError

KEY = "user:ann"
HALF = (0.5, 0.0, 0.5, 1.0)


def half_black(size: tuple[int, int] = (80, 60)) -> Image.Image:
    """A mask whose left half is ignored."""
    drawn = Image.new("L", size, 255)
    drawn.paste(0, (0, 0, size[0] // 2, size[1]))
    return drawn


def drawn_on(drafts: Drafts, draft: Draft, drawn: Image.Image, tmp_path: Path, place: int = 0) -> str:
    drawn.save(tmp_path / "mask.png")
    one = draft.pictures[place]
    return keep_mask(tmp_path / "mask.png", one.id, one.size, drafts.masks(draft), drafts.previews(draft))


@pytest.fixture
def draft(drafts: Drafts, tmp_path: Path) -> Draft:
    return take_folder(drafts, KEY, write_pictures(tmp_path / "in", "fox.png", "owl.png", "toad.png"))


def test_crop_and_mask_are_changed_undone_and_trained(drafts: Drafts, draft: Draft, tmp_path: Path) -> None:
    owl = draft.pictures[1]
    width, height = owl.size[1], owl.size[0]
    key = drawn_on(drafts, draft, half_black((width, height)), tmp_path, 1)
    drafts.change(KEY, lambda now: edits.with_region(now, owl.id, Region(crop=HALF)))
    masked = drafts.change(KEY, lambda now: edits.with_region(now, owl.id, Region(crop=HALF, mask=key)))
    assert [step.kind for step in masked.undo] == ["cropped", "masked"]
    assert edits.with_region(masked, owl.id, Region(crop=HALF, mask=key)) == masked, "nothing has changed"
    drafts.write_dataset(masked, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[2:6] == [
        "0002-mask.png", "0002.crop.json", "0002.png", "0002.txt",
    ]  # fmt: skip
    items = load_dataset(tmp_path / "out", Data(), 0, 64, 16).items
    assert len(items) == 3 and items[1].size == (height, width // 2)
    weights = mask(items[1], Draw(1, False, (0.5, 0.5), ""))
    assert weights is not None and bool((weights > 0.99).all()), "the half that is left counts whole"
    once = drafts.change(KEY, edits.undone)
    assert (once.pictures[1].crop, once.pictures[1].mask) == (HALF, "")
    twice = drafts.change(KEY, edits.undone)
    assert twice.pictures == draft.pictures and not list(drafts.masks(draft).iterdir()), "no file is left behind"


def test_a_rotation_is_trained_measured_and_cloned(drafts: Drafts, draft: Draft, tmp_path: Path) -> None:
    owl = draft.pictures[1]
    height, width = owl.size
    key = drawn_on(drafts, draft, half_black((width, height)), tmp_path, 1)
    region = Region(crop=(0.0, 0.5, 1.0, 0.5), mask=key, rotation=90)
    turned = drafts.change(KEY, lambda now: edits.with_region(now, owl.id, region))
    assert turned.pictures[1].rotated_size == (width, height)
    drafts.write_dataset(turned, tmp_path / "out")
    item = load_dataset(tmp_path / "out", Data(), 0, 64, 16).items[1]
    assert item.size == (width // 2, height)
    weights = mask(item, Draw(1, False, (0.5, 0.5), ""))
    assert weights is not None and bool((weights > 0.99).all()), "the half that is ignored is above the crop now"
    (again,) = take_folder(drafts, "user:ben", tmp_path / "out").pictures[1:2]
    assert again.region == region.model_copy(update={"mask": again.mask}) and again.mask
    assert (drafts.pictures(drafts.read("user:ben")) / f"{again.id}.png").read_bytes() == (
        drafts.pictures(draft) / f"{owl.id}.png"
    ).read_bytes(), "the picture itself stays as it is"


def test_a_drawn_mask_is_checked_and_kept_small(drafts: Drafts, draft: Draft, tmp_path: Path) -> None:
    height, width = draft.pictures[0].size
    assert drawn_on(drafts, draft, Image.new("L", (width, height), 255), tmp_path) == ""
    with pytest.raises(UnreadableError, match="all black"):
        drawn_on(drafts, draft, Image.new("L", (width, height)), tmp_path)
    with pytest.raises(UnreadableError, match="another shape"):
        drawn_on(drafts, draft, half_black((width, height * 2)), tmp_path)
    drawn = half_black((3000, 2000))
    drawn.save(tmp_path / "large.png")
    key = keep_mask(tmp_path / "large.png", "x", (2000, 3000), drafts.masks(draft), drafts.previews(draft))
    with Image.open(drafts.masks(draft) / f"x-{key}.png") as kept:
        assert kept.mode == "L" and max(kept.size) == MASK_SIDE


@pytest.mark.parametrize("way", ["loose", "zip"])
def test_files_beside_pictures_are_read(drafts: Drafts, folder: Path, way: str) -> None:  # noqa: F811
    crop = json.dumps({"left": 0.5, "top": 0, "width": 0.5, "height": 1, "rotate": 180}).encode()
    (folder / "half.png").parent.mkdir(exist_ok=True)
    memory = folder / "half.png"
    half_black().save(memory)
    names = {"art/fox.png": png(1), "art/fox-mask.png": memory.read_bytes(), "art/fox.crop.json": crop}
    names |= {"art/fox.txt": b"a fox", "art/lone-mask.png": png(2), "art/owl.crop.json": crop, "art/toad.png": png(3)}
    if way == "zip":
        uploads = [put(folder, "set.zip", packed(*names.items()))]
    else:
        uploads = [put(folder, name, content) for name, content in names.items()]
    draft = take_in(drafts, KEY, uploads, folder)
    assert sorted(one.name for one in draft.pictures) == ["art/fox.png", "art/lone-mask.png", "art/toad.png"]
    fox = next(one for one in draft.pictures if one.name == "art/fox.png")
    assert (fox.caption, fox.crop, fox.rotation) == ("a fox", HALF, 180) and fox.mask
    kept = np.asarray(Image.open(drafts.masks(draft) / f"{fox.id}-{fox.mask}.png"))
    assert kept[0].tolist() == [0] * 40 + [255] * 40
    assert (drafts.previews(draft) / f"{fox.id}-{fox.mask}.png").is_file()
    if way == "loose":
        assert reasons(draft) == "art/owl.crop.json: No picture here has the same name as this crop."


def test_what_is_wrong_with_them_is_said(drafts: Drafts, folder: Path) -> None:  # noqa: F811
    uploads = [put(folder, name, png(1)) for name in ("fox.png", "owl.png")]
    uploads += [put(folder, "fox-mask.png", Image.new("L", (80, 60))), put(folder, "owl.crop.json", b"{}")]
    draft = take_in(drafts, KEY, uploads, folder)
    assert len(draft.pictures) == 2
    assert "fox-mask.png: This mask is all black, so nothing of its picture would be learned." in reasons(draft)
    assert "owl.crop.json: This crop cannot be used: it must have the numbers" in reasons(draft)


def test_captions_of_one_drop_are_undone_together(drafts: Drafts, folder: Path) -> None:  # noqa: F811
    take_in(drafts, KEY, [put(folder, f"{name}.png", png(k)) for k, name in enumerate("abc")], folder)
    for name in "abc":  # in several parts, as a page sends them
        draft = take_in(drafts, KEY, [put(folder, f"{name}.txt", name.encode() * 3)], folder, step="drop 1")
    assert [one.caption for one in draft.pictures] == ["aaa", "bbb", "ccc"]
    assert len(draft.undo) == 1 and len(draft.undo[0].captions) == 3 and draft.undo[0].kind == "read"


def test_findings_are_those_of_the_crop(drafts: Drafts, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    scene(1, (900, 200)).save(tmp_path / "in" / "wide.png")
    draft, checker = take_folder(drafts, KEY, tmp_path / "in"), Checker(drafts)
    wide = draft.pictures[0].id
    assert "elongated" in {note.kind for note in checker.report(draft).notes[wide]}
    crop = (0.0, 0.0, 0.25, 1.0)
    cropped = drafts.change(KEY, lambda now: edits.with_region(now, wide, Region(crop=crop)))
    assert "elongated" not in {note.kind for note in checker.report(cropped).notes[wide]}
    assert "elongated" not in {note.kind for note in Checker(drafts).report(cropped).notes[wide]}
    assert "elongated" in {note.kind for note in checker.report(draft).notes[wide]}


def test_a_mask_goes_to_the_trash_and_comes_back_with_its_picture(drafts: Drafts, draft: Draft, tmp_path: Path) -> None:
    from app.jobs import actions
    from app.jobs.permissions import Actor
    from app.jobs.store import Store
    from app.jobs.trash.trash import Trash

    owl, ann = draft.pictures[1], Actor("ann")
    key = drawn_on(drafts, draft, half_black((owl.size[1], owl.size[0])), tmp_path, 1)
    region = Region(crop=HALF, mask=key, rotation=270)
    drafts.change(KEY, lambda now: edits.with_region(now, owl.id, region))
    name = f"{owl.id}-{key}.png"
    before = (drafts.masks(draft) / name).read_bytes()
    take_out_for_good(drafts, owl.id)
    assert not (drafts.masks(draft) / name).exists() and not (drafts.previews(draft) / name).exists()
    store = Store(drafts.paths.runs)
    actions.restore(store, Trash(store).items(ann)[0].id, actor=ann)
    back = drafts.look(KEY).pictures[-1]
    assert (back.id, back.region) == (owl.id, region)
    assert (drafts.masks(draft) / name).read_bytes() == before == (drafts.previews(draft) / name).read_bytes()


def test_captions_crops_and_masks_are_given_out_under_the_pictures_names(
    drafts: Drafts, draft: Draft, tmp_path: Path
) -> None:
    first, second = draft.pictures[:2]
    key = drawn_on(drafts, draft, half_black((first.size[1], first.size[0])), tmp_path)
    names = {first.id: "art/fox.jpg", second.id: "../art/fox.png"}

    def change(now: Draft) -> Draft:
        pictures = (one.model_copy(update={"name": names.get(one.id, one.name)}) for one in now.pictures)
        regions = {first.id: Region(crop=HALF, mask=key), second.id: Region(rotation=90)}
        return edits.with_regions(now.with_(pictures=tuple(pictures)), regions)

    place = export_captions(drafts, drafts.change(KEY, change))
    assert place.parent.parent == drafts.previews(draft)
    with zipfile.ZipFile(place) as packed_:
        assert packed_.namelist() == [
            "art/fox.txt", "art/fox.crop.json", "art/fox-mask.png", "art/fox (2).txt", "art/fox (2).crop.json",
            "toad.txt",
        ]  # fmt: skip
        assert packed_.read("art/fox.txt") == b"fox\n"
        assert json.loads(packed_.read("art/fox.crop.json")) == {"left": 0.5, "top": 0.0, "width": 0.5, "height": 1.0}
