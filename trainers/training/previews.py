"""A run's samples: before the first step, during training, and from the exported file."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from trainers.adapters.network import Network
from trainers.atomic_files import link_or_copy, whole_file
from trainers.composition.apply import apply_styles
from trainers.config.config import Config
from trainers.config.prompt_options import split_prompt
from trainers.config.sections import SCORED, Base
from trainers.data.dataset import Dataset, Item
from trainers.data.decode import UnreadableError, flatten, open_image
from trainers.data.subjects import suggest_prompts
from trainers.formats.embedding import embedding_of
from trainers.formats.read import read_style
from trainers.memory import free_memory
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.models.storage.packed import whole_bytes
from trainers.planning.forecast import Forecast
from trainers.process.signals import asking_to_stop
from trainers.runs.events import latest_events
from trainers.sampling.grid import make_grid
from trainers.sampling.plan import SHARE, fewer_pictures
from trainers.sampling.prompts import draw_each, params_of
from trainers.sampling.sample import OnStep, SamplingParams, evaluating, largest_difference, mean_difference
from trainers.score.best import ADVICE, ENDS_EARLY, stops_at
from trainers.score.pictures import PictureScores
from trainers.score.recorded import scores_of, told_early
from trainers.training.session import Session

if TYPE_CHECKING:
    from PIL.Image import Image

OFTEN = 0.5
"""Seconds between reports of a picture's denoising steps."""

ON_WHOLE_BASE = (
    "the final pictures use the file on the unquantised base, as users of the style will; pictures on the base in {} "
    "that was trained on differ by {:.1f} of 255 on average"
)
NO_ROOM = (
    "the unquantised base does not fit into this device's memory, so the final pictures use the file on the base in "
    "{}; elsewhere they will differ slightly"
)
LIMITED = (
    "{} of {} previews at step {}: beside a third, two thirds and the end, previews may take {:.0%} of the run in all"
)
FEWER = "previews: {} pictures a step, in {} denoising steps with {}, so that they take less of the run"
COPIED = (
    "the picture of {!r} at step {} is more like the training picture {} than any two of your pictures are like each "
    "other: the style may repeat it"
)
NOT_KEPT = "the pictures of step {} could not be kept: {}"


class SkippedError(Exception):
    """The run was asked to stop while pictures were drawn."""


@dataclass(frozen=True)
class Finals:
    """The final samples: the before/after grid, and the difference between live adapter and file (0–255).

    The difference is None if the live adapter used a quantised base and the file the unquantised one, or if the run was
    stopped. Both are None if the pictures were skipped.
    """

    grid: Path | None
    difference: int | None


def preview_params(config: Config, dataset: Dataset, side: int, starter: bool) -> SamplingParams:
    """Parameters of the run's samples at `side` pixels; without prompts, four that suit the captions and the base."""
    settings = config.sample
    prompts = settings.prompts or _suggested(config, dataset, starter)
    return SamplingParams(
        prompts=tuple(with_prefix(prompt, settings.prefix) for prompt in prompts),
        seeds=settings.seeds,
        negative=settings.negative,
        steps=settings.steps,
        guidance=settings.guidance,
        size=(side, side),
        sampler=settings.sampler,
        clip_skip=config.base.clip_skip,
        chunks=config.data.chunks,
    )


def with_prefix(prompt: str, prefix: str) -> str:
    """A sample prompt with the prefix in front, unless it begins with it."""
    prefix = prefix.strip().rstrip(",")
    return prompt if not prefix or prompt.startswith(prefix) else f"{prefix}, {prompt}" if prompt else prefix


def _suggested(config: Config, dataset: Dataset, starter: bool) -> tuple[str, ...]:
    captions, subjects = [item.caption for item in dataset.items], config.sample.subjects
    prompts = suggest_prompts(captions, config.data, subjects, starter, config.tokens.word, config.prior.prompt)
    return tuple(dict.fromkeys(prompt or config.name for prompt in prompts))


