"""Hub models: ids, and the local cache."""

from __future__ import annotations

import json
import re
from pathlib import Path

DENOISERS = ("unet", "transformer")
"""Folders of the denoising networks."""
OPTIONAL = ("text_encoder_3", "tokenizer_3")
"""Folders that a base can do without: SD 3 reads captions without T5, too."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


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
