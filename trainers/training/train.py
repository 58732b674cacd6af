"""From a config to a style file: prepare a run folder, train, sample, export."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from trainers.adapters.network import attach
from trainers.atomic_files import plain_disk_errors
from trainers.config.build import as_table, build_config
from trainers.config.config import Config
from trainers.config.presets import STARTER
from trainers.config.techniques import techniques_in
from trainers.data.captions import full_caption
from trainers.data.dataset import Dataset, load_dataset
from trainers.device import choose_device, choose_format, make_accelerator
from trainers.errors import REFUSED, VelaturaError, failure_code
from trainers.models.load import import_libraries, load_model
from trainers.models.text import CHUNK, count_tokens, unread_layers
from trainers.ranks.map import draw_rank_map
from trainers.runs.events import Listener, Recorder, latest_events
from trainers.runs.forecast import Forecast
from trainers.runs.prepare import fill_folder
from trainers.runs.run import PutAway, Run, new_run, write_config
from trainers.runs.signals import interrupted_by_sigterm
from trainers.runs.threads import run_threads
from trainers.sampling.plan import PreviewPlan, plan_previews
from trainers.training.added_tokens import learn_word
from trainers.training.check_fit import check_fit, note_idle_ranks, note_optimizer
from trainers.training.checkpoint import Progress
from trainers.training.denoising import denoising_errors, make_probes
from trainers.training.export import export_style, link_snapshot, write_snapshot
from trainers.training.loop import Session, take_steps
from trainers.training.optim import make_optimizer, parameter_groups
from trainers.training.previews import Previews, preview_params
from trainers.training.prior import open_prior

STARTER_NOTE = (
    "The starter is a small bundled model, and this style will fit only the starter. For a style that works in other "
    "tools, choose a real base model with --base."
)

ONLY_HERE_NOTE = (
    "{} does not change weights, and other tools have no format for it: this style will load in Velatura only."
)

HELD_OUT_TIMES = 8
"""Timesteps at which each image kept out of training is measured."""

WORDLESS_NOTE = (
    "data.trigger is empty: without it, class images (prior.prompt) hold the style back; set a trigger word that marks "
    "your images"
)


@dataclass(frozen=True)
class Result:
    """The result of a run: its folder, style file, steps, seconds and number of parameters."""

    run: Path
    style: Path | None
    """None if the run was paused or cancelled, which exports nothing."""
    steps: int
    seconds: float
    parameters: int
    stopped_by: str
    """What stopped the run early: `request`, `pause`, `cancel`, `SIGINT`, `SIGTERM`; otherwise empty."""
    grid: Path | None
    """The before/after grid, if the run was not cut short."""
    difference: int | None
    """Largest difference (0–255) between pictures of the live adapter and of the reloaded file.

    None without pictures, or if the run used a quantised base: the file's use the unquantised one.
    """


def train(
    config: Config,
    out: Path,
    overwrite: bool = False,
    listener: Listener | None = None,
    put_away: PutAway | None = None,
) -> Result:
    """Train a style in a new run folder under `out`; if the preparation fails, nothing is left behind.

    Args:
        config: The complete config; `name` is the name of the run folder and the style file.
        out: The folder of runs, created if missing.
        overwrite: Whether a run of this name may be replaced.
        listener: Called with each event of the run, such as `{"type": "step", "step": 1, "loss": 0.12, …}`.
        put_away: Receives the folder of a replaced run; without it, that folder is deleted.

    Returns:
        The run folder, the style file, the steps done and their seconds.

    Raises:
        VelaturaError: The images, the base or the settings are invalid, or the name is taken.
    """
    with interrupted_by_sigterm(), ExitStack() as threads:
        with new_run(config, out, overwrite, put_away) as run:
            record = Recorder(run.folder, listener)
            threads.enter_context(run_threads(run, record))
            fill_folder(run, config, record)
            session = open_session(run, config, record)
        session.run = Run(out / config.name)
        record.move_to(session.run.folder)
        with session.run.training(), _errors_noted(session.run, record):
            return _train(session, resume=False)


def resume(
    run: Run, listener: Listener | None = None, steps: int | None = None, heed_stop: bool = False, attempt: int = 0
) -> Result:
    """Resume a run from its newest checkpoint, exactly as if it had not been interrupted.

    A prepared run, or one interrupted before its first checkpoint, is trained from its first step.

    Args:
        run: The run, from `open_run`.
        listener: Called with each event of the run.
        steps: The new total number of steps, to train longer; None for the run's config.
        heed_stop: Whether an earlier stop request counts; the run may then end immediately.
        attempt: The queue's attempt number, recorded in the run's events.

    Returns:
        The run folder, the style file, the total steps and the seconds of this attempt.

    Raises:
        VelaturaError: The run is complete, has lost its checkpoints, or another process trains it.
    """
    config = run.config()
    done = run.checkpoint_steps()
    events = latest_events(run.folder)
    if not done and any(event["type"] == "checkpoint" for event in events):
        raise VelaturaError("{name} has no checkpoint left to resume from; restart it from zero", name=run.folder.name)
    if steps is not None:
        config = build_config(as_table(config), {"train": {"steps": steps}})
    finished = any(event["type"] == "done" and event.get("step", 0) >= config.train.steps for event in events)
    if done and (finished or done[-1] > config.train.steps):
        raise VelaturaError(
            "{folder} is complete at step {done}; to train longer, set more --steps", folder=run.folder, done=done[-1]
        )
    with interrupted_by_sigterm(), run.training():
        record = Recorder(run.folder, listener)
        if attempt:
            record("attempt", number=attempt)
        with _errors_noted(run, record), run_threads(run, record):
            session = open_session(run, config, record)
            if not heed_stop:
                run.clear_stop()
            if steps is not None:
                write_config(run, config)
            return _train(session, resume=bool(done))


@contextmanager
def _errors_noted(run: Run, record: Recorder) -> Iterator[None]:
    """Record the error that ended the run as one sentence."""
    try:
        with plain_disk_errors(run.style):
            yield
    except Exception as error:
        with suppress(OSError):  # a full disk takes no event either, and it is the error that matters
            code = failure_code(error)
            said = error.message if isinstance(error, VelaturaError) else str(error)
            record("error", message=said or type(error).__name__, **({"code": code} if code else {}))
        raise


def open_session(run: Run, config: Config, record: Recorder, steps: bool = True) -> Session:
    """Load the base and attach the method, with notes for the user before the first step.

    Without `steps`, skips checks that only training needs.
    """
    record("phase", phase="load")
    record("loading", base=config.base.model)
    device = choose_device(config.train.device)
    dtype = choose_format(config.train.precision, device, small=config.base.model == STARTER)
    accelerator = make_accelerator(config.train, device, dtype, str(run.folder / "logs"))
    import_libraries()  # apart: the base is loaded a second time for the last pictures
    began = time.monotonic()
    model = load_model(config.base, dtype, accelerator.device)
    loading = time.monotonic() - began
    unread = unread_layers(model, config.base.clip_skip)
    with _of_settings():
        network = attach(model.parts, config.method, config.targets, config.seed, unread)
        if config.tokens.word:
            learn_word(model, network, config.tokens)
        check_fit(config, model, network)
        if steps:
            make_optimizer(parameter_groups(network, config.train), config.train)  # says what it lacks
    if steps:
        note_optimizer(config, record)
    if not network.merges:
        record("note", message=ONLY_HERE_NOTE.format(config.method.name))
    note_idle_ranks(network, record)
    if model.starter:
        record("note", message=STARTER_NOTE)
    return Session(run, config, model, network, record, accelerator, phase="load", loading=loading)


@contextmanager
def _of_settings() -> Iterator[None]:
    """Mark errors that users can fix as errors of the settings, which another attempt would meet again."""
    try:
        yield
    except VelaturaError as error:
        error.code = error.code or REFUSED
        raise


def open_dataset(session: Session, folder: Path | None = None) -> tuple[Dataset, PreviewPlan]:
    """The images of a session's run, or of a folder, at its training resolution, and its previews."""
    config, model = session.config, session.model
    resolution = config.data.resolution or model.resolution
    side = config.sample.size or resolution - resolution % model.stride
    images = folder or session.run.dataset
    dataset = load_dataset(images, config.data, config.seed, resolution, model.stride, config.tokens.word)
    return dataset, plan_previews(config, preview_params(config, dataset, side, model.starter), resolution)


