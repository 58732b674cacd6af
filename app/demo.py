"""`velatura demo`: a style from bundled images on the bundled base."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from app.settings import gather_config
from trainers.errors import VelaturaError
from trainers.events import Listener
from trainers.train import Result, train


def run_demo(sample: str, preset: str, out: Path, listener: Listener) -> Result:
    """Train a bundled sample set on the starter under the next free name, drawing concepts that no image shows."""
    folder = Path(str(files("presets") / "samples"))
    sets = json.loads((folder / "samples.json").read_text(encoding="utf-8"))
    if sample not in sets:
        raise VelaturaError(f"there are no sample images {sample!r}; there are {', '.join(sets)}")
    prompts = json.dumps(sets[sample]["demo_prompts"])
    options = {"name": _free_name(out, f"demo-{sample}"), "images": folder / sample}
    config = gather_config(None, preset, options, [f"sample.prompts={prompts}", "sample.seeds=[4]"])
    return train(config, out, listener=listener)


def _free_name(out: Path, name: str) -> str:
    taken = (f"{name}-{number}" if number > 1 else name for number in range(1, 10_000))
    return next(candidate for candidate in taken if not (out / candidate).exists())