class Previews:
    """Draws a run's samples and writes a snapshot at each sampled step."""

    def __init__(
        self,
        session: Session,
        forecast: Forecast,
        write_snapshot: Callable[[int], bool],
        held_out_loss: Callable[[], float] | None = None,
        items: Sequence[Item] = (),
    ) -> None:
        self.session, self.forecast, self.plan = session, forecast, forecast.plan
        self._write_snapshot, self._held_out_loss = write_snapshot, held_out_loss
        self._items = items if session.config.sample.score and self.plan.count >= SCORED else ()
        self._scores: PictureScores | None = None
        self._skipped = False
        self._number = self.plan.count

    # ---------------------------------------------------------------- before and during training
    def before_step(self, step: int) -> None:
        """Draw the samples due before a step, until the run is asked to stop."""
        with suppress(SkippedError):
            if step == 0:
                self._note_plan()
                self.session.begin("before")
                self.measure(step)
                self._score_all(self._sample(self.plan.params, step), step)
            elif (asked := self.session.run.asked_to_draw()) or self.plan.is_sampled(step):
                if step not in self.session.run.list_snapshots():
                    self.session.begin("previews")
                    with self.session.as_exported():
                        self._sample_and_keep(step, asked)
                self._stop_early(step)

    def draw_before_again(self) -> None:
        """Draw the pictures from before training again, after the base has changed."""
        self.session.begin("before")
        with suppress(SkippedError), self.session.network.at_strength(0):
            self._sample(self.plan.params, 0)

    def _sample_and_keep(self, step: int, all_of_them: bool) -> None:
        """Draw pictures, then write the snapshot, which marks the step as sampled after a kill."""
        self.measure(step)
        count = self.plan.count if all_of_them else self.forecast.count_at(step)
        if count != self._number and step not in self.plan.whole and not all_of_them:
            self._number = count
            message = LIMITED.format(count, self.plan.count, step, SHARE)
            self.session.record("previews", step=step, pictures=count, share=SHARE, message=message)
        if count:
            pictures = self._sample(fewer_pictures(self.plan.params, count), step)
            self._score_all(pictures, step)
        began = time.monotonic()
        if self._write_snapshot(step):
            self.forecast.note_file(time.monotonic() - began)

    def measure(self, step: int) -> None:
        """Record the loss on the held-out images, if any."""
        if self._held_out_loss is not None:
            with evaluating(self.session.model):
                self.session.record("held_out", step=step, loss=self._held_out_loss())

    def _score_all(self, pictures: list[Image], step: int) -> None:
        """Record the scores of a step that drew every prompt, by the base without the style."""
        if len(pictures) == self.plan.count:
            model, network = self.session.model, self.session.network
            with evaluating(model), network.at_strength(0):
                if step and self._scores is None:  # an earlier version recorded none, or the base has changed
                    self._record_score(model, pictures, 0)
                self._record_score(model, pictures, step)

    def _record_score(self, model: Model, pictures: list[Image], step: int) -> None:
        if not self._items:
            return
        if self._scores is None:
            before = self._read_before(self.plan.params)
            if len(before) < self.plan.count:
                return
            self._scores = PictureScores(
                model, self._items, before, [split_prompt(prompt)[0] for prompt, _ in self.plan.params.pictures]
            )
        drawn = self._scores.observe(model, pictures) if step else self._scores.before
        self.session.record("score", pictures=len(pictures), **self._scores.score(drawn, step).as_event())
        if step and (copy := self._scores.find_copy(drawn)) is not None:
            prompt, _ = self.plan.params.pictures[copy.number]
            self.session.record("warning", step=step, message=COPIED.format(prompt, step, copy.name))

    def _stop_early(self, step: int) -> None:
        """Say once, or end the run, if it no longer comes nearer to the style (`train.early_stop`).

        A run that was killed while it ended so ends again; one that has ended and is continued trains on.
        """
        session, mode = self.session, self.session.config.train.early_stop
        if mode == "off":
            return
        events = latest_events(session.run.folder)
        scores = [score for score in scores_of(events) if score.step <= step]
        stops = stops_at(scores[0], scores[1:]) if scores else None
        told, ended = told_early(events)
        if stops is None or ended:
            return
        if not told:
            message = (ADVICE if mode == "advise" else ENDS_EARLY).format(step=stops[0], count=stops[1])
            session.record("early_stop", step=step, nearest=stops[0], further=stops[1], message=message)
        if mode == "act":
            session.ask_to_stop("request")

    def _note_plan(self) -> None:
        params = self.plan.params
        if self.plan.limited:
            facts = {"denoising": params.steps, "sampler": params.sampler, "every": self.plan.every, "share": SHARE}
            message = FEWER.format(self.plan.count, params.steps, params.sampler)
            self.session.record("previews", step=0, pictures=self.plan.count, message=message, **facts)

    def _sample(self, params: SamplingParams, step: int) -> list[Image]:
        """Generate samples with the live adapter into the run folder."""
        session, began = self.session, time.monotonic()
        with evaluating(session.model):
            pictures = self._drawn(session.model, session.network, params, step, session.run.sample(step))
        session.record("sample", step=step, pictures=len(pictures), seconds=round(time.monotonic() - began, 2))
        return pictures

    # ---------------------------------------------------------------- after training
    def finish(self, style: Path, step: int, stopped_by: str = "") -> Finals:
        """Draw the last samples; a request to stop skips them from now on.

        A run ended by the system or without a step draws none.
        """
        session = self.session
        session.run.clear_stop()
        self.forecast.ending = True
        if stopped_by in ("SIGTERM", "SIGHUP") or not step:
            return Finals(None, None)
        session.begin("after")
        with self._skippable():
            return self._finish_stopped(step) if stopped_by else self._finish_whole(style, step)
        return Finals(None, None)

    def _finish_stopped(self, step: int) -> Finals:
        """Generate every prompt with the live adapter."""
        pictures = self._sample(self.plan.params, step)
        self._score_all(pictures, step)
        return Finals(self._make_grid(self.plan.params, pictures, step), None)

    def _finish_whole(self, style: Path, step: int) -> Finals:
        """Generate with the live adapter, then every prompt with the exported file on a fresh, unquantised base.

        The training base is freed in between, so that only one is in memory.
        """
        began = time.monotonic()
        params = self.plan.params
        live = params if not self.plan.limited else fewer_pictures(params, 1)
        self.forecast.drawing = len(params.pictures) + len(live.pictures)
        first = self._draw_live(live, step)
        after, same = self._draw_file(params, style, step)
        return self._compare(params, first, after, same, step, time.monotonic() - began)

    def _draw_live(self, params: SamplingParams, step: int) -> list[Image]:
        """The pictures of the live adapter, kept if they show every prompt."""
        if not self.plan.limited:
            return self._sample(params, step)
        with evaluating(self.session.model):
            return self._drawn(self.session.model, self.session.network, params, step, None)

    def _draw_file(self, params: SamplingParams, style: Path, step: int) -> tuple[list[Image], bool]:
        """The file's pictures on a freshly loaded base, and whether its storage is that of the training base."""
        session = self.session
        trained_on, model = session.config.base, session.model
        facts = (model.dtype, model.device, model.sha256)
        unpacked = sum(map(whole_bytes, (model.denoiser, *model.text_encoders)))
        del model
        session.release()

        def draw_on(settings: Base) -> list[Image]:
            began = time.monotonic()
            fresh = load_model(settings, *facts)
            files = [(read_style(path), 1.0) for path in (style, embedding_of(style)) if path is not None]
            network = apply_styles(fresh.parts, fresh.family.name, files, fresh.words)
            self.forecast.spent += time.monotonic() - began
            pictures = self._drawn(fresh, network, params, step, session.run.samples / "final")
            network.remove()
            if settings.storage != trained_on.storage:
                self._scores = None  # the unquantised base sees the earlier pictures a little differently
            self._record_score(fresh, pictures, step)
            return pictures

        try:
            if trained_on.storage != "full" and unpacked > free_memory(torch.device("cpu")):
                raise torch.OutOfMemoryError  # the system would end the run instead
            return draw_on(trained_on.whole()), trained_on.storage == "full"
        except torch.OutOfMemoryError:
            if trained_on.storage == "full":
                raise
            session.record("warning", message=NO_ROOM.format(trained_on.storage.upper()))
        gc.collect()
        return draw_on(trained_on), True

    def _compare(
        self, params: SamplingParams, live: list[Image], after: list[Image], same: bool, step: int, seconds: float
    ) -> Finals:
        """The before/after grid and the difference of the file's pictures from those of the live adapter."""
        session, storage = self.session, self.session.config.base.storage
        pairs = live, after[: len(live)]
        difference = largest_difference(*pairs) if same else None
        if not same:
            session.record("note", message=ON_WHOLE_BASE.format(storage.upper(), mean_difference(*pairs)))
        if self.plan.limited:
            self._keep_as_sampled(len(after), step)
        grid = self._make_grid(params, after, step)
        session.record("final", step=step, difference=difference, pictures=len(after), seconds=round(seconds, 2))
        return Finals(grid, difference)

    def _keep_as_sampled(self, count: int, step: int) -> None:
        """Add the file's pictures to those of the sampled steps, as hard links where possible."""
        final, sampled = self.session.run.samples / "final", self.session.run.sample(step)
        with self._tolerating_disk(step):
            sampled.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                with whole_file(sampled / _name(number)) as building:
                    link_or_copy(final / _name(number), building)

    def _make_grid(self, params: SamplingParams, after: list[Image], step: int) -> Path | None:
        session, grid = self.session, self.session.run.samples / "before-after.png"
        before = self._read_before(params)[: len(after)]
        after = after[: len(before)] if before else after
        rows = [("before", before), (f"after {step} steps", after)] if before else [(f"after {step} steps", after)]
        heads = [prompt if len(params.seeds) == 1 else f"{prompt} · {seed}" for prompt, seed in params.pictures]
        with self._tolerating_disk(step), whole_file(grid) as building:
            make_grid(rows, heads[: len(after)], session.config.name).save(building)
            return grid
        return None

    def _read_before(self, params: SamplingParams) -> list[Image]:
        """The samples from before training; empty, with a warning, if one is damaged."""
        try:
            return read_pictures(self.session.run.samples / "step-00000000", params)
        except UnreadableError as error:
            self.session.record(
                "warning", message=f"the pictures from before training are not shown next to the final ones: {error}"
            )
            return []

    # ---------------------------------------------------------------- one picture after the other
    def _drawn(
        self, model: Model, network: Network, params: SamplingParams, step: int, folder: Path | None
    ) -> list[Image]:
        """Draw the pictures, and save each in the folder as soon as it is drawn.

        Raises SkippedError if the run is asked to stop.
        """
        session, total = self.session, len(params.pictures)
        pictures: list[Image] = []
        left = max(0.0, self.forecast.drawing - total) if self.forecast.ending else 0.0
        drawing = draw_each(
            model, params, partial(setattr, network.holder, "context"), self._report(step, params, left)
        )
        for number in range(1, total + 1):
            self.forecast.drawing = left + total - number + 1
            session.record(
                "drawing", step=step, picture=number, pictures=total, seconds_left=session.seconds_left(step)
            )
            began = time.monotonic()
            pictures.append(next(drawing))
            if folder is not None:
                with self._tolerating_disk(step):
                    _keep(pictures[-1], folder / _name(number - 1))
            self.forecast.note_picture(time.monotonic() - began)
        self.forecast.drawing = left
        return pictures

    def _report(self, step: int, params: SamplingParams, left: float) -> OnStep:
        """A callback that reports denoising steps at most every `OFTEN` seconds; raises SkippedError on a stop."""
        session, total, latest = self.session, len(params.pictures), time.monotonic()
        steps = [params_of(params, text).steps for text in params.prompts for _ in params.seeds]

        def report(picture: int, done: int) -> None:
            nonlocal latest
            if self._is_skipped():
                raise SkippedError
            if time.monotonic() - latest < OFTEN:
                session.record.show_life()
                return
            latest = time.monotonic()
            self.forecast.drawing = left + total - picture + 1 - done / steps[picture - 1]
            counts = {"picture": picture, "pictures": total, "done": done, "of": steps[picture - 1]}
            session.record("denoising", step=step, **counts, seconds_left=session.seconds_left(step))

        return report

    def _is_skipped(self) -> bool:
        if self.forecast.ending:
            return self._skipped or self.session.run.asked_to_stop() is not None
        return self.session.must_stop()

    @contextmanager
    def _skippable(self) -> Iterator[None]:
        """Suppress SkippedError, and skip on the first signal instead of stopping."""

        def ask(_signal: str) -> bool:
            first, self._skipped = not self._skipped, True
            return first

        with asking_to_stop(ask), suppress(SkippedError):
            yield

    @contextmanager
    def _tolerating_disk(self, step: int) -> Iterator[None]:
        """Record a warning if the disk is full or refuses a picture, since training matters more."""
        try:
            yield
        except OSError as error:
            self.session.record("warning", step=step, message=NOT_KEPT.format(step, error.strerror or error))


def read_pictures(folder: Path, params: SamplingParams) -> list[Image]:
    """The pictures in a folder that were drawn with these parameters, up to a missing one. Raises UnreadableError."""
    most = max(math.prod(params_of(params, text).size) for text in params.prompts)
    places = (folder / _name(number) for number in range(len(params.pictures)))
    return [flatten(open_image(place, keep_pixels=most)) for place in takewhile(Path.is_file, places)]


def _name(number: int) -> str:
    """File name of a picture, numbered from 0."""
    return f"{number:02d}.png"


def _keep(picture: Image, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(place) as building:
        picture.save(building)
