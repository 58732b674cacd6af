"""`velatura demo`: a style from bundled images on the bundled base."""

from __future__ import annotations

import json
from pathlib import Path

from trainers.config.layers import gather_config
from trainers.data.sample_sets import read_sets
from trainers.errors import VelaturaError
from trainers.runs.events import Listener
from trainers.runs.run import free_name
from trainers.training.train import Result, train

LOOK = ("sample.seeds=[4]",)


def run_demo(sample: str, preset: str, out: Path, listener: Listener) -> Result:
    """Train a bundled sample set on the starter under the next free name, drawing concepts that no image shows."""
    sets = read_sets()
    if sample not in sets:
        raise VelaturaError(f"there are no sample images {sample!r}; there are {', '.join(sets)}")
    prompts = json.dumps(sets[sample].demo_prompts)
    options = {"name": free_name(out, f"demo-{sample}"), "images": sets[sample].folder}
    config = gather_config(None, preset, options, [f"sample.prompts={prompts}", *LOOK])
    return train(config, out, listener=listener)
