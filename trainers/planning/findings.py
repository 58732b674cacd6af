"""Finds settings that do not suit this computer or the base before a run starts, each with its repair.

Loads nothing. Where the run would fail, the problem is the sentence of its error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from trainers.config.config import Config
from trainers.config.presets import STARTER
from trainers.config.prompt_options import split_prompt
from trainers.device import (
    check_devices,
    check_offload,
    check_optimizer,
    check_tracker,
    choose_device,
    choose_format,
)
from trainers.errors import REFUSED, VelaturaError
from trainers.messages import Message
from trainers.messages import Message as _
from trainers.models.files.hub import HUB_ID, cached_snapshot, local_path
from trainers.models.files.source import base_name
from trainers.models.load import text_depth, training_size

SHALLOW = 6
"""Layers up to which a text encoder cannot skip one; the smallest of CLIP's has 12."""
FAR = 2
"""Factor between a size and the base's own from which it is far off."""
ON_COMPUTER = _("{before} → {after} on this computer")
ON_STARTER, ON_BASE = _("{before} → {after} on the starter"), _("{before} → {after} on {base}")
ON, OFF = _("on"), _("off")
TOO_LARGE = _(
    "{key} = {size} is far above the {native} pixels of {base}; a picture takes about {times} times as long and looks "
    "worse"
)
TOO_SMALL = _("{key} = {size} is far below the {native} pixels of {base}; its pictures get coarse")
TOO_SHALLOW = _(
    "base.clip_skip = {skip} skips a layer of the {layers} that the text encoder of {base} has; its pictures "
    "turn to noise"
)
REPAIR_WITH = _("{problem}; repair it with {options}")


@dataclass(frozen=True)
class Finding:
    """A setting that does not suit this computer or the base."""

    key: str
    problem: str
    """The problem, written like an error: without a capital and a full stop."""
    changes: Mapping[str, Any]
    """The settings that repair it, by dotted key."""
    repair: str
    """The repair in a few words, such as `fp16 → auto on this computer`."""
    stops: bool = True
    """Whether the run would fail; otherwise it takes longer or draws worse."""


def find_ahead(config: Config, is_here: bool = True, has_base: bool = True) -> tuple[Finding, ...]:
    """Settings that do not suit the run's base, unless it is still to be chosen, or, if `is_here`, this computer."""
    return (*(_of_computer(config) if is_here else ()), *(_of_base(config) if has_base else ()))


def check_ahead(config: Config, is_here: bool = True) -> tuple[Finding, ...]:
    """Raise VelaturaError with the repairing options if a run would fail; return the other findings."""
    findings = find_ahead(config, is_here)
    for finding in findings:
        if finding.stops:
            options = in_options(finding.changes)
            raise VelaturaError(REPAIR_WITH.format(problem=finding.problem, options=options), code=REFUSED)
    return findings


def in_options(changes: Mapping[str, Any]) -> str:
    """Changes as options of the command line."""
    return " ".join(f"--set {key}={str(value).lower()}" for key, value in changes.items())


def changes_of(findings: Iterable[Finding]) -> dict[str, Any]:
    """The changes of all findings, by dotted key."""
    return {key: value for finding in findings for key, value in finding.changes.items()}


def native_size(model: str) -> tuple[int, int] | None:
    """Native resolution and stride in pixels of a base; None if it is not on this computer."""
    if HUB_ID.fullmatch(model) and local_path(model) is None and cached_snapshot(model) is None:
        return None
    try:
        return training_size(model)
    except (VelaturaError, OSError, ValueError, KeyError):
        return None


def check_resolution(config: Config, title: str, native: int, stride: int) -> None:
    """Raise VelaturaError if the base cannot be trained at one of the resolutions; all sizes are in pixels."""
    sides = ((data.resolution or native, *data.more_resolutions) for data in config.data.of_folders)
    resolution = min(side for each in sides for side in each)
    if resolution < stride:
        raise VelaturaError(
            "data.resolution = {resolution} is too small for {title}; use at least {stride}",
            resolution=resolution,
            title=title,
            stride=stride,
        )


