"""The training loop, for every method, base and optimizer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor

from trainers.adapters.context import ForwardContext
from trainers.adapters.training_step import TrainingStep
from trainers.atomic_files import plain_disk_errors
from trainers.data.buckets import Pair
from trainers.data.dataset import Dataset
from trainers.errors import DIVERGED, REFUSED, VelaturaError
from trainers.memory import peak_memory
from trainers.messages import Message
from trainers.messages import Message as _
from trainers.process.conditions import probe_of
from trainers.ranks.history import note_ranks
from trainers.runs.progress import Progress
from trainers.training.checkpoint import Start, discard_later, save_checkpoint, set_damaged_aside
from trainers.training.session import Session
from trainers.training.step.batches import Batch, Batches
from trainers.training.step.compiled import compiled_blocks, compiled_pass
from trainers.training.step.gradients import GradientWatch
from trainers.training.step.loss import huber_delta, prior_preserving_error, timestep_weights
from trainers.training.step.optim import (
    freeze_stopped,
    limit_norms,
    lower_learning_rate,
    make_optimizer,
    parameter_groups,
    set_learning_rate,
)
from trainers.training.step.pace import Pace
from trainers.training.step.trainee import Objective, Trainee, finite

if TYPE_CHECKING:
    from torch.optim import Optimizer

LESS = 0.5
"""Share of the learning rate with which a run continues after a rollback."""

OVERFLOWED = _("the trained parameters overflowed")
WENT_BACK = _("{trouble}: training goes back from step {step} to step {saved}, with half the learning rate ({rate:g})")


def take_steps(
    session: Session,
    dataset: Dataset,
    resume: bool,
    before: Callable[[int], None],
    classes: Mapping[Pair, Dataset] | None = None,
) -> Progress:
    """Train until the last step or a stop request, writing checkpoints.

    `before(step)` is called before each step, for samples; `classes` are class images by size. If too many steps have
    no finite loss, the run rolls back to its last good checkpoint once; the second time it raises VelaturaError.
    """
    config, network, share = session.config, session.network, session.devices.share
    trainee = Trainee(session.model, network, config.base.clip_skip, config.data.chunks)
    if config.train.gradient_checkpointing or config.base.swap_blocks:
        trainee.checkpoint_gradients(session.text_trains)
    batches = Batches(session.run, config, session.model, dataset, trainee, session.text_trains, classes, share)
    optimizer = make_optimizer(parameter_groups(network, config.train), config.train)
    session.start_average(optimizer)
    if resume:
        _skip_damaged_checkpoints(session)
    progress = session.restore(optimizer) if resume else Progress()
    saved = progress.step if resume else None
    if session.forecast is not None:
        session.forecast.trained = progress.seconds
    objective = Objective(trainee, shared=session.devices.count > 1)
    with catch_warnings():
        simplefilter("ignore", FutureWarning)  # torch's, about the name of an option
        wrapped, optimizer = session.accelerator.prepare(objective, optimizer)
    every = config.save.every or max(1, config.train.steps // 10)
    watch, pace = GradientWatch(network, config, progress.step), Pace(probe_of(session.accelerator.device))
    start = None if resume else Start.of(network, _inner(optimizer), session.accelerator.scaler)
    take_step = compiled_pass()(_step) if config.train.compile else _step
    with session.heeding_signals(), compiled_blocks(session.model.denoiser, config.train.compile):
        while progress.step < config.train.steps and not session.all_must_stop():
            if progress.step or progress.rate == 1:  # after a rollback to the start its pictures exist
                before(progress.step)
            if session.all_must_stop():  # while samples were drawn
                break
            session.begin("train")
            started = time.monotonic()
            freeze_stopped(network, config, progress.step)
            with network.training_step(progress.step, config.train.steps, session.rates) as now:
                facts = take_step(session, batches, objective, wrapped, optimizer, now, watch)
            facts["lr"] *= progress.rate
            seconds = time.monotonic() - started
            progress.count_step(seconds, facts["good"], facts["overflow"])
            _report(session, progress, facts, seconds, pace)
            is_saved = (progress.is_settled and progress.step % every == 0) or progress.step == config.train.steps
            if trouble := progress.trouble or (OVERFLOWED if is_saved and not _is_finite(session) else None):
                _check_fault(session, progress, batches, trouble)
                progress = _go_back(session, progress, _inner(optimizer), start, every, trouble)
                saved = progress.step or None
            elif is_saved:
                _save(session, progress, optimizer)
                saved, start = progress.step, None
    if session.stopped_by not in ("", "cancel") and progress.step != saved and _is_finite(session):
        _save(session, progress, optimizer)
    network.holder.context = ForwardContext()
    return progress


def _skip_damaged_checkpoints(session: Session) -> None:
    """Set damaged checkpoints aside, and record the one that is used instead."""
    with session.devices.main_process_first():
        for step in set_damaged_aside(session.run):
            saved = session.run.checkpoint_steps()[-1]
            message = f"the checkpoint of step {step} is damaged: training continues from step {saved}"
            session.record("damaged", step=step, saved=saved, message=message)


def _inner(optimizer: Any) -> Any:
    """The optimizer inside accelerate's wrapper."""
    return getattr(optimizer, "optimizer", optimizer)


