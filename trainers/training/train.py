"""From a config to a style file: prepare a run folder, train, sample, export."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from trainers.atomic_files import plain_disk_errors
from trainers.config.build import as_table, build_config
from trainers.config.config import Config
from trainers.config.techniques import techniques_in
from trainers.data.captions import full_caption
from trainers.data.dataset import Dataset
from trainers.distributed.devices import ProcessGroup
from trainers.distributed.follow import follow_launched
from trainers.distributed.launch import Orders, Work, as_launched, is_launched_after_first, together
from trainers.errors import VelaturaError, check_argument, failure_code
from trainers.formats.write.core import describe_idle
from trainers.messages import Message as _
from trainers.planning.forecast import Forecast
from trainers.planning.plan import plan_memory
from trainers.process.signals import interrupted_by_sigterm
from trainers.process.threads import computing_with
from trainers.ranks.map import draw_rank_map
from trainers.runs.event_lines import Event
from trainers.runs.events import Listener, NoRecord, Recorder, latest_events
from trainers.runs.manifest import check_images, keep_images
from trainers.runs.progress import Progress
from trainers.runs.run import PutAway, Run, new_run, write_config
from trainers.runs.threads import run_threads
from trainers.sampling.plan import PreviewPlan
from trainers.training.export import export_style, link_snapshot, write_snapshot
from trainers.training.loop import take_steps
from trainers.training.opening import open_dataset, open_first, open_session
from trainers.training.prepare import fill_folder
from trainers.training.previews import Previews
from trainers.training.prior import one_class_image, open_prior
from trainers.training.session import Session
from trainers.training.step.denoising import denoising_errors, make_probes

OTHER_DEVICES = _(
    "The run has trained with train.devices = {before} so far and continues with {now}: results will differ in the "
    "last digits from those of a run that did not change"
)

HELD_OUT_TIMES = 8
"""Timesteps at which each image kept out of training is measured."""

WORDLESS_NOTE = (
    "data.trigger is empty: without it, class images (prior.prompt) hold the style back; set a trigger word that marks "
    "your images"
)

NO_EFFECT = _(
    "{idle} after {step} steps. Raise train.learning_rate (now {rate:g}) or train longer, and check that masks do not "
    "hide the images"
)


@dataclass(frozen=True)
class Result:
    """The result of a run."""

    run: Path
    style: Path | None
    """None if the run was paused or cancelled, which exports nothing."""
    steps: int
    seconds: float
    parameters: int
    stopped_by: str
    """The reason for an early stop: `request`, `pause`, `cancel`, `SIGINT`, `SIGTERM`, `SIGHUP`; otherwise empty."""
    grid: Path | None
    """The before/after grid, unless the run was cut short."""
    difference: int | None
    """Largest difference (0–255) between pictures of the live adapter and of the reloaded file.

    None without pictures, or if the run used a quantised base: the file's use the unquantised one.
    """
    skipped: int = 0
    """Steps skipped because their loss or gradients were not finite."""


def train(
    config: Config,
    out: Path | str,
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
    check_argument("config", config, isinstance(config, Config), "build_config(…)")
    out, config = Path(out), as_launched(config)
    if is_launched_after_first():
        follow_launched(config, take_part)
    with interrupted_by_sigterm(), together(config) as join, ExitStack() as threads:
        with new_run(config, out, overwrite, put_away) as run:
            record = Recorder(run.folder, listener)
            threads.enter_context(run_threads(run, record, config.train.devices))
            fill_folder(run, config, record)
            config = _planned(run, config, record)
            session = open_first(run, config, record, join)
        session.run = Run(out / config.name)
        record.move_to(session.run.folder)
        keep_images(session.run)
        with session.run.training(), _errors_noted(session.run, record):
            return _train(session, resume=False)


def resume(
    run: Run,
    listener: Listener | None = None,
    steps: int | None = None,
    heed_stop: bool = False,
    attempt: int = 0,
    devices: int | None = None,
    changed_images: bool = False,
) -> Result:
    """Resume a run from its newest checkpoint, exactly as if it had not been interrupted.

    A prepared run, or one interrupted before its first checkpoint, is trained from its first step.

    Args:
        run: The run, from `open_run`.
        listener: Called with each event of the run.
        steps: The new total number of steps, to train longer; None for the run's config.
        heed_stop: Whether an earlier stop request counts; the run may then end immediately.
        attempt: The queue's attempt number, recorded in the run's events.
        devices: The number of devices from now on; None for the run's config. A changed number changes the last digits
            of the results, which is recorded.
        changed_images: Whether to train on if images are gone or changed, which is otherwise an error.

    Returns:
        The run folder, the style file, the total steps and the seconds of this attempt.

    Raises:
        VelaturaError: The run is complete, has lost its checkpoints, or another process trains it.
    """
    check_argument("run", run, isinstance(run, Run), 'open_run("outputs/dusk")')
    config = run.config()
    if devices is not None:
        config = build_config(as_table(config), {"train": {"devices": devices}})
    config = as_launched(config, anew=True)
    if is_launched_after_first():
        follow_launched(config, take_part)
    done, events = run.checkpoint_steps(), latest_events(run.folder)
    if not done and any(event["type"] == "checkpoint" for event in events):
        raise VelaturaError("{name} has no checkpoint left to resume from; restart it from zero", name=run.folder.name)
    if steps is not None:
        config = build_config(as_table(config), {"train": {"steps": steps}})
    _check_incomplete(run, config.train.steps, done, events)
    with interrupted_by_sigterm(), run.training():
        record = Recorder(run.folder, listener)
        if attempt:
            record("attempt", number=attempt)
        others = _note_other_devices(config, events, record)
        with _errors_noted(run, record):
            check_images(run, record, accept=changed_images or not done)
        with (
            _errors_noted(run, record),
            together(config) as join,
            run_threads(run, record, config.train.devices, anew=others),
        ):
            session = open_first(run, config := _planned(run, config, record), record, join)
            if not heed_stop:
                run.clear_stop()
            if config != run.config():
                write_config(run, config)
            return _train(session, resume=bool(done))


def _check_incomplete(run: Run, steps: int, done: Sequence[int], events: Sequence[Event]) -> None:
    """Raise VelaturaError if the run has taken all of its steps and exported its style."""
    finished = any(event["type"] == "done" and event.get("step", 0) >= steps for event in events)
    if done and (finished or done[-1] > steps):
        raise VelaturaError(
            "{folder} is complete at step {done}; to train longer, set more --steps", folder=run.folder, done=done[-1]
        )


def _planned(run: Run, config: Config, record: Recorder) -> Config:
    """The settings with those that make the run fit into memory, written into its folder for a resumed run."""
    planned = plan_memory(config, lambda message: record("note", message=message))
    if planned != config:
        write_config(run, planned)
    return planned


def take_part(group: ProcessGroup, note: Callable[[Work], None]) -> None:
    """Take the steps of a run in a process other than its first; `note` receives the work."""
    orders: Orders = group.broadcast_object()
    config = build_config(orders.config)
    with computing_with(orders.threads):
        session = open_session(Run(Path(os.devnull)), config, NoRecord(), devices=group)
        work: Work = group.broadcast_object()
        note(work)
        session.run = Run(Path(work.folder))
        dataset, _ = open_dataset(session)
        if work.measured:
            dataset = dataset.largest_alone()
            classes = one_class_image(config, dataset.items[0])
        else:
            classes = open_prior(session, dataset)
        take_steps(session, dataset, work.resume, lambda _: None, classes)


def _note_other_devices(config: Config, events: Sequence[Event], record: Recorder) -> bool:
    """Record whether a run continues on another number of devices than before, and return it."""
    before = [event.get("devices", 1) for event in events if event["type"] == "start"][-1:]
    now = config.train.devices
    if before in ([], [now]):
        return False
    record("note", message=OTHER_DEVICES.format(before=before[0], now=now))
    return True


@contextmanager
def _errors_noted(run: Run, record: Recorder) -> Iterator[None]:
    """Record the error that ended the run as one sentence."""
    try:
        with plain_disk_errors(run.style):
            yield
    except Exception as error:
        with suppress(OSError):  # on a full disk the event is lost, and the error below still says why
            code = failure_code(error)
            message = error.message if isinstance(error, VelaturaError) else str(error)
            record("error", message=message or type(error).__name__, **({"code": code} if code else {}))
        raise


def _train(session: Session, resume: bool) -> Result:
    started, devices = time.time(), session.devices
    try:
        with devices.explained(session.run, session.record):
            devices.broadcast_object(Work(str(session.run.folder.absolute()), resume))
            dataset, plan = open_dataset(session)
            parameters = _note_start(session, dataset, plan, resume)
            session.forecast = _forecast(session, plan)
            writing = partial(write_snapshot, session, dataset, started)
            held_out_loss = _held_out_loss(session, dataset)
            previews = Previews(session, session.forecast, writing, held_out_loss, dataset.items)
            if session.base_changed:
                previews.draw_before_again()
            classes = open_prior(session, dataset)
            progress = take_steps(session, dataset, resume, previews.before_step, classes)
            devices.leave()
        return _finish(session, dataset, previews, progress, parameters, started)
    finally:
        session.accelerator.end_training()


def _held_out_loss(session: Session, dataset: Dataset) -> Callable[[], float] | None:
    """The loss on the held-out images, with the same noise and timesteps each time; None without such images."""
    if not dataset.held_out:
        return None
    session.begin("encode")
    probes = make_probes(session.model, dataset.held_out, session.config, HELD_OUT_TIMES)
    return lambda: float(denoising_errors(session.model, session.network, probes, session.config).mean())


def _forecast(session: Session, plan: PreviewPlan) -> Forecast:
    """A forecast of the run from the times of its earlier attempts."""
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
        base_sha256=session.model.sha256,
        steps=config.train.steps,
        parameters=parameters,
        images=len(dataset.items),
        device=str(session.accelerator.device),
        precision=str(session.model.dtype).removeprefix("torch."),
        **_devices(session),
        threads=torch.get_num_threads(),
        text_encoders=len(session.model.text_encoders),
        resumed=resume,
    )
    if config.train.tracker != "none":
        # The run folder has moved since the accelerator was made.
        session.accelerator.project_configuration.logging_dir = str(session.run.folder / "logs")
        session.accelerator.init_trackers("velatura", {"config": str(config.model_dump(mode="json"))})
    return parameters


def _devices(session: Session) -> dict[str, int]:
    """The number of devices, and the last different one of earlier attempts."""
    now = session.devices.count
    starts = [event for event in latest_events(session.run.folder) if event["type"] == "start"]
    before = [number for event in starts if (number := event.get("devices", 1)) != now][-1:]
    return {"devices": now, **({"devices_before": before[0]} if before else {})}


def _note_dataset(session: Session, dataset: Dataset) -> None:
    """Warn about downscaled or upscaled images and truncated captions."""
    data, word, record = session.config.data, session.config.tokens.word, session.record
    smaller = [item.path.name for item in dataset.items if item.bucket.reduced]
    larger = [item.path.name for item in dataset.items if item.bucket.enlarged]
    room = session.model.family.token_limit(data.chunks)
    captions = {item.path.name: full_caption(item.caption, data, word) for item in dataset.items}
    captions["prior.prompt"] = session.config.prior.prompt
    cut = [name for name, caption in captions.items() if session.model.count_tokens(caption) > room]
    for names, problem in (
        (smaller, f"small, and trained below the training resolution (data.max_upscale = {data.max_upscale:g})"),
        (larger, f"so small that they are upscaled more than data.max_upscale = {data.max_upscale:g} times"),
        (cut, f"captioned with more than {room} tokens, and the rest is truncated; data.chunks allows more"),
    ):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            record("warning", message=f"{', '.join(names[:5])}{more}: {problem}")
    if session.config.prior.image_count and not (data.trigger or word):
        record("warning", message=WORDLESS_NOTE)


def _check_effect(session: Session, progress: Progress) -> None:
    """Raise VelaturaError if nothing was learned, unless the run was stopped; warn if the file's format loses it."""
    train, precision = session.config.train, session.config.save.precision
    idle = describe_idle(session.network, precision) if progress.step else None
    if idle is None:
        return
    message = NO_EFFECT.format(idle=idle, step=progress.step, rate=train.learning_rate)
    if session.network.is_idle() and not session.stopped_by:
        raise VelaturaError(message)
    session.record("warning", message=message)


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
        _check_effect(session, progress)
        style = export_style(session, dataset, progress, started)
        if progress.step:
            link_snapshot(session, style, progress.step)
        finals = previews.finish(style, progress.step, stopped_by)
    draw_rank_map(run.folder)
    run.clear_stop()
    kind = "stopped" if stopped_by else "done"
    facts = {"seconds": seconds, "difference": finals.difference, "skipped": progress.skipped}
    session.record(kind, step=progress.step, style=style.name, **facts)
    run.tidy(started)
    if stopped_by:
        steps = session.config.train.steps
        session.record("note", message=f"stopped at step {progress.step} of {steps}; saved and exported")
    ending = (stopped_by, finals.grid, finals.difference, progress.skipped)
    return Result(run.folder, style, progress.step, seconds, parameters, *ending)