def check_sample_size(config: Config, title: str, stride: int) -> None:
    """Raise VelaturaError if the base cannot draw samples of this size, or of one in a prompt's options, in pixels."""
    for prompt in config.sample.prompts:
        options = split_prompt(prompt)[1]
        if wrong := [side for name in ("width", "height") if (side := options.get(name, 0)) % stride]:
            raise VelaturaError(
                "sample.prompts: {side} pixels must be a multiple of {stride} for {title}, in {prompt!r:.120}",
                side=wrong[0],
                stride=stride,
                title=title,
                prompt=prompt,
            )
    if config.sample.size % stride:
        raise VelaturaError(
            "sample.size = {size} must be a multiple of {stride} for {title}, or 0",
            size=config.sample.size,
            stride=stride,
            title=title,
        )


def _of_computer(config: Config) -> Iterator[Finding]:
    train = config.train
    try:
        device = choose_device(train.device)
    except VelaturaError as error:
        yield _repaired("train.device", error, train.device, "auto")
        return
    is_small = config.base.model == STARTER
    checks: tuple[tuple[str, Any, Any, Callable[[], object]], ...] = (
        ("train.optimizer", train.optimizer, "adamw", partial(check_optimizer, train, device)),
        ("train.offload_optimizer", train.offload_optimizer, False, partial(check_offload, train, device)),
        ("train.tracker", train.tracker, "none", partial(check_tracker, train.tracker)),
    )
    if train.precision != "auto":
        format_check = partial(choose_format, train.precision, device, is_small)
        checks = (("train.precision", train.precision, "auto", format_check), *checks)
    if train.devices > 1:
        on_machine = int(os.environ.get("LOCAL_WORLD_SIZE", train.devices))
        checks = (*checks, ("train.devices", train.devices, 1, partial(check_devices, train, on_machine)))
    for key, before, after, check in checks:
        try:
            check()
        except VelaturaError as error:
            yield _repaired(key, error, before, after)


def _repaired(key: str, error: VelaturaError, before: Any, after: Any) -> Finding:
    repair = ON_COMPUTER.format(before=_in_words(before), after=_in_words(after))
    return Finding(key, error.message, {key: after}, repair)


def _in_words(value: Any) -> Any:
    return (ON if value else OFF) if isinstance(value, bool) else value


def _of_base(config: Config) -> Iterator[Finding]:
    """Sizes and a `clip_skip` that the base cannot use, or was not trained for."""
    size = native_size(config.base.model)
    if size is None:
        return
    native, stride = size
    base, repair = base_name(config.base.model), ON_STARTER if config.base.model == STARTER else ON_BASE
    resolution, side = config.data.resolution, config.sample.size
    trained = resolution if resolution and not _is_far(resolution, native) else native
    checks = (
        ("data.resolution", resolution, native, partial(check_resolution, config, base, native, stride)),
        ("sample.size", side, trained, partial(check_sample_size, config, base, stride)),
    )
    for key, before, after, check in checks:
        changes, in_words = {key: 0}, repair.format(before=before, after=after, base=base)
        try:
            check()
        except VelaturaError as error:
            yield Finding(key, error.message, changes, in_words)
            continue
        if before and _is_far(before, native):
            yield Finding(key, _far(key, before, native, base), changes, in_words, stops=False)
    skip = config.base.clip_skip
    if skip > 1 and 0 < (layers := text_depth(config.base.model)) <= SHALLOW:
        problem = TOO_SHALLOW.format(skip=skip, layers=layers, base=base)
        in_words = repair.format(before=skip, after=1, base=base)
        yield Finding("base.clip_skip", problem, {"base.clip_skip": 1}, in_words, stops=False)


def _is_far(size: int, native: int) -> bool:
    return size >= FAR * native or FAR * size < native


def _far(key: str, size: int, native: int, base: str) -> Message:
    if size < native:
        return TOO_SMALL.format(key=key, size=size, native=native, base=base)
    return TOO_LARGE.format(key=key, size=size, native=native, base=base, times=round((size / native) ** 2))
