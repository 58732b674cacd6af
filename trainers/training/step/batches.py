"""Training batches from the dataset: latents, noise, timesteps, text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from trainers.config.config import Config
from trainers.data.buckets import Pair
from trainers.data.cache import LatentCache, MaskCache, TextCache
from trainers.data.captions import with_class
from trainers.data.dataset import CENTRE, Dataset, Draw, pixels, placement
from trainers.distributed.devices import Devices
from trainers.messages import Message, plural
from trainers.messages import Message as _
from trainers.models.images import encode_images
from trainers.models.model import Model
from trainers.models.schedule import draw_timesteps
from trainers.models.text import Conditioning
from trainers.randomness import WHOLE, Share, generator, seed_for
from trainers.runs.run import Run
from trainers.training.step.loss import draw_noise, perturbation
from trainers.training.step.trainee import Trainee, fingerprint, finite

BROKEN_BASE = _(
    "{base} itself returns numbers that are not finite, without anything trained: its files are damaged, or "
    "{precision} is too coarse for it; use another copy of it, or set train.precision = fp32"
)
BROKEN_VAE = _("the VAE of {base} returns no finite numbers for any image; use another copy of the base")


@dataclass(frozen=True)
class Batch:
    """Inputs of a forward pass: latents, noise and target `(n, c, h, w)`, timesteps `(n,)`, mask `(n, 1, h, w)`."""

    noisy: Tensor
    target: Tensor
    timesteps: Tensor
    text: Conditioning | list[str]
    time_ids: Tensor | None
    mask: Tensor | None
    uncaptioned: tuple[bool, ...]
    """Whether each image lacks a caption."""
    weights: Tensor | None = None
    """Factors of the images' losses `(n,)`."""
    classes: int = 0
    """Number of class images at its end."""