def _step(
    session: Session,
    batches: Batches,
    objective: Objective,
    wrapped: Any,
    optimizer: Any,
    now: TrainingStep,
    watch: GradientWatch,
) -> dict[str, Any]:
    """One optimizer step over all accumulated batches, skipped if loss or gradients are not finite."""
    settings, network, accelerator = session.config.train, session.network, session.accelerator
    factor = set_learning_rate(optimizer, now.number, settings)
    sums, penalised, size = torch.zeros(2, device=accelerator.device), False, 0  # total and denoising loss
    put_off = network.is_always_reached  # share gradients once a step, unless the last pass may have none
    for micro in range(settings.accumulation):
        batch = batches.make(now.number * settings.accumulation + micro)
        with nullcontext() if micro == settings.accumulation - 1 or not put_off else accelerator.no_sync(wrapped):
            loss, error = _loss(session, batch, wrapped, now, micro)
            if session.devices.any_of(objective.reaches):  # not if module dropout skips every layer
                accelerator.backward(loss / settings.accumulation)
        session.record.show_life()
        size += batch.noisy.numel()
        sums += torch.stack([loss, error]).detach().float() / settings.accumulation
        penalised = penalised or loss is not error
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    if gradients and accelerator.scaler is not None:
        accelerator.scaler.unscale_(_inner(optimizer))  # methods measure unscaled gradients
    norms = torch.nn.utils.get_total_norm(gradients).to(sums)
    total, denoising, norm, *by_layer = torch.cat([sums, norms[None], watch.norms(sums)]).tolist()  # the only wait
    total, denoising = session.devices.mean_of(total, denoising)
    before = _versions(gradients)
    if math.isfinite(total) and math.isfinite(norm):
        now.after_backward()
    trained = [p for p in network.parameters() if p.grad is not None]
    left = [p.grad for p in trained if p.grad is not None]
    if before != _versions(left):  # a hook has removed or changed some
        norm = float(norms := torch.nn.utils.get_total_norm(left))
    torch.nn.utils.clip_grads_with_norm_(trained, settings.clipping, norms)
    good = math.isfinite(total) and math.isfinite(norm)
    # With loss scaling, the scaler itself skips such a step and adapts.
    if trained and (good or accelerator.scaler is not None):
        optimizer.step()
    if good:
        now.after_step()
        if settings.max_norm:
            limit_norms(network, settings.max_norm)
        if session.average is not None:
            session.average.update()
    optimizer.zero_grad(set_to_none=True)
    return {
        "good": good,
        "size": size,
        "warning": watch.note(by_layer, denoising) if good else None,
        # With a finite loss, only the scale of the gradients was too large, and the scaler lowers it.
        "overflow": not good and accelerator.scaler is not None and math.isfinite(total),
        "loss": denoising,
        "grad_norm": norm,
        "lr": settings.learning_rate * factor,
        **({"penalty": total - denoising} if penalised else {}),
    }


def _versions(gradients: list[Tensor]) -> list[tuple[int, int]]:
    """The identity and in-place version of each gradient; a hook that edits one changes the list."""
    return [(id(gradient), gradient._version) for gradient in gradients]


