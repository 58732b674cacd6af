"""What a request needs of its base, and a base that is loaded before pictures are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.studio.generation.request import GenerateRequest

if TYPE_CHECKING:
    import torch

    from trainers.config.sections import Base
    from trainers.formats.read import Style
    from trainers.models.model import Model


@dataclass(frozen=True)
class BaseRequest:
    """What a request needs of its base: two that are equal are met by the same networks."""

    settings: Base
    dtype: torch.dtype
    device: torch.device
    chunks: int
    """Chunks of 75 tokens that the first style was trained with."""
    stamp: tuple[int, int]
    """Changes with the base's files."""

    def load(self) -> Model:
        """Load the base; raises as `load_model` does."""
        from trainers.models.load import load_model

        return load_model(self.settings, self.dtype, self.device)


@dataclass(frozen=True)
class HeldBase:
    """A loaded base, and what it was loaded for."""

    request: BaseRequest
    model: Model

    def model_for(self, request: BaseRequest) -> Model | None:
        """The base, if it is what a request needs."""
        same = (request.settings, request.dtype, request.device, request.stamp)
        own = self.request
        return self.model if same == (own.settings, own.dtype, own.device, own.stamp) else None


def base_request(request: GenerateRequest, styles: Sequence[Style], parts: Sequence[Path] = ()) -> BaseRequest:
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
    return BaseRequest(settings, dtype, device, trained.chunks, _stamp(request.base))


def _stamp(base: str) -> tuple[int, int]:
    """Newest change and size of a base's files."""
    from trainers.models.files.source import find_source

    path = find_source(base).path
    found = [file.stat() for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    return max((one.st_mtime_ns for one in found), default=0), sum(one.st_size for one in found)
