"""Finds the bases on this machine: the starter, the hub's cache, the folders of A1111 and ComfyUI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

from trainers.errors import VelaturaError
from trainers.models.bases.detect import detect_family
from trainers.models.bases.recognise import Recognised, recognise
from trainers.models.families import get_family
from trainers.models.families.family import Family
from trainers.models.files.hub import DENOISERS, HUB_ID, cached_snapshot
from trainers.models.files.other_bases import INDEXES, OtherBaseError
from trainers.models.files.parts import FILES, own_model_folders, usual_folders
from trainers.models.files.source import starter_folder

DEPTH = 3
"""Depth to which model folders are searched."""

Kind = Literal["starter", "hub", "a1111", "comfyui", "folder"]
CLIENTS: Mapping[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "a1111": (
        ("stable-diffusion-webui", "stable-diffusion-webui-forge", "stable-diffusion-webui-reForge"),
        ("models/Stable-diffusion",),
    ),
    "comfyui": (
        ("ComfyUI", "comfyui", "ComfyUI_windows_portable/ComfyUI"),
        ("models/checkpoints", "models/diffusion_models", "models/unet"),
    ),
}
"""Folders of programs, and the folders in them that hold bases."""


@dataclass(frozen=True)
class LocalModel:
    """A base on this machine: its name, folder or file, family, and where it was found."""

    name: str
    """Value for `base.model`: `starter`, a hub id, or the path."""
    path: Path
    family: Family
    kind: Kind
    known: Recognised = field(default_factory=Recognised)


def find_starter() -> LocalModel:
    """The starter; VelaturaError if VELATURA_STARTER names a folder without one."""
    folder = starter_folder()
    return LocalModel("starter", folder, detect_family(folder), "starter")


def find_models() -> list[LocalModel]:
    """All bases available without a download, the starter first.

    Searches the hub's cache, A1111's and ComfyUI's model folders in the home folder and next to the working folder, and
    the folders in the environment variable VELATURA_MODELS (separated as in PATH).
    """
    models = []
    with suppress(VelaturaError):
        models.append(find_starter())
    for name, path, kind in _candidates():
        with suppress(VelaturaError):  # a style, a VAE or another kind of model
            known = recognise(path, name if kind == "hub" else "")
            models.append(LocalModel(name, path, get_family(known.family), kind, known))
    return models


def find_other_models() -> dict[str, str]:
    """Bases that Velatura does not train, in the folders of `find_models`: the reason by name."""
    reasons: dict[str, str] = {}
    for name, path, _ in _candidates():
        try:
            detect_family(path)
        except OtherBaseError as error:
            reasons[name] = error.message
        except VelaturaError:
            continue
    return reasons


def folder_for_files() -> Path:
    """The folder for the file of a base: that of ComfyUI or A1111 if there is one, else one of Velatura's own."""
    checkpoints = (folder for folder, kind in _roots() if kind != "folder" and folder.is_dir())
    return next(checkpoints, None) or next(own_model_folders())


def _candidates() -> Iterator[tuple[str, Path, Kind]]:
    """Names and paths of possible bases, each file or folder once."""
    seen: set[Path] = set()
    hub: Iterator[tuple[str, Path, Kind]] = ((name, path, "hub") for name, path in _hub_snapshots())
    local: Iterator[tuple[str, Path, Kind]] = (
        (str(path), path, kind) for root, kind in _roots() for path in _bases_in(root, DEPTH)
    )
    for name, path, kind in chain(hub, local):
        real = path.resolve()
        if real not in seen:
            seen.add(real)
            yield name, path, kind


def _hub_snapshots() -> Iterator[tuple[str, Path]]:
    """Ids and folders of the cached models; the hub client's own scan is slow, since it measures every file."""
    from huggingface_hub import constants

    for folder in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*"), key=lambda folder: folder.name.lower()):
        model = folder.name.removeprefix("models--").replace("--", "/")
        if HUB_ID.fullmatch(model) and (snapshot := cached_snapshot(model)):
            yield model, snapshot


def _roots() -> Iterator[tuple[Path, Kind]]:
    for kind, (names, inside) in CLIENTS.items():
        for folder in usual_folders(names):
            yield from ((folder / name, kind) for name in inside)
    yield from ((folder, "folder") for folder in own_model_folders())


def _bases_in(folder: Path, depth: int) -> Iterator[Path]:
    """Files and diffusers folders that may be bases, `depth` levels deep."""
    if not folder.is_dir():
        return
    configs = (*INDEXES, *(f"{denoiser}/config.json" for denoiser in DENOISERS))
    if any((folder / config).is_file() for config in configs):
        yield folder
        return
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name.lower())
    except PermissionError:
        return
    for entry in entries:
        if entry.is_dir() and depth > 0:
            yield from _bases_in(entry, depth - 1)
        elif entry.suffix.lower() in FILES:
            yield entry
