from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.trainers.data import pictures
from trainers.config.sections import Data
from trainers.data.buckets import Bucket
from trainers.data.dataset import Dataset, Draw, Item, load_dataset, mask, pixels, placement
from trainers.data.decode import UnreadableError
from trainers.errors import VelaturaError

STILL = Data(caption_dropout=0)


def dataset_of(counts: list[int], options: Data = STILL, seed: int = 0) -> Dataset:
    """A dataset without files: `counts[b]` items in bucket b."""
    items = []
    for number, count in enumerate(counts):
        bucket = Bucket(64 + 64 * number, 64, 1.0, False, False)
        for index in range(count):
            items.append(Item(Path(f"{number}-{index}.png"), "a, b", (64, 64), f"{number}-{index}", bucket, False))
    return Dataset(tuple(items), options, seed)


def indices(dataset: Dataset, batches: range, batch_size: int) -> list[int]:
    return [draw.item_index for batch in batches for draw in dataset.draws(batch, batch_size)]


@settings(max_examples=60)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(1, 3), st.integers(1, 5), st.integers(0, 3))
def test_cycle_draws_every_item_equally_often(counts: list[int], repeats: int, batch_size: int, seed: int) -> None:
    dataset = dataset_of(counts, STILL.model_copy(update={"repeats": repeats}), seed)
    length = sum(counts) * repeats  # batches of a cycle, which is `batch_size` epochs
    for cycle in (0, 2):
        drawn = Counter(indices(dataset, range(cycle * length, (cycle + 1) * length), batch_size))
        assert drawn == dict.fromkeys(range(sum(counts)), repeats * batch_size)
    for batch in range(length):
        draws = dataset.draws(batch, batch_size)
        assert len(draws) == batch_size
        assert len({dataset.items[draw.item_index].bucket.shape for draw in draws}) == 1


@pytest.mark.parametrize("repeats", [1, 3])
def test_epochs_are_permutations_where_batches_divide(repeats: int) -> None:
    dataset = dataset_of([8], STILL.model_copy(update={"repeats": repeats}))
    assert dataset.batches_per_epoch(4) == 2 * repeats
    for epoch in range(3):
        epoch_batches = range(epoch * 2 * repeats, (epoch + 1) * 2 * repeats)
        assert Counter(indices(dataset, epoch_batches, 4)) == dict.fromkeys(range(8), repeats)
    assert dataset_of([5, 2]).batches_per_epoch(4) == 2


def test_order_is_shuffled_and_a_pure_function_of_seed_and_number() -> None:
    dataset, again, other = dataset_of([12, 5]), dataset_of([12, 5]), dataset_of([12, 5], seed=1)
    backwards = {batch: again.draws(batch, 4) for batch in reversed(range(60))}
    assert all(dataset.draws(batch, 4) == backwards[batch] for batch in range(60))
    assert indices(dataset, range(17), 4) != indices(other, range(17), 4)
    first, second = indices(dataset_of([16]), range(4), 4), indices(dataset_of([16]), range(4, 8), 4)
    assert sorted(first) == sorted(second) == list(range(16))
    assert first != second and first != list(range(16))
    assert indices(dataset_of([16], seed=1), range(4), 4) != first, "the seed matters within a bucket too"


def test_cycles_differ() -> None:
    dataset = dataset_of([9, 9])
    cycles = [indices(dataset, range(18 * cycle, 18 * cycle + 18), 1) for cycle in range(2)]
    turns = [[index < 9 for index in cycle] for cycle in cycles]
    assert turns[0] != turns[1], "in the order of the buckets"
    assert [i for i in cycles[0] if i < 9] != [i for i in cycles[1] if i < 9], "and within one"


def test_rare_bucket_is_spread_evenly() -> None:
    dataset = dataset_of([18, 6])
    rare = [batch for batch in range(24) if dataset.items[dataset.draws(batch, 4)[0].item_index].bucket.width == 128]
    # One in each four batches, at an uneven place there.
    assert len(rare) == 6 and len(set(np.diff(rare))) > 1
    assert all(abs(place - (4 * number + 1.5)) <= 3 for number, place in enumerate(rare))


