"""Hub models: ids, and the local cache."""

from __future__ import annotations

import re
from pathlib import Path

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def cached_snapshot(model: str) -> Path | None:
    """The folder of a hub model in the local cache; None if configs or safe weights are missing."""
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(model, "model_index.json")
    if not isinstance(index, str):
        return None
    folder = Path(index).parent
    weights = ["unet", "vae", "text_encoder"]
    if '"text_encoder_2"' in Path(index).read_text("utf-8"):
        weights.append("text_encoder_2")
    return folder if all(any((folder / part).glob("*.safetensors")) for part in weights) else None
