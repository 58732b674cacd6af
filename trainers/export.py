"""The end of a run: its style files, the one everybody reads and, where needed, one for diffusers."""

from __future__ import annotations

import math
import time
from collections import Counter
from pathlib import Path

from trainers.adapters.targets import B_LORA
from trainers.checkpoint import Progress
from trainers.config import Config
from trainers.data.captions import full_caption
from trainers.data.dataset import Dataset
from trainers.formats.for_diffusers import how_to_load, write_for_diffusers
from trainers.formats.metadata import TrainingFacts, style_metadata
from trainers.formats.write import write_style
from trainers.loop import Session
from trainers.run import plain_disk_errors, whole_file

FOR_STARTER = (
    "This style fits only the starter that it was trained on: "
    'velatura generate --style {} --prompt "a fox" --out picture.png'
)

CUT = "the file holds {:.1%} of the change's size ‖ΔW‖, as LoRA; a higher method.extract_rank holds more, 0 all of it"
ONLY_HERE = "Velatura only: its method is no change of weights, so no other tool could load this style on any base."


def export_style(session: Session, dataset: Dataset, progress: Progress, started: float) -> Path:
    """Write the style file(s) of a session into its run folder, each whole or not at all; `started` in Unix seconds."""
    config, model, network, run = session.config, session.model, session.network, session.run
    facts = training_facts(config, dataset, progress)
    metadata = style_metadata(config, model, network, facts, started, time.time())
    shape = dict(model.unet.config)
    core = run.style / f"{config.name}.safetensors"
    with plain_disk_errors(core):
        run.style.mkdir(exist_ok=True)
        kept = write_style(core, network, model.family.name, shape, metadata, config.save.precision)
        other = core.with_name(f"{config.name}-diffusers.safetensors")
        extra = write_for_diffusers(other, network, model.family.name, shape, metadata, config.save.precision)
        for half, block in B_LORA.items() if config.targets.unet == "b-lora" else ():
            path = core.with_name(f"{config.name}-{half}.safetensors")
            write_style(path, network, model.family.name, shape, metadata, config.save.precision, f"{block}.")
        sentence = how_to_load(network, core, extra)
        if model.starter:
            sentence = ("" if network.merges else f"{ONLY_HERE} ") + FOR_STARTER.format(core.name)
        if config.targets.unet == "b-lora":
            sentence += (
                f" {core.stem}-style.safetensors is the style alone, {core.stem}-content.safetensors the content."
            )
        with whole_file(run.style / "how-to-load.txt") as building:
            building.write_text(sentence + "\n", encoding="utf-8")
    if kept < 1:
        session.record("note", message=CUT.format(kept), kept=round(kept, 4))
    session.record("export", path=core.name, bytes=core.stat().st_size, message=sentence)
    return core


def training_facts(config: Config, dataset: Dataset, progress: Progress) -> TrainingFacts:
    """What the file's metadata says of the images and of how long they were trained on."""
    batches = progress.step * config.train.accumulation
    captions = [full_caption(item.caption, config.data) for item in dataset.items]
    tags = Counter(tag.strip() for caption in captions for tag in caption.split(",") if tag.strip())
    buckets = Counter((item.bucket.width, item.bucket.height) for item in dataset.items)
    return TrainingFacts(
        images=len(dataset.items),
        steps=progress.step,
        epochs=math.ceil(batches / dataset.batches_per_epoch(config.train.batch_size)),
        tags=tags,
        buckets=buckets,
    )