def test_draws_differ_within_a_batch() -> None:
    options = Data(crop="random", flip=True, caption_dropout=0.5)
    draws = [draw for batch in range(40) for draw in dataset_of([1], options).draws(batch, 8)]
    assert abs(sum(draw.flip for draw in draws) / 320 - 0.5) < 0.1
    assert abs(sum(draw.caption == "" for draw in draws) / 320 - 0.5) < 0.1
    batches = [draws[first : first + 8] for first in range(0, 320, 8)]
    assert sum(len({draw.flip for draw in batch}) == 2 for batch in batches) > 35, "flips differ within a batch"
    assert len({draw.crop for draw in draws}) == 320
    crops = np.array([draw.crop for draw in draws])
    assert np.abs(crops.mean(0) - 0.5).max() < 0.06 and crops.min() >= 0 and crops.max() <= 1
    assert abs(np.corrcoef(crops.T)[0, 1]) < 0.2
    # Flip, dropout and cut are drawn independently of each other.
    flips = np.array([draw.flip for draw in draws], float)
    assert abs(np.corrcoef(flips, [draw.caption == "" for draw in draws])[0, 1]) < 0.2
    assert np.abs(np.corrcoef(flips, crops.T)[0, 1:]).max() < 0.2
    still = [draw for batch in range(5) for draw in dataset_of([3]).draws(batch, 4)]
    assert {(draw.flip, draw.crop, draw.caption) for draw in still} == {(False, (0.5, 0.5), "a, b")}


def folder_of(tmp_path: Path, *images: Image.Image) -> Path:
    for number, image in enumerate(images, 1):
        image.save(tmp_path / f"{number:04d}-fox-{number}.png")
    return tmp_path


def test_load_reads_sizes_buckets_captions_and_content(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path, pictures.scene(1, (300, 200)), pictures.scene(2, (40, 40)), pictures.scene(1, (300, 200))
    )
    (folder / "0002-fox-2.txt").write_text("a small fox")
    dataset = load_dataset(folder, Data(), 5, 128, 32)
    assert [item.caption for item in dataset.items] == ["fox 1", "a small fox", "fox 3"]
    assert [item.size for item in dataset.items] == [(200, 300), (40, 40), (200, 300)]
    assert [item.bucket.shape for item in dataset.items] == [(96, 160), (64, 64), (96, 160)]
    assert [item.bucket.reduced for item in dataset.items] == [False, True, False]
    hashes = [item.content_hash for item in dataset.items]
    assert hashes[0] == hashes[2] != hashes[1]
    assert dataset.seed == 5 and dataset.buckets == ((1,), (0, 2))


def test_load_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(VelaturaError, match=r"There are no images in"):
        load_dataset(tmp_path, Data(), 0, 128, 32)
    folder_of(tmp_path, pictures.scene(1))
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(UnreadableError, match=r"bad.png holds text"):
        load_dataset(tmp_path, Data(), 0, 128, 32)


def test_pixels_are_the_picture_in_the_right_places(tmp_path: Path) -> None:
    picture = pictures.quadrants("red", "lime", "blue", "yellow").resize((64, 32), Image.Resampling.NEAREST)
    dataset = load_dataset(folder_of(tmp_path, picture), Data(max_aspect=1), 0, 32, 16)
    item = dataset.items[0]
    assert item.bucket.shape == (32, 32) and item.bucket.scale == 1
    tensor = pixels(item, Draw(0, False, (0.5, 0.5), ""))
    assert tensor.shape == (3, 32, 32) and tensor.dtype == torch.float32
    assert tensor[:, 0, 0].tolist() == [1, -1, -1] and tensor[:, 0, -1].tolist() == [-1, 1, -1]
    assert tensor[:, -1, 0].tolist() == [-1, -1, 1] and tensor[:, -1, -1].tolist() == [1, 1, -1]
    mirrored = pixels(item, Draw(0, True, (0.5, 0.5), ""))
    assert torch.equal(mirrored, tensor.flip(-1))
    left, right = (pixels(item, Draw(0, False, (0.5, share), "")) for share in (0.0, 1.0))
    assert left[:, 0, -1].tolist() == [1, -1, -1] and right[:, 0, 0].tolist() == [-1, 1, -1]
    # The place of the cut counts in the mirrored image: its left edge shows the right colours.
    assert torch.equal(pixels(item, Draw(0, True, (0.5, 0.0), "")), right.flip(-1))
    assert placement(item, Draw(0, True, (0.5, 0.25), "")) == ((32, 64), (0, 8))


def test_pixels_span_minus_one_to_one_evenly(tmp_path: Path) -> None:
    grey = Image.new("RGB", (32, 32), (0, 51, 255))
    item = load_dataset(folder_of(tmp_path, grey), Data(), 0, 32, 16).items[0]
    assert pixels(item, Draw(0, False, (0.5, 0.5), ""))[:, 3, 3].tolist() == pytest.approx([-1, -0.6, 1])


def transparent_folder(tmp_path: Path) -> Path:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 28, 64))  # the left 28 columns are opaque red
    return folder_of(tmp_path, image, pictures.scene(1, (64, 64)))


