"""The images of a run and their order, a pure function of the seed and the batch number.

Batches are always full and never mix sizes. Each bucket (the images of one training size) is an endless sequence of
permutations of its images × repeats, cut into batches. A cycle is the number of batches after which every bucket has
reached the end of a permutation; within it, buckets alternate in proportion to their images, in random order. So an
image in a small bucket is not used more often than others, as it would be if each epoch filled up its last batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from trainers.config.sections import Data, ImageSet
from trainers.data.buckets import Bucket, Pair, bucket_for, fit, resized
from trainers.data.captions import base_captions, count_alternatives, draw_caption, expand
from trainers.data.decode import flatten
from trainers.data.ingest import Listing, list_folder
from trainers.data.likeness import pixel_hash
from trainers.data.source import read_source
from trainers.errors import VelaturaError
from trainers.randomness import generator, seed_for

LATENT_FACTOR = 8
CENTRE = (0.5, 0.5)
MOST_HELD_OUT = 16
MOST_TEXTS = 64
"""Alternatives of an image's caption up to which their embeddings are cached."""


@dataclass(frozen=True)
class Item:
    """One image of the dataset."""

    path: Path
    caption: str
    """Caption without trigger word; the first alternative."""
    size: Pair
    """(height, width) in pixels, upright and cropped."""
    content_hash: str
    """Hash of the decoded pixels of its crop."""
    bucket: Bucket
    masked: bool
    """Whether transparent areas are excluded from the loss."""
    mask_hash: str = ""
    """Hash of the pixels' weights; "" if all pixels count alike."""
    repeats: int = 1
    """Repeats in an epoch, times `data.repeats`."""
    captions: tuple[str, ...] = ()
    """Alternative captions with their wildcards, if there is more than `caption`."""
    settings: Data | None = None
    """Settings of its folder, if these differ from those of all images."""
    weight: float = 1.0
    """Factor of its loss."""


@dataclass(frozen=True)
class Draw:
    """A sample: an item with its random choices."""

    item_index: int
    flip: bool
    crop: tuple[float, float]
    """Crop position, as shares (down, right) of the available room."""
    caption: str


