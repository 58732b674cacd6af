"""DreamBooth's prior preservation: pictures of the whole class, drawn by the base as it was, that it must still make.

    L = E‖prediction − target‖² + λ E‖prediction' − target'‖²

The second term is that of class images under the class prompt, one for each image of the batch and of its size. They
are drawn once, before the first step, and kept in the run's folder; each is a function of the run's seed, its size and
its number. Ruiz et al. 2022 (arXiv 2208.12242), §3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trainers.adapters.context import ForwardContext
from trainers.config.config import Config
from trainers.config.sections import Data
from trainers.data.buckets import Bucket, Pair
from trainers.data.dataset import Dataset, Item
from trainers.data.decode import open_image
from trainers.data.likeness import pixel_hash
from trainers.files import whole_file
from trainers.randomness import seed_for
from trainers.runs.signals import asking_to_stop
from trainers.sampling.sample import Order, draw
from trainers.training.loop import Session
from trainers.training.previews import evaluating, showing_life

MOST_TRIES = 2
"""Pictures that are drawn for each that is wanted, should the base draw the same again and again."""


def open_prior(session: Session, dataset: Dataset) -> dict[Pair, Dataset]:
    """The class images by size `(height, width)`, those that are missing drawn first; none where there is no prior.

    None either where somebody asks to stop meanwhile; what has been drawn is kept.
    """
    wanted = class_counts(session.config, dataset)
    with asking_to_stop(session.ask_to_stop):
        if not _draw_missing(session, wanted):
            return {}
    found = {}
    for shape in wanted:
        items = tuple(class_image(path, shape, session.config.prior.prompt) for path in _paths(session, shape))
        found[shape] = class_dataset(session.config, items)
    return found


def class_counts(config: Config, dataset: Dataset) -> dict[Pair, int]:
    """How many class images of each training size there should be: in proportion to its images, and at least one."""
    if not config.prior.drawn:
        return {}
    shares = {}
    for bucket in dataset.buckets:
        shape = dataset.items[bucket[0]].bucket.shape
        shares[shape] = config.prior.images * len(bucket) / len(dataset.items)
    counts = {shape: max(1, int(share)) for shape, share in shares.items()}
    by_remainder = sorted(shares, key=lambda shape: counts[shape] - shares[shape])
    for shape in by_remainder[: max(0, config.prior.images - sum(counts.values()))]:
        counts[shape] += 1
    return counts


def class_order(config: Config, shape: Pair, seeds: tuple[int, ...] = (0,)) -> Order:
    """How class images are drawn: the class prompt, as samples are."""
    settings = config.sample
    return Order(
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
    """Class images of one size as a dataset with draws of its own; its captions are never dropped or changed."""
    return Dataset(items, Data(flip=config.data.flip, caption_dropout=0.0), seed_for(config.seed, "prior"))


def class_image(path: Path, shape: Pair, prompt: str) -> Item:
    """A class image of the run folder, (height, width) `shape`. Raises UnreadableError."""
    height, width = shape
    content = pixel_hash(open_image(path, keep_pixels=height * width))
    return Item(path, prompt, shape, content, Bucket(width, height, 1.0, reduced=False, enlarged=False), masked=False)


def _folder(session: Session, shape: Pair) -> Path:
    return session.run.prior / f"{shape[1]}x{shape[0]}"


def _paths(session: Session, shape: Pair) -> list[Path]:
    return sorted(_folder(session, shape).glob("[!.]*.png"))  # what a kill left half written is hidden


def _draw_missing(session: Session, wanted: Mapping[Pair, int]) -> bool:
    """Draw the class images that are not there yet; False where somebody asks to stop."""
    missing = {shape: count - len(_paths(session, shape)) for shape, count in wanted.items()}
    total, done = sum(max(0, count) for count in missing.values()), 0
    if total:
        prompt = session.config.prior.prompt
        session.record("note", message=f"the base draws {total} pictures of {prompt!r} that it must not forget")
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
    found = {class_image(path, shape, "").content_hash for path in _paths(session, shape)}
    places = [folder / f"{number:05d}.png" for number in range(MOST_TRIES * wanted)]
    numbers = [number for number, place in enumerate(places) if not place.exists()]
    seeds = tuple(seed_for(session.config.seed, "class image", *shape, number) for number in numbers)
    pictures = draw(session.model, class_order(session.config, shape, seeds), showing_life(session))
    for number in numbers:
        if len(found) >= wanted:
            return True
        if session.must_stop():
            return False
        done += 1
        session.record("drawing", step=0, picture=min(done, total), pictures=total, prior=True)
        picture = next(pictures)
        if (content := pixel_hash(picture)) in found:
            done -= 1
            continue
        found.add(content)
        with whole_file(places[number]) as building:
            picture.save(building)
    if len(found) < wanted:
        session.record("warning", message=f"the base draws only {len(found)} different pictures of the class prompt")
    return True
