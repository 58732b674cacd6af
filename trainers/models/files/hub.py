"""Names of base models: hub ids with the local cache, and paths on this disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

DENOISERS = ("unet", "transformer")
"""Names of the denoising network among the parts of a base, and of its folder."""
OPTIONAL = ("text_encoder_3", "tokenizer_3")
"""Folders that a base can do without: SD 3 reads captions without T5, too."""
HUB_ID = re.compile(
    r"(?!.*(?:--|\.\.|\.git$))(?=.{3,96}$)[A-Za-z0-9](?:[\w.-]*\w)?/[A-Za-z0-9](?:[\w.-]*\w)?", re.ASCII
)
"""Ids that the hub's client takes, which raises errors for others."""


def local_path(model: str) -> Path | None:
    """The file or folder of this name; None if there is none, or no path can be called so."""
    try:
        path = Path(model).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # a name that is too long, or in the home of nobody
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


def _parts(index: Path) -> list[str]:
    """The denoiser and text encoders that a `model_index.json` names; none if it cannot be read."""
    try:
        named = json.loads(index.read_text("utf-8"))
    except ValueError:
        return []
    kinds = (*DENOISERS, "text_encoder")
    return [name for name, kind in named.items() if name.startswith(kinds) and isinstance(kind, list) and any(kind)]
