"""DreamBooth's prior preservation: class images of the unchanged base, which training must preserve.

    L = E‖prediction − target‖² + λ E‖prediction' − target'‖²

The second term uses class images with the class prompt, one per image of the batch, of the same size. They are
generated before the first step and kept in the run's folder; each is a function of the run's seed, its size and its
number. Images of `prior.folder` are cropped to these sizes instead. Ruiz et al. 2022 (arXiv 2208.12242), §3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageOps

from trainers.adapters.context import ForwardContext
from trainers.atomic_files import whole_file
from trainers.config.config import Config
from trainers.config.sections import Data
from trainers.data.buckets import Bucket, Pair
from trainers.data.dataset import Dataset, Item
from trainers.data.decode import open_image
from trainers.data.likeness import pixel_hash
from trainers.randomness import seed_for
from trainers.sampling.sample import SamplingParams, draw, evaluating
from trainers.training.prepare import ingest_classes
from trainers.training.session import Session

MOST_TRIES = 2
"""Maximum attempts per class image, since the base may repeat itself."""


def open_prior(session: Session, dataset: Dataset) -> dict[Pair, Dataset]:
    """The class images by size `(height, width)`, after making missing ones; empty without a prior.

    Also empty if the run is asked to stop meanwhile; finished images are kept.
    """
    wanted = class_counts(session.config, dataset)
    with session.heeding_signals(), session.devices.main_process_first():
        if session.devices.is_first and session.config.prior.folder:
            _cut_missing(session, wanted)
        elif session.devices.is_first and not _draw_missing(session, wanted):
            return {}
    by_shape = {}
    for shape in wanted:
        items = tuple(class_image(path, shape, session.config.prior.prompt) for path in _paths(session, shape))
        by_shape[shape] = class_dataset(session.config, items)
    return by_shape


def class_counts(config: Config, dataset: Dataset) -> dict[Pair, int]:
    """Number of class images per training size, in proportion to its images, at least one."""
    if not config.prior.image_count:
        return {}
    shares = {}
    for bucket in dataset.buckets:
        shape = dataset.items[bucket[0]].bucket.shape
        shares[shape] = config.prior.images * len(bucket) / sum(map(len, dataset.buckets))
    counts = {shape: max(1, int(share)) for shape, share in shares.items()}
    by_remainder = sorted(shares, key=lambda shape: counts[shape] - shares[shape])
    for shape in by_remainder[: max(0, config.prior.images - sum(counts.values()))]:
        counts[shape] += 1
    return counts


def class_params(config: Config, shape: Pair, seeds: tuple[int, ...] = (0,)) -> SamplingParams:
    """Sampling parameters of class images: the class prompt with the sample settings."""
    settings = config.sample
    return SamplingParams(
        prompts=(config.prior.prompt,),
        seeds=seeds,
        steps=settings.steps,
        guidance=settings.guidance,
        size=(shape[1], shape[0]),
        sampler=settings.sampler,
        clip_skip=config.base.clip_skip,
        chunks=config.data.chunks,
    )


def class_dataset(config: Config, items: tuple[Item, ...]) -> Dataset:
    """Class images of one size as a dataset with its own draws; captions are never dropped or changed."""
    return Dataset(items, Data(flip=config.data.flip, caption_dropout=0.0), seed_for(config.seed, "prior"))


def one_class_image(config: Config, item: Item) -> dict[Pair, Dataset]:
    """A stand-in for class images of an image's size, to measure a step."""
    if not config.prior.image_count:
        return {}
    return {item.bucket.shape: class_dataset(config, (replace(item, caption=config.prior.prompt, masked=False),))}


def class_image(path: Path, shape: Pair, prompt: str) -> Item:
    """A class image of the run folder, (height, width) `shape`. Raises UnreadableError."""
    height, width = shape
    content = pixel_hash(open_image(path, keep_pixels=height * width))
    return Item(path, prompt, shape, content, Bucket(width, height, 1.0, reduced=False, enlarged=False), masked=False)


def _folder(session: Session, shape: Pair) -> Path:
    return session.run.prior / f"{shape[1]}x{shape[0]}"


def _paths(session: Session, shape: Pair) -> list[Path]:
    return sorted(_folder(session, shape).glob("[!.]*.png"))  # a kill may leave hidden partial files


def _cut_missing(session: Session, wanted: Mapping[Pair, int]) -> None:
    """Crop images of the folder to each size, starting each size after the last one's images."""
    if not session.run.classes.is_dir() and wanted:
        ingest_classes(session.run, Path(session.config.prior.folder), session.record)
    sources, first = sorted(session.run.classes.glob("*.png")), 0
    for shape, count in wanted.items():
        folder, size = _folder(session, shape), (shape[1], shape[0])
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(min(count, len(sources))):
            place = folder / f"{number:05d}.png"
            if not place.exists():
                picture = open_image(sources[(first + number) % len(sources)])
                with whole_file(place) as building:
                    ImageOps.fit(picture, size, Image.Resampling.LANCZOS).save(building, format="PNG")
        first += count


def _draw_missing(session: Session, wanted: Mapping[Pair, int]) -> bool:
    """Generate missing class images; returns False on a stop request."""
    missing = {shape: count - len(_paths(session, shape)) for shape, count in wanted.items()}
    total, done = sum(max(0, count) for count in missing.values()), 0
    if total:
        session.begin("class-images")
        prompt = session.config.prior.prompt
        session.record("note", message=f"the base generates {total} class images of {prompt!r}")
    session.network.holder.context = ForwardContext()
    with evaluating(session.model), session.network.at_strength(0):
        for shape, count in missing.items():
            if count > 0 and not _draw_shape(session, shape, wanted[shape], done, total):
                return False
            done += max(0, count)
    return True


def _draw_shape(session: Session, shape: Pair, wanted: int, done: int, total: int) -> bool:
    folder = _folder(session, shape)
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {class_image(path, shape, "").content_hash for path in _paths(session, shape)}
    places = [folder / f"{number:05d}.png" for number in range(MOST_TRIES * wanted)]
    numbers = [number for number, place in enumerate(places) if not place.exists()]
    seeds = tuple(seed_for(session.config.seed, "class image", *shape, number) for number in numbers)
    pictures = draw(session.model, class_params(session.config, shape, seeds), session.show_life)
    for number in numbers:
        if len(hashes) >= wanted:
            return True
        if session.must_stop():
            return False
        done += 1
        session.record("drawing", step=0, picture=min(done, total), pictures=total, prior=True)
        picture = next(pictures)
        if (content := pixel_hash(picture)) in hashes:
            done -= 1
            continue
        hashes.add(content)
        with whole_file(places[number]) as building:
            picture.save(building)
    if len(hashes) < wanted:
        session.record("warning", message=f"the base generates only {len(hashes)} different images of the class prompt")
    return True