class Batches:
    """Makes batches, or a process's share of them, as a function of the seed and the draw number alone."""

    def __init__(
        self,
        run: Run,
        config: Config,
        model: Model,
        dataset: Dataset,
        trainee: Trainee,
        text_trains: bool,
        classes: Mapping[Pair, Dataset] | None = None,
        share: Share = WHOLE,
    ):
        self._config, self._model, self._dataset, self._trainee = config, model, dataset, trainee
        self._classes, self._share = classes or {}, share
        self._text_trains = text_trains
        # Captions or encoders that vary by step cannot be cached.
        self._keeps_text = config.data.cache and not text_trains and dataset.has_few_texts
        self._latents = LatentCache(run.cache / "latents", fingerprint(model.vae), enabled=config.data.cache)
        self._masks = MaskCache(run.cache / "latents", enabled=config.data.cache)
        encoders = f"{fingerprint(*model.text_encoders)}-{config.base.clip_skip}-{config.data.chunks}-{model.dtype}"
        self._texts = TextCache(run.cache / "text", encoders)

    @torch.no_grad()
    def make(self, index: int) -> Batch:
        """The batch of draw number `index`, followed by as many class images, or by itself under neutral captions."""
        seed, size = self._config.seed, self._config.train.batch_size
        draws = self._dataset.draws(index, size)
        images = self._make(self._dataset, draws, index, seed)
        if self._config.prior.keeps_output:
            return joined(images, self._of_base(images, draws, index))
        if not self._classes:
            return images
        classes = self._classes[self._dataset.items[draws[0].item_index].bucket.shape]
        return joined(images, self._make(classes, classes.draws(index, size), index, seed_for(seed, "prior")))

    def _of_base(self, images: Batch, draws: tuple[Draw, ...], index: int) -> Batch:
        """The same images under neutral captions, with the base's own prediction as target.

        Every second caption is empty: if only the class were kept, the style would come without any words too.
        """
        first, data, prompt = index * len(draws), self._config.data, self._config.prior.prompt
        captions = [
            "" if (first + row) % 2 else with_class(drawn.caption, data, prompt) for row, drawn in enumerate(draws)
        ]
        text = self._text(list(self._share.of(captions)))
        target = self._trainee.predict_with_base(images.noisy, images.timesteps, text, images.time_ids)
        uncaptioned = tuple(not caption for caption in self._share.of(captions))
        return replace(images, target=target, text=text, mask=None, uncaptioned=uncaptioned)

    def find_fault(self, draws: range, devices: Devices) -> Message | None:
        """The cause of a loss that is not finite if it is the VAE, an image or the base; None if it is training."""
        trainee, model = self._trainee, self._model
        for index in draws:
            batch = self.make(index)
            if devices.any_of(not finite([batch.noisy, batch.target])):
                broken = self._broken_images()
                if all(broken.values()):
                    return BROKEN_VAE.format(base=model.title)
                if names := [name for name, is_broken in broken.items() if is_broken]:
                    return plural(
                        "the VAE returns no finite numbers for {names}; remove this image or replace it",
                        "the VAE returns no finite numbers for {names}; remove these images or replace them",
                        len(names),
                        names=", ".join(names),
                    )
            # A trained word may be broken itself.
            text = [""] * len(batch.timesteps) if trainee.network.words else batch.text
            prediction = trainee.predict_with_base(batch.noisy, batch.timesteps, text, batch.time_ids)
            if devices.any_of(not finite([prediction])):
                return BROKEN_BASE.format(base=model.title, precision=str(model.dtype).removeprefix("torch."))
        return None

    @torch.no_grad()
    def _broken_images(self) -> dict[str, bool]:
        """Whether the latents of each image, by name, are not finite."""
        draw, items = Draw(0, flip=False, crop=CENTRE, caption=""), self._dataset.items
        latents = ((item, encode_images(self._model, pixels(item, draw)[None])) for item in items)
        return {item.path.name: not finite([*posterior]) for item, posterior in latents}

    def _make(self, dataset: Dataset, draws: tuple[Draw, ...], index: int, seed: int) -> Batch:
        config, model, share = self._config, self._model, self._share
        device, count, draws = model.device, len(draws), tuple(share.of(draws))
        mean, std = self._latents.get_or_encode(dataset, draws, lambda pixels: encode_images(model, pixels))
        shape = torch.Size((count, *mean.shape[1:]))  # of the whole batch: noise does not depend on the processes
        sample = share.of_rows(torch.randn(shape, generator=generator(seed, "latent", index)))
        latents = (mean.cpu() + std.cpu() * sample).to(device)
        noise = share.of_rows(draw_noise(shape, config.loss, seed, index)).to(device)
        with_more = noise
        if config.loss.input_perturbation:
            with_more = noise + share.of_rows(perturbation(shape, config.loss, seed, index)).to(device)
        draw = generator(seed, "timestep", index)
        pixels = mean.shape[-2] * mean.shape[-1] * model.vae_factor**2
        times = draw_timesteps(count, model.schedule, config.loss.distribution, draw, pixels)
        t = share.of_rows(times).to(device)
        return Batch(
            noisy=model.schedule.add_noise(latents, with_more, t),
            target=model.schedule.target(latents, noise, t),
            timesteps=t,
            text=self._text([d.caption for d in draws]),
            time_ids=self._sizes(dataset, draws),
            mask=self._mask(dataset, draws),
            uncaptioned=tuple(not d.caption for d in draws),
            weights=torch.tensor([dataset.items[d.item_index].weight for d in draws], device=device),
        )

    def _text(self, captions: list[str]) -> Conditioning | list[str]:
        if self._text_trains:
            return captions
        if not self._keeps_text:
            return self._trainee.encode(captions)
        read = [*map(self._model.words.as_read, captions)]  # what is left out does not change the key
        tensors = self._texts.get_or_encode(read, self._encode)
        return Conditioning(**tensors).to(self._model.device)

    def _encode(self, captions: list[str]) -> dict[str, Tensor]:
        return self._trainee.encode(captions).tensors()

    def _sizes(self, dataset: Dataset, draws: tuple[Draw, ...]) -> Tensor | None:
        items = [dataset.items[draw.item_index] for draw in draws]
        places = [placement(item, draw) for item, draw in zip(items, draws, strict=True)]
        originals, crops = zip(*places, strict=True)
        return self._model.time_ids(originals, crops, [item.bucket.shape for item in items])

    def _mask(self, dataset: Dataset, draws: tuple[Draw, ...]) -> Tensor | None:
        masks = [self._masks.get_or_make(dataset.items[draw.item_index], draw) for draw in draws]
        if all(m is None for m in masks):
            return None
        ones = next(torch.ones_like(m) for m in masks if m is not None)
        return torch.stack([ones if m is None else m for m in masks]).to(self._model.device)


def joined(images: Batch, classes: Batch) -> Batch:
    """Concatenate two batches of one size; the second has class images, without masks."""
    ones = None if images.mask is None else torch.ones_like(images.mask)
    pairs = {field.name: (getattr(images, field.name), getattr(classes, field.name)) for field in fields(Batch)}
    pairs["mask"] = (images.mask, ones)
    both = {name: torch.cat(pair) for name, pair in pairs.items() if isinstance(pair[0], Tensor)}
    uncaptioned = images.uncaptioned + classes.uncaptioned
    text = _joined_text(images.text, classes.text)
    return replace(images, **both, text=text, uncaptioned=uncaptioned, classes=len(classes.timesteps))


def _joined_text(first: Conditioning | list[str], second: Conditioning | list[str]) -> Conditioning | list[str]:
    if isinstance(first, list) and isinstance(second, list):
        return first + second
    assert isinstance(first, Conditioning) and isinstance(second, Conditioning)
    return Conditioning.cat([first, second])