def _loss(session: Session, batch: Batch, wrapped: Any, now: TrainingStep, index: int) -> tuple[Tensor, Tensor]:
    """The total loss, and its denoising error, which is comparable between methods."""
    config = session.config
    now.begin_batch(
        index,
        config.train.accumulation,
        keeps_graph=False,  # `Objective.reaches` is checked instead
        uncaptioned=batch.uncaptioned,
        horizon=session.model.schedule.steps,
        share=session.devices.share,
        groups=2 if batch.classes else 1,
    )
    # Before the network runs, since reading the times from a card waits for all that it has to compute by then.
    weights = timestep_weights(session.model.schedule, batch.timesteps, config.loss)
    weights = weights if batch.weights is None else weights * batch.weights
    delta = huber_delta(session.model.schedule, batch.timesteps, config.loss)
    prediction, *penalties = wrapped(batch.noisy, batch.timesteps, batch.text, batch.time_ids)
    loss = error = prior_preserving_error(
        prediction, batch.target, weights, batch.mask, config.loss, delta, batch.classes, config.prior.weight
    )
    for penalty in penalties:
        loss = loss + penalty
    return loss, error


def _report(session: Session, progress: Progress, facts: dict[str, Any], seconds: float, pace: Pace) -> None:
    if session.forecast is not None:
        session.forecast.note_step(seconds)
    speed = progress.step / progress.seconds if progress.seconds else 0.0
    kind, warning, size = "step" if facts.pop("good") else "skipped", facts.pop("warning"), facts.pop("size")
    if warning:
        session.record("problem", name="gradients", message=warning)
    facts = {name: value for name, value in facts.items() if name != "overflow" or value}
    memory = peak_memory(session.accelerator.device)
    session.record(
        kind,
        step=progress.step,
        steps=session.config.train.steps,
        speed=round(speed, 3),
        seconds_left=session.seconds_left(progress.step),
        memory=memory,
        **facts,
    )
    session.accelerator.log(facts, step=progress.step)
    note_ranks(session.record, session.network, progress.step, session.config.train.steps)
    if message := pace.note_step(seconds, size):
        session.record("problem" if pace.is_slow else "solved", name="pace", message=message)


def _save(session: Session, progress: Progress, optimizer: Any) -> None:
    session.devices.check_equal(session.network.parameters(), progress.step)
    inner, began = _inner(optimizer), time.monotonic()
    if session.devices.is_first:
        with plain_disk_errors(session.run.checkpoints):
            keep, scaler = session.config.save.keep, session.accelerator.scaler
            save_checkpoint(session.run, progress, session.network, inner, session.average, keep, scaler)
        session.record("checkpoint", step=progress.step, path=session.run.checkpoint(progress.step).name)
    if session.forecast is not None:
        session.forecast.note_saving(time.monotonic() - began)


# ---------------------------------------------------------------- steps without a finite loss
def _is_finite(session: Session) -> bool:
    return finite(list(session.network.parameters()))


def _check_fault(session: Session, progress: Progress, batches: Batches, trouble: Message) -> None:
    """Raise VelaturaError if the base, the VAE or an image is at fault, so that other settings would not help."""
    draws = progress.latest_draws(session.config.train.accumulation)
    if fault := batches.find_fault(draws, session.devices):
        raise VelaturaError("{trouble}: {fault}", trouble=trouble, fault=fault, code=REFUSED)


def _go_back(
    session: Session, progress: Progress, optimizer: Optimizer, start: Start | None, every: int, trouble: Message
) -> Progress:
    """Roll back to the last good checkpoint or to the start, at half the learning rate; VelaturaError the second time.

    It is not on the disk until the next checkpoint: a run killed before takes the same steps and rolls back again.
    """
    saved, rate = session.run.checkpoint_steps(), session.config.train.learning_rate
    if progress.rate < 1 or not (saved or start):
        raise VelaturaError(progress.advice(trouble, saved, rate), code=DIVERGED)
    step = session.devices.broadcast_object(progress.last_good(saved, every))
    if session.devices.is_first:
        discard_later(session.run, step)
    session.devices.wait()
    if start is not None and not step:
        start.put_back(session.network, optimizer, session.average, session.accelerator.scaler)
    skipped = session.restore(optimizer).skipped if step else 0
    session.network.requires_grad_()
    lower_learning_rate(optimizer, LESS)
    message = WENT_BACK.format(trouble=trouble, step=progress.step, saved=step, rate=rate * LESS)
    session.record("rollback", step=progress.step, saved=step, lr=rate * LESS, message=message)
    return Progress(step, skipped, progress.seconds, rate=LESS)
