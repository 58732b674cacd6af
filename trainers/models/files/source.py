"""Finds the folder or file of the configured base."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainers.config.presets import STARTER
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.models.files.download import download_model
from trainers.models.files.header import pickle_error
from trainers.models.files.hub import HUB_ID, cached_snapshot, local_path

STARTER_TITLE = _("Velatura starter")
STARTER_VARIABLE = "VELATURA_STARTER"
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")


@dataclass(frozen=True)
class Source:
    """The folder or file of a base, and its name for users."""

    path: Path
    kind: Literal["starter", "folder", "hub", "file"]
    title: str


def find_source(model: str) -> Source:
    """Find `model`: `starter`, a diffusers folder, a `.safetensors` file or a hub id.

    Downloads a hub id that is not in the local cache. VelaturaError, with advice, for pickles, missing paths and failed
    downloads.
    """
    if model == STARTER:
        return Source(starter_folder(), "starter", STARTER_TITLE)
    path, existing = Path(model), local_path(model)
    if model.strip() and existing is not None and existing.is_dir():
        return Source(existing, "folder", existing.resolve().name)
    if path.suffix.lower() in PICKLES and (existing is not None or not HUB_ID.fullmatch(model)):
        raise pickle_error(path.name)
    if existing is not None and existing.is_file():
        return Source(existing, "file", existing.stem)
    if path.suffix.lower() != ".safetensors" and HUB_ID.fullmatch(model):
        return Source(_hub_folder(model), "hub", model)
    raise VelaturaError(
        "there is no base model {model!r:.120}; use `starter`, a folder in diffusers layout, a .safetensors "
        "checkpoint, or a hub id such as `owner/name` (`velatura models` lists what is on this machine)",
        model=model,
    )


def base_name(model: str) -> str:
    """The name of a base for users: a hub id, or the last part of a path."""
    if model == STARTER:
        return STARTER_TITLE
    is_path = model.endswith(".safetensors") or Path(model).is_absolute()  # else a hub id, or the starter
    return Path(model).name if is_path else model


def starter_folder() -> Path:
    """The folder of the starter: the bundled one, or `VELATURA_STARTER`; VelaturaError if that is not a base."""
    import presets

    named = os.environ.get(STARTER_VARIABLE)
    folder = Path(named).expanduser() if named else Path(presets.__path__[0]) / "starter"
    if named and not (folder / "model_index.json").is_file():
        raise VelaturaError(
            "VELATURA_STARTER is {named}, where there is no model_index.json; name the folder of a starter, or "
            "unset it",
            named=named,
        )
    return folder


def _hub_folder(model: str) -> Path:
    return cached_snapshot(model) or download_model(model)
