"""What a request needs of its base, and a base that is loaded before pictures are asked for."""

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
    """What a request needs of its base: two that are equal are met by the same networks.

    They say how the base is asked to be held, not what was chosen: a base that is held takes memory, and what is free
    beside it would choose another way for the next drawing.
    """

    settings: Base
    dtype: torch.dtype
    device: torch.device
    stamp: tuple[int, int]
    """Changes with the base's files."""
    storage: str
    """How it is asked to be held."""
    chunks: int = field(default=1, compare=False)
    """Chunks of 75 tokens that the first style was trained with."""
    drawn: Drawn | None = field(default=None, compare=False)
    """What is drawn on it."""

    def plan(self) -> Holding:
        """How the base is held, as it fits into memory; raises as `load_model` does."""
        from trainers.planning.drawing import plan_drawing

        assert self.drawn is not None
        return plan_drawing(self.settings, self.storage, self.drawn, self.dtype, self.device)

    def load(self, holding: Holding | None = None) -> HeldBase:
        """Load the base, as planned; raises as `load_model` does."""
        from trainers.models.load import load_model

        holding = holding or self.plan()
        return HeldBase(self, holding, load_model(holding.settings, self.dtype, self.device))


@dataclass(frozen=True)
class HeldBase:
    """A loaded base, and what it was loaded for."""

    request: BaseRequest
    holding: Holding
    model: Model

    @property
    def parameters(self) -> dict[str, str]:
        """What pictures on it say of it in their metadata: its storage, if it is packed."""
        storage = self.holding.settings.storage
        return {} if storage == "full" else {"storage": storage}


def base_request(request: Resolved, styles: Sequence[Style], parts: Sequence[Path] = ()) -> BaseRequest:
    """What a resolved request with these styles needs of its base, with these files of its parts.

    Clip skip and prediction are as the first style was trained; otherwise its pictures would differ.
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
    found = [file.stat() for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    return max((one.st_mtime_ns for one in found), default=0), sum(one.st_size for one in found)