def _train(session: Session, resume: bool) -> Result:
    started = time.time()
    try:
        dataset, plan = open_dataset(session)
        parameters = _note_start(session, dataset, plan, resume)
        session.forecast = _forecast(session, plan)
        writing = partial(write_snapshot, session, dataset, started)
        previews = Previews(session, session.forecast, writing, _held_out_loss(session, dataset))
        classes = open_prior(session, dataset)
        progress = take_steps(session, dataset, resume, previews.before_step, classes)
        return _finish(session, dataset, previews, progress, parameters, started)
    finally:
        session.accelerator.end_training()


def _held_out_loss(session: Session, dataset: Dataset) -> Callable[[], float] | None:
    """The loss on the images kept out of training, the same noise and timesteps each time; None if there are none."""
    if not dataset.held_out:
        return None
    session.begin("encode")
    probes = make_probes(session.model, dataset.held_out, session.config, HELD_OUT_TIMES)
    return lambda: float(denoising_errors(session.model, session.network, probes, session.config).mean())


def _forecast(session: Session, plan: PreviewPlan) -> Forecast:
    """What the run will take, from what its earlier attempts took."""
    forecast = Forecast(plan, session.loading)
    for event in latest_events(session.run.folder):
        if event["type"] == "sample":
            forecast.note_earlier(event.get("pictures", 0), event.get("seconds", 0.0))
        elif event["type"] == "final":
            forecast.note_earlier(0, event.get("seconds", 0.0))
    return forecast