def test_mask_is_the_opaque_share_of_each_latent_pixel(tmp_path: Path) -> None:
    dataset = load_dataset(transparent_folder(tmp_path), Data(transparency="mask"), 0, 64, 32)
    still = Draw(0, False, (0.5, 0.5), "")
    opacity = mask(dataset.items[0], still)
    assert opacity is not None and opacity.shape == (1, 8, 8)
    assert opacity[0, 5].tolist() == pytest.approx([1, 1, 1, 0.5, 0, 0, 0, 0])
    mirrored = mask(dataset.items[0], Draw(0, True, (0.5, 0.5), ""))
    assert mirrored is not None and torch.equal(mirrored, opacity.flip(-1))
    opaque = mask(dataset.items[1], still)
    assert opaque is not None and torch.equal(opaque, torch.ones(1, 8, 8))
    assert pixels(dataset.items[0], still)[:, 0, 60].tolist() == [1, 1, 1], "transparent parts are white"


def test_no_mask_unless_asked(tmp_path: Path) -> None:
    dataset = load_dataset(transparent_folder(tmp_path), Data(), 0, 64, 32)
    assert mask(dataset.items[0], Draw(0, False, (0.5, 0.5), "")) is None


def test_downscaling_averages(tmp_path: Path) -> None:
    checks = Image.fromarray(np.indices((256, 256)).sum(0).astype(np.uint8) % 2 * 255).convert("RGB")
    item = load_dataset(folder_of(tmp_path, ImageOps.expand(checks, 0)), Data(), 0, 64, 32).items[0]
    values = pixels(item, Draw(0, False, (0.5, 0.5), ""))
    assert values.abs().max() < 0.05, "a fine checkerboard becomes an even grey, not a pattern"


def folders_of(tmp_path: Path) -> Path:
    """Three images of 64 × 64: one beside the folders, one in `2_dusk`, one in `ink`."""
    for place in ("fox.png", "2_dusk/owl.png", "ink/hare.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        pictures.scene(len(place), (64, 64)).save(tmp_path / place)
    (tmp_path / "ink" / "hare.txt").write_text("a hare, ink\na {grey|brown} hare")
    return tmp_path


def test_images_of_a_folder_have_its_settings(tmp_path: Path) -> None:
    sets = {"ink": {"weight": 0.5, "repeats": 3, "wildcards": True, "flip": True}, "2_dusk": {"caption": "dusk"}}
    options = Data(images=str(tmp_path), sets=sets, caption_dropout=0.0)
    dataset = load_dataset(folders_of(tmp_path), options, 0, 64, 8)
    items = {item.path.stem: item for item in dataset.items}
    assert {name: (item.repeats, item.weight) for name, item in items.items()} == {
        "fox": (1, 1.0), "owl": (2, 1.0), "hare": (3, 0.5),
    }  # fmt: skip
    assert items["owl"].caption == "dusk" and items["fox"].caption == "fox"
    assert items["hare"].captions == ("a hare, ink", "a {grey|brown} hare")
    assert dataset.shown == 6
    drawn = [draw for index in range(60) for draw in dataset.draws(index, 1)]
    of = {name: [draw for draw in drawn if dataset.items[draw.item_index] is item] for name, item in items.items()}
    assert {draw.caption for draw in of["hare"]} == {"a hare, ink", "a grey hare", "a brown hare"}
    assert {draw.flip for draw in of["hare"]} == {True, False} and {draw.flip for draw in of["fox"]} == {False}
    assert [len(of[name]) for name in ("fox", "owl", "hare")] == [10, 20, 30]


def test_folders_without_settings_are_not_entered(tmp_path: Path) -> None:
    dataset = load_dataset(folders_of(tmp_path), Data(images=str(tmp_path)), 0, 64, 8)
    assert [item.path.stem for item in dataset.items] == ["fox", "owl"]


def test_an_image_is_trained_at_each_of_its_resolutions(tmp_path: Path) -> None:
    options = Data(images=str(tmp_path), more_resolutions=(128,), sets={"ink": {"resolutions": (96, 64)}})
    options = options.model_copy(update={"max_upscale": 4.0})
    dataset = load_dataset(folders_of(tmp_path), options, 0, 64, 8)
    sides = {(item.path.stem, item.bucket.height) for item in dataset.items}
    assert sides == {("fox", 64), ("fox", 128), ("owl", 64), ("owl", 128), ("hare", 96), ("hare", 64)}
    assert (
        options.count_shown("", 1) == 2 and options.count_shown("2_dusk", 2) == 4 and options.count_shown("ink", 1) == 2
    )


def test_no_held_out_image_is_trained_at_another_resolution(tmp_path: Path) -> None:
    options = Data(images=str(tmp_path), more_resolutions=(128,), held_out=0.5, sets={"ink": {}}, max_upscale=4.0)
    dataset = load_dataset(folders_of(tmp_path), options, 0, 64, 8)
    held_out, kept = ({item.path for item in items} for items in (dataset.held_out, dataset.items))
    assert len(dataset.held_out) == len(held_out) == 2 and len(dataset.items) == 2 and not held_out & kept