@dataclass(frozen=True)
class Dataset:
    """The items and the samples of every batch."""

    items: tuple[Item, ...]
    settings: Data
    seed: int
    word: str = ""
    """The learned word, which every caption has."""
    held_out: tuple[Item, ...] = ()
    """Images kept out of training, to measure the loss on."""
    _orders: dict[int, list[tuple[int, int]]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def buckets(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the items of each training size, repeated by their own repeats, in the order of the sizes."""
        shown = [i for i, item in enumerate(self.items) for _ in range(item.repeats)]
        shapes = sorted({item.bucket.shape for item in self.items})
        return tuple(tuple(i for i in shown if self.items[i].bucket.shape == shape) for shape in shapes)

    @cached_property
    def has_few_texts(self) -> bool:
        """Whether its captions become so few texts that their embeddings are worth a cache."""
        varied = any(settings.shuffle_tags or settings.tag_dropout for settings in map(self.settings_of, self.items))
        return not varied and all(count_alternatives(item.captions) <= MOST_TEXTS for item in self.items)

    def settings_of(self, item: Item) -> Data:
        """The settings of an item: its folder's, or those of all images."""
        return item.settings or self.settings

    @cached_property
    def shown(self) -> int:
        """Images of an epoch."""
        return sum(item.repeats for item in self.items) * self.settings.repeats

    def batches_per_epoch(self, batch_size: int) -> int:
        """Batches per epoch; every image occurs `repeats` times on average, and exactly over `batch_size` epochs."""
        return math.ceil(self.shown / batch_size)

    def largest_alone(self) -> Dataset:
        """The dataset with one of its largest images alone, for the largest possible batch."""
        largest = max(self.items, key=lambda item: item.bucket.height * item.bucket.width)
        return replace(self, items=(largest,))

    def draws(self, batch_index: int, batch_size: int) -> tuple[Draw, ...]:
        """The samples of a batch, all of one training size; a pure function of the seed and the arguments."""
        cycle, place = divmod(batch_index, self.shown)
        buckets = self.buckets
        bucket, turn = self._order(cycle, buckets)[place]
        members = buckets[bucket]
        length = len(members) * self.settings.repeats  # of a permutation, and the bucket's batches in a cycle
        first = (cycle * length + turn) * batch_size
        shape = self.items[members[0]].bucket.shape
        row: list[int] = []  # concatenated permutations
        for number in range(first // length, (first + batch_size - 1) // length + 1):
            row += torch.randperm(length, generator=generator(self.seed, "permutation", *shape, number)).tolist()
        slots = row[first % length : first % length + batch_size]
        drawn = [members[slot % len(members)] for slot in slots]
        return tuple(self._draw(batch_index * batch_size + slot, index) for slot, index in enumerate(drawn))

    def _draw(self, number: int, index: int) -> Draw:
        flip, crop = False, CENTRE
        settings = self.settings_of(self.items[index])
        if settings.flip:
            flip = torch.rand((), generator=generator(self.seed, "flip", number, index)).item() < 0.5
        if settings.crop == "random":
            down, right = torch.rand(2, generator=generator(self.seed, "crop", number, index)).tolist()
            crop = (down, right)
        captions = self.items[index].captions or (self.items[index].caption,)
        caption = draw_caption(captions, settings, self.seed, number, index, self.word)
        return Draw(index, flip, crop, caption)

    def _order(self, cycle: int, buckets: tuple[tuple[int, ...], ...]) -> list[tuple[int, int]]:
        """(bucket, index of its batch in the cycle) for every batch of a cycle; the latest cycle's is cached."""
        if cycle not in self._orders:
            times: list[Tensor] = []
            turns: list[tuple[int, int]] = []
            for bucket, members in enumerate(buckets):
                count = len(members) * self.settings.repeats
                # A random position within each batch's share of the cycle spreads a bucket's batches evenly.
                jitter = torch.rand(count, generator=generator(self.seed, "order", cycle, bucket), dtype=torch.float64)
                times.append((torch.arange(count) + jitter) / count)
                turns += [(bucket, turn) for turn in range(count)]
            order = torch.argsort(torch.cat(times), stable=True).tolist()
            self._orders.clear()
            self._orders[cycle] = [turns[place] for place in order]
        return self._orders[cycle]


def load_dataset(folder: Path, settings: Data, seed: int, resolution: int, stride: int, word: str = "") -> Dataset:
    """Read a folder's images (decoding each once for its size and content) and assign each its bucket and caption.

    Raises VelaturaError if the folder has no images or one of them cannot be read.
    """
    listing = list_folder(folder, settings.sets)
    if not listing.images:
        raise VelaturaError("There are no images in {folder}.", folder=folder)
    items = [item for path in listing.images for item in _read_items(path, listing, settings, resolution, stride)]
    kept, held_out = _split(items, settings.held_out, seed)
    return Dataset(kept, settings, seed, word, held_out)


def _read_items(path: Path, listing: Listing, whole: Data, resolution: int, stride: int) -> Iterator[Item]:
    """An image at each of its resolutions, with the settings of its folder."""
    folder = listing.folders.get(path, "")
    settings, chosen = whole.of_folder(folder), whole.sets.get(folder, ImageSet())
    masked = settings.transparency == "mask"
    source = read_source(path, masked)
    image, weights = source.picture(), source.weights(masked)
    hashed = "" if weights is None else pixel_hash(weights)
    captions = base_captions(path, settings)
    first = Item(
        path,
        expand(captions[0], settings),
        (image.height, image.width),
        pixel_hash(image),
        bucket_for(*image.size, settings.resolution or resolution, stride, settings.max_aspect, settings.max_upscale),
        masked,
        hashed,
        listing.repeats.get(path, 1) * chosen.repeats,
        captions if settings.wildcards else (),
        None if settings is whole else settings,
        chosen.weight,
    )
    yield first
    for side in settings.more_resolutions:
        bucket = bucket_for(*image.size, side, stride, settings.max_aspect, settings.max_upscale)
        yield replace(first, bucket=bucket)


def _split(items: Sequence[Item], share: float, seed: int) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """The items to train on, and a share of the images held out to measure on: at least one, at most `MOST_HELD_OUT`.

    VelaturaError if nothing would be left to train on.
    """
    if not share:
        return tuple(items), ()
    images = list({item.path: item for item in reversed(items)}.values())[::-1]  # each at its first resolution
    if len(images) < 2:
        raise VelaturaError("data.held_out keeps images out of training, so it needs at least two; found one")
    count = min(MOST_HELD_OUT, max(1, round(share * len(images))))
    drawn = sorted(range(len(images)), key=lambda place: seed_for(seed, "held out", images[place].content_hash, place))
    chosen = {images[place].path for place in drawn[:count]}
    return (
        tuple(item for item in items if item.path not in chosen),
        tuple(image for image in images if image.path in chosen),
    )


def pixels(item: Item, draw: Draw) -> Tensor:
    """The image as trained: on white, flipped, resized, cropped; (3, h, w) fp32 in [−1, 1]."""
    image, _, _ = fit(_mirrored(flatten(read_source(item.path).picture()), draw), item.bucket, draw.crop)
    values = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float()  # (h, w, 3) -> (3, h, w)
    return values / 127.5 - 1


def mask(item: Item, draw: Draw) -> Tensor | None:
    """Weights of the latent pixels, (1, h/8, w/8) fp32 in [0, 1]; None without a mask or masked transparency."""
    if not item.masked and not item.mask_hash:
        return None
    weights = read_source(item.path, item.masked).weights(item.masked) if item.mask_hash else None
    height, width = item.bucket.shape
    if weights is None:
        return torch.ones(1, height // LATENT_FACTOR, width // LATENT_FACTOR)
    image, _, _ = fit(_mirrored(weights, draw), item.bucket, draw.crop)
    values = torch.from_numpy(np.asarray(image).copy())[None].float() / 255  # (1, h, w)
    return torch.nn.functional.avg_pool2d(values, LATENT_FACTOR)


def placement(item: Item, draw: Draw) -> tuple[Pair, Pair]:
    """SDXL's size conditioning: the original (height, width), and the crop's (top, left) in the resized image."""
    return item.size, resized(item.size, item.bucket, draw.crop)[1]


def _mirrored(image: Image.Image, draw: Draw) -> Image.Image:
    # Before the crop, whose position refers to the mirrored image.
    return ImageOps.mirror(image) if draw.flip else image