def _note_start(session: Session, dataset: Dataset, plan: PreviewPlan, resume: bool) -> int:
    """Record the start, in the tracker too; returns the number of parameters."""
    config = session.config
    _note_dataset(session, dataset)
    parameters = sum(p.numel() for p in session.network.parameters())
    session.record(
        "start",
        name=config.name,
        prompts=[prompt for prompt, _ in plan.params.pictures],
        method=techniques_in(config.model_dump()),
        base=session.model.title,
        family=session.model.family.name,
        steps=config.train.steps,
        parameters=parameters,
        images=len(dataset.items),
        device=str(session.accelerator.device),
        precision=str(session.model.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        resumed=resume,
    )
    if config.train.tracker != "none":
        # The run folder has moved since the accelerator was made.
        session.accelerator.project_configuration.logging_dir = str(session.run.folder / "logs")
        session.accelerator.init_trackers("velatura", {"config": str(config.model_dump(mode="json"))})
    return parameters


def _note_dataset(session: Session, dataset: Dataset) -> None:
    """Warn about downscaled or upscaled images and truncated captions."""
    data, word, record = session.config.data, session.config.tokens.word, session.record
    smaller = [item.path.name for item in dataset.items if item.bucket.reduced]
    larger = [item.path.name for item in dataset.items if item.bucket.enlarged]
    room = CHUNK * data.chunks
    captions = {item.path.name: full_caption(item.caption, data, word) for item in dataset.items}
    captions["prior.prompt"] = session.config.prior.prompt
    cut = [name for name, caption in captions.items() if count_tokens(session.model, caption) > room]
    for names, what in (
        (smaller, f"small, and trained below the training resolution (data.max_upscale = {data.max_upscale:g})"),
        (larger, f"so small that they are upscaled more than data.max_upscale = {data.max_upscale:g} times"),
        (cut, f"captioned with more than {room} tokens, and the rest is truncated; data.chunks allows more"),
    ):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            record("warning", message=f"{', '.join(names[:5])}{more}: {what}")
    if session.config.prior.image_count and not (data.trigger or word):
        record("warning", message=WORDLESS_NOTE)


def _finish(
    session: Session, dataset: Dataset, previews: Previews, progress: Progress, parameters: int, started: float
) -> Result:
    """Export, generate samples, and report; a paused or cancelled run exports nothing."""
    run, stopped_by, seconds = session.run, session.stopped_by, round(progress.seconds, 2)
    if stopped_by in ("pause", "cancel"):
        run.clear_stop()
        session.record("paused" if stopped_by == "pause" else "cancelled", step=progress.step, seconds=seconds)
        return Result(run.folder, None, progress.step, seconds, parameters, stopped_by, None, None)
    session.begin("export")
    with session.as_exported():
        previews.measure(progress.step)
        style = export_style(session, dataset, progress, started)
        if progress.step:
            link_snapshot(session, style, progress.step)
        finals = previews.finish(style, progress.step, stopped_by)
    draw_rank_map(run.folder)
    run.clear_stop()
    kind = "stopped" if stopped_by else "done"
    session.record(kind, step=progress.step, style=style.name, seconds=seconds, difference=finals.difference)
    run.tidy(started)
    if stopped_by:
        steps = session.config.train.steps
        session.record("note", message=f"stopped at step {progress.step} of {steps}; saved and exported")
    return Result(run.folder, style, progress.step, seconds, parameters, stopped_by, finals.grid, finals.difference)
