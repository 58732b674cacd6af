"""The base that a request needs, and one that is loaded ahead of requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from app.studio.generation.request import Resolved
from trainers.composition.ways import COMPOSITE, read_composition

if TYPE_CHECKING:
    import torch

    from trainers.config.sections import Base
    from trainers.formats.read import Style
    from trainers.models.model import Model
    from trainers.planning.drawing import Drawn, Holding


@dataclass(frozen=True)
class BaseRequest:
    """The base that a request needs; equal ones are met by the same networks.

    It has the requested storage, not the chosen one: a held base takes memory, so that the next drawing might choose
    another.
    """

    settings: Base
    dtype: torch.dtype
    device: torch.device
    stamp: tuple[int, int]
    """Newest change and size of the base's files."""
    storage: str
    """The requested storage."""
    chunks: int = field(default=1, compare=False)
    """Chunks of 75 tokens in the training of the first style."""
    drawn: Drawn | None = field(default=None, compare=False)
    """The pictures to draw on it."""

    def plan(self) -> Holding:
        """Plan how the base fits into memory; raises like `load_model`."""
        from trainers.planning.drawing import plan_drawing

        assert self.drawn is not None
        return plan_drawing(self.settings, self.storage, self.drawn, self.dtype, self.device)

    def load(self, holding: Holding | None = None) -> HeldBase:
        """Load the base as planned; raises like `load_model`."""
        from trainers.models.load import load_model

        holding = holding or self.plan()
        return HeldBase(self, holding, load_model(holding.settings, self.dtype, self.device))


@dataclass(frozen=True)
class HeldBase:
    """A loaded base, and the request that it meets."""

    request: BaseRequest
    holding: Holding
    model: Model

    @property
    def parameters(self) -> dict[str, str]:
        """Metadata of pictures on it: its storage, if it is packed."""
        storage = self.holding.settings.storage
        return {} if storage == "full" else {"storage": storage}


def base_request(request: Resolved, styles: Sequence[Style], parts: Sequence[Path] = ()) -> BaseRequest:
    """The base that a resolved request with these styles needs, with these files of its parts.

    Clip skip and prediction are those of the first style's training.
    """
    from trainers.config.presets import STARTER
    from trainers.device import choose_device, choose_format
    from trainers.formats.training_metadata import BaseSettings, base_settings_of

    device = choose_device("auto")
    trained = base_settings_of(styles[0]) if styles else BaseSettings()
    named = {"model": request.base, "family": "auto", "parts": tuple(map(str, parts))}
    settings = trained.base.model_copy(update=named)
    dtype = choose_format("auto", device, small=request.base == STARTER)
    stamp, drawn = _stamp(request.base), _drawn(request, styles)
    return BaseRequest(settings, dtype, device, stamp, request.storage, trained.chunks, drawn)


def _drawn(request: Resolved, styles: Sequence[Style]) -> Drawn:
    from trainers.planning.drawing import Drawn

    pictures = math.prod(len(axis.values) for axis in request.axes)
    copies = len(request.styles) if read_composition(request.compose).way == COMPOSITE else 1
    return Drawn(
        request.size,
        request.guidance,
        max(copies, min(request.batch or 1, pictures * copies)),
        sum(style.path.stat().st_size for style in styles if style.path.is_file()),
    )


def _stamp(base: str) -> tuple[int, int]:
    """Newest change and size of a base's files."""
    from trainers.models.files.source import find_source

    path = find_source(base).path
    stats = [file.stat() for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    return max((stat.st_mtime_ns for stat in stats), default=0), sum(stat.st_size for stat in stats)
