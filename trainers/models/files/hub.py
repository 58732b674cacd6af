"""Names of base models: hub ids with the local cache, and paths on this disk."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from trainers.messages import Message as _

DENOISERS = ("unet", "transformer")
"""Names of the denoiser's part and folder."""
OPTIONAL = ("text_encoder_3", "tokenizer_3")
"""Folders that a base may lack: SD 3 also works without T5."""
HUB_ID = re.compile(
    r"(?!.*(?:--|\.\.|\.git$))(?=.{3,96}$)[A-Za-z0-9](?:[\w.-]*\w)?/[A-Za-z0-9](?:[\w.-]*\w)?", re.ASCII
)
"""The ids that the hub's client accepts."""
UNUSABLE = _("the files of {title} in {folder} cannot be used: {error}")


def local_path(model: str) -> Path | None:
    """The existing file or folder at this path; None if there is none."""
    try:
        path = Path(model).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # not a valid path: too long, or of an unknown user
        return None


def cached_snapshot(model: str) -> Path | None:
    """The folder of a hub model in the local cache; None if configs or safe weights are missing."""
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(model, "model_index.json")
    if not isinstance(index, str):
        return None
    folder = Path(index).parent
    weights = {"vae", "text_encoder"} | (set(_parts(Path(index))) - {*OPTIONAL})
    if not weights.intersection(DENOISERS):
        weights.add(DENOISERS[0])
    return folder if all(any((folder / part).glob("*.safetensors")) for part in weights) else None


def local_folder(model: str, weights: str, revision: str | None = None) -> Path | None:
    """The local folder of a hub model that has `weights`: under VELATURA_MODELS by name, or in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    for entry in filter(str.strip, os.environ.get("VELATURA_MODELS", "").split(os.pathsep)):
        folder = Path(entry.strip()).expanduser() / model.partition("/")[2]
        if (folder / weights).is_file():
            return folder
    cached = try_to_load_from_cache(model, weights, revision=revision)
    return Path(cached).parent if isinstance(cached, str) else None


def _parts(index: Path) -> list[str]:
    """The denoiser and text encoders in a `model_index.json`; empty if it cannot be parsed."""
    try:
        entries = json.loads(index.read_text("utf-8"))
    except ValueError:
        return []
    kinds = (*DENOISERS, "text_encoder")
    return [name for name, kind in entries.items() if name.startswith(kinds) and isinstance(kind, list) and any(kind)]
