"""From a config to a style file: prepare a run folder, train, draw, export."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from trainers.adapters.network import attach
from trainers.checkpoint import Progress
from trainers.config import Config
from trainers.data.dataset import Dataset, load_dataset
from trainers.data.ingest import IngestReport, ingest
from trainers.device import choose_device, choose_format, make_accelerator
from trainers.errors import VelaturaError
from trainers.events import Listener, Recorder, read_events
from trainers.export import export_style
from trainers.loop import Session, take_steps
from trainers.models.load import load_model
from trainers.presets import STARTER
from trainers.previews import draw_final, draw_previews, preview_order
from trainers.run import Run, new_run, write_config

if TYPE_CHECKING:
    from trainers.sampling import Order

STARTER_NOTE = (
    "The starter is a small model that ships with Velatura: this style will fit only the starter. "
    "For a style that works in other tools choose a real base model with --base."
)


@dataclass(frozen=True)
class Result:
    """What a run gave: its folder, the style file, steps done, seconds spent on them, numbers trained."""

    run: Path
    style: Path
    steps: int
    seconds: float
    parameters: int
    stopped_by: str
    """Empty, or what ended the run before its last step: `request`, `SIGINT`, `SIGTERM`."""
    grid: Path | None
    """Pictures before and after, where the run was not cut short."""
    difference: int | None
    """Largest difference (0–255) between the live adapter's pictures and those of the file, loaded afresh."""


def train(config: Config, out: Path, overwrite: bool = False, listener: Listener | None = None) -> Result:
    """Train a style in a new run folder under `out`; nothing is left there where the preparation fails."""
    source = Path(config.data.images)
    if not config.data.images:
        raise VelaturaError("no images were given; name their folder with --images or data.images")
    with new_run(config, out, overwrite) as run:
        report = ingest(source, run.dataset, config.data.transparency == "mask")
        session = _open_session(run, config, listener)
        write_config(run, config)
        _note_images(session, report)
    session.run = Run(out / config.name)
    session.record.move_to(session.run.folder)
    return _train(session, resume=False)


def resume(run: Run, listener: Listener | None = None, steps: int | None = None) -> Result:
    """Go on with a run from its newest checkpoint, exactly as if it had not been cut; `steps` trains it longer."""
    config = run.config()
    done = run.checkpoint_steps()
    if not done:
        raise VelaturaError(f"{run.folder} has no checkpoint to resume from; train its config.toml anew")
    if steps is not None:
        config = config.model_copy(update={"train": config.train.model_copy(update={"steps": steps})})
        write_config(run, config)
    if done[-1] >= config.train.steps and any(e["type"] == "done" for e in read_events(run.folder)):
        raise VelaturaError(f"{run.folder} is complete at step {done[-1]}; give more --steps to train it longer")
    run.clear_stop()
    return _train(_open_session(run, config, listener), resume=True)


def _open_session(run: Run, config: Config, listener: Listener | None) -> Session:
    """Load the base and place the method on it, saying what the user should know before a step is taken."""
    record = Recorder(run.folder, listener)
    device = choose_device(config.train.device)
    dtype = choose_format(config.train.precision, device, small=config.base.model == STARTER)
    accelerator = make_accelerator(config.train, device, dtype, str(run.folder / "logs"))
    model = load_model(config.base, dtype, accelerator.device)
    network = attach(model.parts, config.method, config.targets, config.seed)
    if model.starter:
        record("note", message=STARTER_NOTE)
    return Session(run, config, model, network, record, accelerator)


def _note_images(session: Session, report: IngestReport) -> None:
    record = session.record
    for name, reason in report.skipped:
        record("warning", message=f"{name} was left out: {reason}")
    for group in report.duplicates:
        how = "the same" if group.exact else "nearly the same"
        record("warning", message=f"these images are {how}: {', '.join(group.names)}")
    for sentence in report.notes:
        record("note", message=sentence)
    record("images", count=len(report.kept), skipped=len(report.skipped))


def _train(session: Session, resume: bool) -> Result:
    config, run, record = session.config, session.run, session.record
    resolution = config.data.resolution or session.model.resolution
    dataset = load_dataset(run.dataset, config.data, config.seed, resolution, session.model.stride)
    parameters = sum(p.numel() for p in session.network.parameters())
    record(
        "start",
        name=config.name,
        method=config.method.name,
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
        session.accelerator.init_trackers("velatura", {"config": str(config.model_dump(mode="json"))})
    order = preview_order(config, dataset, resolution)
    started = time.time()
    try:
        progress = take_steps(session, dataset, resume, _previews(session, order))
        return _finish(session, dataset, order, progress, parameters, started)
    except VelaturaError as error:
        record("error", message=str(error))
        raise
    finally:
        session.accelerator.end_training()


def _previews(session: Session, order: Order) -> Callable[[int], None]:
    """Draw before the first step and every `sample.every` steps."""
    every = session.config.sample.every

    def before(step: int) -> None:
        if step == 0 or (every and step % every == 0):
            with session.average.in_place() if session.average and step else nullcontext():
                draw_previews(session, order, step)

    return before


def _finish(
    session: Session, dataset: Dataset, order: Order, progress: Progress, parameters: int, started: float
) -> Result:
    """Export, draw from the exported file, and say what there is."""
    config, run = session.config, session.run
    with session.average.in_place() if session.average else nullcontext():
        style = export_style(session, dataset, progress, started)
        finals = None if session.stopped_by else draw_final(session, order, style, progress.step)
    run.clear_stop()
    result = Result(
        run.folder,
        style,
        progress.step,
        round(progress.seconds, 2),
        parameters,
        session.stopped_by,
        finals.grid if finals else None,
        finals.difference if finals else None,
    )
    kind = "stopped" if session.stopped_by else "done"
    session.record(kind, step=progress.step, style=style.name, seconds=result.seconds, difference=result.difference)
    if session.stopped_by:
        session.record("note", message=f"stopped at step {progress.step} of {config.train.steps}; saved and exported")
    return result
