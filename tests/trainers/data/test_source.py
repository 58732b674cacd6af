"""Crop and mask: what is read from the files, and what it means for pixels, masks, the loss and the caches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from tests.trainers.data import pictures
from trainers.config.sections import Data, Loss
from trainers.data import cache
from trainers.data.cache import MaskCache
from trainers.data.check import check_images
from trainers.data.dataset import Draw, Item, load_dataset, mask, pixels, placement
from trainers.data.decode import UnreadableError
from trainers.data.ingest import ingest, list_folder
from trainers.data.source import Crop, parse_crop, read_source, split_masks
from trainers.training.step.loss import error_by_image

STILL, MIRRORED = Draw(0, False, (0.5, 0.5), ""), Draw(0, True, (0.5, 0.5), "")


def write(folder: Path, picture: Image.Image, drawn: np.ndarray | None = None, crop: dict | None = None) -> Path:
    """`fox.png` with its mask and its crop."""
    picture.save(folder / "fox.png")
    if drawn is not None:
        Image.fromarray(drawn.astype(np.uint8)).save(folder / "fox-mask.png")
    if crop is not None:
        (folder / "fox.crop.json").write_text(json.dumps(crop), encoding="utf-8")
    return folder


def item_of(folder: Path, resolution: int = 64, **data: object) -> Item:
    (item,) = load_dataset(folder, Data(**data), 0, resolution, 16).items
    return item


def stripes(*values: int, width: int = 64, height: int = 64) -> np.ndarray:
    """A mask of vertical stripes of equal width."""
    return np.repeat(np.repeat(np.array(values)[None], width // len(values), 1), height, 0)


def test_the_loss_is_the_mean_over_the_picture_weighted_by_the_mask(tmp_path: Path) -> None:
    item = item_of(write(tmp_path, pictures.scene(1, (64, 64)), stripes(255, 51, 0, 0)))
    weights = mask(item, STILL)
    assert weights is not None and weights.shape == (1, 8, 8)
    assert weights[0, 3].tolist() == pytest.approx([1, 1, 0.2, 0.2, 0, 0, 0, 0])
    error = torch.arange(1.0, 9.0).expand(1, 4, 8, 8)  # by latent column
    found = error_by_image(error, torch.zeros_like(error), weights[None], Loss())
    expected = (1 + 4 + 0.2 * (9 + 16)) / 2.4
    assert found.tolist() == pytest.approx([expected])
    mirrored = mask(item, MIRRORED)
    assert mirrored is not None and torch.equal(mirrored, weights.flip(-1))


@pytest.mark.parametrize("size", [(64, 64), (16, 16), (256, 256)])
def test_a_mask_of_any_size_covers_the_whole_picture(tmp_path: Path, size: tuple[int, int]) -> None:
    folder = write(tmp_path, pictures.scene(1, (64, 64)), stripes(255, 0, width=size[0], height=size[1]))
    weights = mask(item_of(folder), STILL)
    assert weights is not None
    assert weights[0, 4, [0, 1, 2, 5, 6, 7]].tolist() == pytest.approx([1, 1, 1, 0, 0, 0])


def test_a_mask_may_have_onetrainer_s_name(tmp_path: Path) -> None:
    folder = write(tmp_path, pictures.scene(1, (64, 64)), stripes(255, 0, width=64, height=64))
    named = mask(item_of(folder), STILL)
    ours = next(folder.glob("*-mask.png"))
    ours.rename(theirs := ours.with_name(ours.name.replace("-mask", "-masklabel")))
    assert torch.equal(mask(item_of(folder), STILL), named)
    assert split_masks(folder.glob("*.png"))[1] == [theirs]


def test_a_crop_cuts_picture_and_mask_alike(tmp_path: Path) -> None:
    picture = pictures.quadrants("red", "lime", "blue", "yellow").resize((128, 64), Image.Resampling.NEAREST)
    crop = {"left": 0.5, "top": 0.0, "width": 0.5, "height": 1.0}
    item = item_of(write(tmp_path, picture, stripes(0, 0, 255, 0, width=128), crop))
    assert item.size == (64, 64) and item.bucket.shape == (64, 64)
    assert placement(item, STILL) == ((64, 64), (0, 0))
    trained = pixels(item, STILL)
    assert trained[:, 0, 0].tolist() == [-1, 1, -1] and trained[:, -1, -1].tolist() == [1, 1, -1], "lime over yellow"
    weights = mask(item, STILL)
    assert weights is not None and weights[0, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    flipped = mask(item, MIRRORED)
    assert torch.equal(pixels(item, MIRRORED), trained.flip(-1)) and flipped is not None
    assert torch.equal(flipped, weights.flip(-1))


@pytest.mark.parametrize(
    ("rotate", "part", "corners", "shares"),
    [
        (90, {"height": 0.5}, ("blue", "red"), (1, 0.8)),
        (180, {"width": 0.5}, ("yellow", "lime"), (0.2, 0.4)),
        (270, {"height": 0.5}, ("lime", "yellow"), (0.2, 0.4)),
    ],
)
def test_the_upright_picture_turns_with_its_mask_before_it_is_cropped(
    tmp_path: Path, rotate: int, part: dict, corners: tuple[str, str], shares: tuple[float, float]
) -> None:
    upright = pictures.quadrants("red", "lime", "blue", "yellow").resize((128, 64), Image.Resampling.NEAREST)
    write(tmp_path, upright, stripes(255, 204, 102, 51, width=128), {"rotate": rotate} | part)
    exif = Image.Exif()
    exif[0x0112] = 6  # a viewer turns the file clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "fox.png", exif=exif)
    item = item_of(tmp_path)
    assert item.size == (64, 64)
    trained, weights = pixels(item, STILL), mask(item, STILL)
    first, last = (torch.tensor(ImageColor.getrgb(name)) / 127.5 - 1 for name in corners)
    assert torch.equal(trained[:, 0, 0], first) and torch.equal(trained[:, -1, -1], last)
    assert weights is not None
    along = weights[0, 0] if rotate == 180 else weights[0, :, 0]
    assert along.tolist() == pytest.approx([shares[0]] * 4 + [shares[1]] * 4)
    ingest(tmp_path, tmp_path / "run", False)
    (again,) = load_dataset(tmp_path / "run", Data(), 0, 64, 16).items
    assert (again.content_hash, again.mask_hash) == (item.content_hash, item.mask_hash)


def test_random_crops_move_picture_and_mask_together(tmp_path: Path) -> None:
    drawn = stripes(255, 0, width=128)
    folder = write(tmp_path, Image.fromarray(drawn.astype(np.uint8)).convert("RGB"), drawn)
    item = item_of(folder, max_aspect=1, crop="random")
    assert item.bucket.shape == (64, 64)
    for share in (0.0, 0.25, 0.5, 1.0):
        for flip in (False, True):
            draw = Draw(0, flip, (0.5, share), "")
            weights = mask(item, draw)
            shown = torch.nn.functional.avg_pool2d((pixels(item, draw)[:1] + 1) / 2, 8)
            assert weights is not None and torch.allclose(weights, shown, atol=1e-6)


def test_mask_and_transparency_multiply(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (64, 64), (255, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 16, 64))
    folder = write(tmp_path, picture, stripes(255, 255, 128, 0))
    only_drawn, both = (mask(item_of(folder, transparency=way), STILL) for way in ("white", "mask"))
    assert only_drawn is not None and both is not None
    assert only_drawn[0, 0].tolist() == pytest.approx([1, 1, 1, 1, 128 / 255, 128 / 255, 0, 0])
    assert both[0, 0].tolist() == pytest.approx([0, 0, 1, 1, 128 / 255, 128 / 255, 0, 0])


def test_transparent_places_of_a_mask_are_ignored(tmp_path: Path) -> None:
    folder = write(tmp_path, pictures.scene(1, (64, 64)))
    drawn = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    drawn.paste((255, 255, 255, 255), (32, 0, 64, 64))
    drawn.save(folder / "fox-mask.png")
    weights = mask(item_of(folder), STILL)
    assert weights is not None and weights[0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_caches_follow_crop_and_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    masks, made = MaskCache(tmp_path / "cache"), []
    monkeypatch.setattr(cache, "mask", lambda item, draw: made.append(draw) or mask(item, draw))

    def get() -> torch.Tensor:
        item = item_of(folder)
        found, fresh = masks.get_or_make(item, STILL), mask(item, STILL)
        assert found is not None and fresh is not None and torch.equal(found, fresh)
        return found

    write(folder, pictures.scene(1, (64, 64)), stripes(255, 0))
    plain = item_of(folder)
    get(), get()
    assert len(made) == 1, "the second time from the cache"
    write(folder, pictures.scene(1, (64, 64)), stripes(0, 255))
    get()
    assert len(made) == 2 and item_of(folder).content_hash == plain.content_hash, "latents stay when a mask changes"
    write(folder, pictures.scene(1, (64, 64)), crop={"left": 0.25, "top": 0, "width": 0.75, "height": 0.75})
    get()
    assert len(made) == 3 and item_of(folder).content_hash != plain.content_hash, "latents are those of the crop"


def test_without_crop_and_mask_nothing_has_changed(tmp_path: Path) -> None:
    item = item_of(write(tmp_path, pictures.scene(1, (64, 64))))
    assert mask(item, STILL) is None and item.mask_hash == "" and not item.masked
    write(tmp_path, pictures.scene(1, (64, 64)), crop={"left": 0, "top": 0, "width": 1, "height": 1})
    assert item_of(tmp_path) == item, "a crop to the whole picture is none"


@pytest.mark.parametrize(
    ("crop", "drawn", "reason"),
    [
        ({"left": 0.5, "top": 0, "width": 0.6, "height": 1}, None, "left and width must be fractions within"),
        ({"left": 0, "top": -0.1, "width": 0.6, "height": 1}, None, "top and height must be fractions within"),
        ({"left": 0, "top": 0, "width": 0, "height": 1}, None, "left and width must be fractions within"),
        ({"left": 0, "top": 0, "width": True, "height": 1}, None, "it must have the numbers left, top, width and heig"),
        ([0, 0, 1, 1], None, "it must have the numbers"),
        ({"rotate": 45}, None, "rotate must be 0, 90, 180 or 270"),
        ({"rotate": True}, None, "rotate must be 0, 90, 180 or 270"),
        (None, stripes(0), "a mask that is all black, so nothing of it would be learned: paint white in fox-mask.png"),
        (
            {"left": 0, "top": 0, "width": 0.5, "height": 1},
            stripes(0, 255),
            "a mask that is all black inside its crop",
        ),
        (
            None,
            stripes(255, width=64, height=48),
            r"of another shape \(64 × 48 pixels; the upright picture has 64 ×",
        ),
    ],
)
def test_what_is_wrong_is_said_of_the_picture(
    tmp_path: Path, crop: dict | None, drawn: np.ndarray | None, reason: str
) -> None:
    (tmp_path / "images").mkdir()
    folder = write(tmp_path / "images", pictures.scene(1, (64, 64)), drawn, crop)
    with pytest.raises(UnreadableError, match=rf"^fox.png has .*{reason}"):
        read_source(folder / "fox.png")
    pictures.scene(2, (64, 64)).save(folder / "owl.png")
    report = ingest(folder, tmp_path / "target", False)
    assert [name for name, _ in report.skipped] == ["fox.png"] and [kept.source for kept in report.kept] == ["owl.png"]
    (finding,) = (one for one in check_images(folder, Data(), 64, 16) if one.kind == "unreadable")
    assert finding.files == ("fox.png",)


def test_files_that_hold_no_crop_are_named(tmp_path: Path) -> None:
    write(tmp_path, pictures.scene(1))
    (tmp_path / "fox.crop.json").write_text("left: 3")
    with pytest.raises(UnreadableError, match=r"fox.png has a crop fox.crop.json that cannot be used: it is not JSON"):
        read_source(tmp_path / "fox.png")
    (tmp_path / "fox.crop.json").unlink()
    (tmp_path / "fox-mask.png").write_text("no picture")
    with pytest.raises(UnreadableError, match=r"has a mask fox-mask.png that cannot be used: it holds text, not an im"):
        read_source(tmp_path / "fox.png")


def test_a_crop_is_never_smaller_than_a_pixel() -> None:
    assert Crop(0.999, 0.0, 0.0001, 1.0).box((100, 10)) == (99, 0, 100, 10)
    assert Crop(0.25, 0.5, 0.5, 0.25).box((200, 100)) == (50, 50, 150, 75)
    crop = Crop(0.1, 0.2, 1 / 3, 0.7)
    assert parse_crop(crop.to_json().encode()) == Crop(0.1, 0.2, 0.333333, 0.7)
    assert "rotate" not in crop.to_json(), "as it was written before there were rotations"
    turned = Crop(0.1, 0.2, 0.5, 0.7, 270)
    assert parse_crop(turned.to_json().encode()) == turned


def test_ingest_keeps_both_and_check_tells_of_them(tmp_path: Path) -> None:
    source, first, second = tmp_path / "source", tmp_path / "first", tmp_path / "second"
    source.mkdir()
    crop = {"left": 0.25, "top": 0, "width": 0.5, "height": 1}
    write(source, pictures.scene(1, (64, 64)), stripes(255, 128, 128, 0), crop)
    pictures.scene(2, (64, 64)).save(source / "batman-mask.png")
    (source / "owl.crop.json").write_text("{}")
    assert [path.name for path in list_folder(source).images] == ["batman-mask.png", "fox.png"]
    report = ingest(source, first, False)
    names = sorted(path.name for path in first.iterdir())
    assert names == ["0001-batman-mask.png", "0002-fox-mask.png", "0002-fox.crop.json", "0002-fox.png"]
    assert report.notes == ("These crops and masks belong to no picture: batman-mask.png and owl.crop.json.",)
    ingest(first, second, False)
    for item, again in zip(*(load_dataset(at, Data(), 0, 64, 16).items for at in (first, second)), strict=True):
        assert (item.content_hash, item.mask_hash) == (again.content_hash, again.mask_hash)
    sentences = [finding.sentence for finding in check_images(source, Data(), 64, 16)]
    assert "Crops and rotations are applied to 1 and masks to 1 of 2 pictures." in sentences
    assert "batman-mask.png and owl.crop.json belong to no picture here." in sentences
