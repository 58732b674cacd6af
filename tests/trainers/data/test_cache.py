from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.faults import in_use_once
from tests.trainers.data import pictures
from trainers.config.sections import Data
from trainers.data.cache import LatentCache, TextCache
from trainers.data.dataset import Dataset, Draw, load_dataset, pixels
from trainers.errors import VelaturaError


class Encoder:
    """Counts its calls; what it gives depends on every input value."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 8, 8, stride=8)
        self.calls: list[tuple[int, ...]] = []

    def images(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        self.calls.append(tuple(batch.shape))
        mean, std = self.conv(batch).chunk(2, dim=1)
        return mean, std.exp()

    def captions(self, captions: list[str]) -> Mapping[str, Tensor]:
        self.calls.append(tuple(map(len, captions)))
        rows = torch.stack([torch.arange(6.0).view(3, 2) * (1 + len(caption)) for caption in captions])
        return {"hidden": rows.to(torch.bfloat16), "pooled": rows.sum(1)}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        pictures.scene(number, (64, 48)).save(folder / f"{number}.png")
    return load_dataset(folder, Data(), 0, 64, 16)


def still(*indices: int, flip: bool = False) -> tuple[Draw, ...]:
    return tuple(Draw(index, flip, (0.5, 0.5), "") for index in indices)


def test_latents_are_encoded_alone_and_once(tmp_path: Path, dataset: Dataset) -> None:
    encoder, cache = Encoder(), LatentCache(tmp_path / "cache", "vae")
    mean, std = cache.get_or_encode(dataset, still(2, 0, 2), encoder.images)
    height, width = dataset.items[0].bucket.shape
    assert encoder.calls == [(1, 3, height, width)] * 2, "each alone, the repeated one once"
    assert mean.shape == std.shape == (3, 4, height // 8, width // 8)
    for row, index in enumerate((2, 0, 2)):
        fresh_mean, fresh_std = encoder.images(pixels(dataset.items[index], still(index)[0])[None])
        assert torch.equal(mean[row], fresh_mean[0]) and torch.equal(std[row], fresh_std[0])
    encoder.calls.clear()
    again, again_std = LatentCache(tmp_path / "cache", "vae").get_or_encode(dataset, still(0, 1, 2), encoder.images)
    assert len(encoder.calls) == 1, "only the missing one"
    assert torch.equal(again[[2, 0]], mean[:2]) and torch.equal(again_std[[2, 0]], std[:2])
    assert not mean.requires_grad and len(list((tmp_path / "cache").iterdir())) == 3


def test_everything_that_changes_a_latent_is_in_its_key(tmp_path: Path, dataset: Dataset) -> None:
    encoder, folder = Encoder(), tmp_path / "cache"
    images = dataset.items[0].path.parent

    def is_new(dataset: Dataset, key: str = "vae", flip: bool = False) -> bool:
        encoder.calls.clear()
        given = LatentCache(folder, key).get_or_encode(dataset, still(0, flip=flip), encoder.images)
        called = bool(encoder.calls)
        fresh = encoder.images(pixels(dataset.items[0], still(0, flip=flip)[0])[None])
        assert torch.equal(given[0], fresh[0]) and torch.equal(given[1], fresh[1])
        return called

    assert is_new(dataset)
    assert not is_new(dataset)
    assert is_new(dataset, flip=True)
    assert is_new(dataset, key="another vae")
    assert is_new(load_dataset(images, Data(), 0, 48, 16)), "size"
    assert is_new(load_dataset(images, Data(max_aspect=1), 0, 64, 16)), "shape"
    assert not is_new(load_dataset(images, Data(repeats=3, caption="x"), 9, 64, 16)), "neither seed nor captions"
    pictures.scene(7, (64, 48)).save(images / "0.png")
    assert is_new(load_dataset(images, Data(), 0, 64, 16)), "content"
    (images / "0.png").rename(images / "00.png")
    assert not is_new(load_dataset(images, Data(), 0, 64, 16)), "the name does not matter"


@pytest.mark.parametrize("harm", ["truncated", "flipped", "empty", "text", "half"])
def test_damaged_latents_are_encoded_anew(tmp_path: Path, dataset: Dataset, harm: str) -> None:
    encoder, cache = Encoder(), LatentCache(tmp_path / "cache", "vae")
    mean, _ = cache.get_or_encode(dataset, still(0), encoder.images)
    (path,) = (tmp_path / "cache").iterdir()
    data = bytearray(path.read_bytes())
    flipped = bytes(data[:-3]) + bytes([data[-3] ^ 1]) + bytes(data[-2:])
    harmed = {"truncated": data[:-7], "flipped": flipped, "empty": b"", "text": b"not tensors", "half": data[:20]}
    path.write_bytes(harmed[harm])
    again, _ = cache.get_or_encode(dataset, still(0), encoder.images)
    assert len(encoder.calls) == 2 and torch.equal(mean, again)
    assert path.read_bytes() == bytes(data), "the file is whole again"


def test_random_cuts_and_a_disabled_cache_leave_nothing(tmp_path: Path, dataset: Dataset) -> None:
    encoder = Encoder()
    off = LatentCache(tmp_path / "off", "vae", enabled=False)
    on = LatentCache(tmp_path / "on", "vae")
    one = (Draw(1, False, (0.0, 0.2), ""), Draw(1, False, (0.0, 0.9), ""))
    for cache, draws in ((off, still(1, 1)), (on, one)):
        for _ in range(2):
            encoder.calls.clear()
            mean, _ = cache.get_or_encode(dataset, draws, encoder.images)
            assert len(encoder.calls) == len(set(draws)) and all(shape[0] == 1 for shape in encoder.calls)
            fresh = torch.cat([encoder.images(pixels(dataset.items[1], draw)[None])[0] for draw in draws])
            assert torch.equal(mean, fresh)
    assert not (tmp_path / "off").exists() and not (tmp_path / "on").exists()


def test_captions_are_encoded_alone_and_once(tmp_path: Path) -> None:
    encoder = Encoder()
    cache = TextCache(tmp_path / "text", "clip")
    given = cache.get_or_encode(["a fox", "", "a fox"], encoder.captions)
    assert encoder.calls == [(5,), (0,)]
    assert given["hidden"].shape == (3, 3, 2) and given["hidden"].dtype == torch.bfloat16
    assert given["pooled"].tolist() == [[36, 54], [6, 9], [36, 54]]
    for path in (tmp_path / "text").iterdir():
        path.unlink()
    again = cache.get_or_encode(["", "a fox"], encoder.captions)
    assert len(encoder.calls) == 2, "the second time from memory, without the disk"
    assert torch.equal(again["hidden"], given["hidden"][[1, 0]])


def test_captions_come_back_from_disk(tmp_path: Path) -> None:
    encoder = Encoder()
    given = TextCache(tmp_path, "clip").get_or_encode(["a fox"], encoder.captions)
    again = TextCache(tmp_path, "clip").get_or_encode(["a fox"], encoder.captions)
    assert len(encoder.calls) == 1 and all(torch.equal(given[name], again[name]) for name in ("hidden", "pooled"))
    TextCache(tmp_path, "another clip").get_or_encode(["a fox"], encoder.captions)
    TextCache(tmp_path, "clip").get_or_encode(["a fix"], encoder.captions)
    assert len(encoder.calls) == 3
    next(tmp_path.iterdir()).write_bytes(b"broken")
    for caption in ("a fox", "a fix"):
        TextCache(tmp_path, "clip").get_or_encode([caption], encoder.captions)
    TextCache(tmp_path, "another clip").get_or_encode(["a fox"], encoder.captions)
    assert len(encoder.calls) == 4, "exactly the broken one is encoded anew"


def test_text_memory_is_bounded_and_disabled_text_cache_keeps_nothing(tmp_path: Path) -> None:
    encoder = Encoder()
    small = TextCache(tmp_path / "small", "clip", memory=20)  # an entry has 12 + 8 bytes
    small.get_or_encode(["one", "three"], encoder.captions)
    for path in (tmp_path / "small").iterdir():
        path.unlink()
    small.get_or_encode(["one", "three"], encoder.captions)
    assert encoder.calls == [(3,), (5,), (5,)]
    off = TextCache(tmp_path / "off", "clip", enabled=False)
    for _ in range(2):
        off.get_or_encode(["one"], encoder.captions)
    assert len(encoder.calls) == 5 and not (tmp_path / "off").exists()


def test_an_entry_that_windows_says_is_in_use_is_written_a_little_later(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, cache, tries = Encoder(), LatentCache(tmp_path / "cache", "vae"), in_use_once(monkeypatch)
    for _ in range(2):
        cache.get_or_encode(dataset, still(0), encoder.images)
    assert len(encoder.calls) == 1 and len(tries) == 2


def test_full_disk_is_one_sentence_and_leaves_no_part(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(VelaturaError, match=r"No space left on device.*data.cache = false"):
        LatentCache(tmp_path / "cache", "vae").get_or_encode(dataset, still(0), Encoder().images)
    assert list((tmp_path / "cache").iterdir()) == []
