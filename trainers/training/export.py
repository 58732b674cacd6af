"""Export: a run's style file and, if needed, one for diffusers."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from trainers.adapters.targets import B_LORA
from trainers.atomic_files import plain_disk_errors, whole_file
from trainers.data.captions import full_caption
from trainers.data.dataset import Dataset
from trainers.formats.embedding import EMBEDDING_SUFFIX, describe_embedding_loading, write_embedding
from trainers.formats.metadata import TrainingFacts, embedding_metadata, style_metadata
from trainers.formats.write import peft
from trainers.formats.write.core import write_style
from trainers.formats.write.diffusers import describe_loading, write_for_diffusers
from trainers.training.checkpoint import Progress
from trainers.training.loop import Session
from trainers.training.loss import weighting_gamma

FOR_STARTER = (
    'This style fits only the starter it was trained on: velatura generate --style {} --prompt "{}" --out picture.png'
)

CUT = "the file holds {:.1%} of the change's norm ‖ΔW‖ as LoRA; a higher method.extract_rank holds more, 0 everything"
FOR_PEFT = ' PEFT reads it as a rotation: `PeftModel.from_pretrained(pipe.unet, "{}")`.'
ONLY_HERE = "Velatura only: its method does not change weights, so no other tool can load this style on any base."


def export_style(
    session: Session, dataset: Dataset, progress: Progress, started: float, place: Path | None = None
) -> Path:
    """Write the style file(s) of a session atomically; `started` in Unix seconds.

    They go into the run's folder with a note on how to load them, or to `place` without one. A run that trains only a
    word has the word as its style; otherwise the word's file is next to the style file.
    """
    config, model, network, run = session.config, session.model, session.network, session.run
    facts, finished = training_facts(session, dataset, progress), time.time()
    core = place or run.style / f"{config.name}.safetensors"
    beside = core.with_name(f"{core.stem}{EMBEDDING_SUFFIX}{core.suffix}") if network.hook_points else core
    sentences, written = list[str](), {core}
    with plain_disk_errors(core):
        core.parent.mkdir(parents=True, exist_ok=True)
        if network.hook_points:
            metadata = style_metadata(config, model, network, facts, started, finished)
            sentences.append(_write_layers(session, core, metadata))
        for word in network.words:
            write_embedding(beside, word, embedding_metadata(config, model, facts, started, finished))
            written.add(beside)
            sentences.append(describe_embedding_loading(beside, word))
        if model.starter:
            only = [] if network.merges else [ONLY_HERE]
            sentences = [*only, FOR_STARTER.format(core.name, full_caption("a fox", config.data, config.tokens.word))]
        if place is None:
            with whole_file(run.style / "how-to-load.txt") as building:
                building.write_text("\n".join(sentences) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in written)
    session.record("export", path=core.name, bytes=size, message=" ".join(sentences))
    return core


def _write_layers(session: Session, core: Path, metadata: Mapping[str, str]) -> str:
    """Write the trained layers, for all tools and for diffusers; returns the sentence on how to load them."""
    network, family, shape = session.network, session.model.family.name, dict(session.model.unet.config)
    precision = session.config.save.precision
    kept = write_style(core, network, family, shape, metadata, precision)
    if kept < 1:
        session.record("note", message=CUT.format(kept), kept=round(kept, 4))
    other = core.with_name(f"{core.stem}-diffusers.safetensors")
    second = write_for_diffusers(other, network, family, shape, metadata, precision)
    sentence = describe_loading(network, core, second, family)
    if skews := peft.input_rotations(network):
        folder = peft.write_peft_oft(core.with_name(f"{core.stem}{peft.PEFT_SUFFIX}"), skews)
        sentence += FOR_PEFT.format(folder.name)
    if session.config.targets.unet != "b-lora":
        return sentence
    for half, block in B_LORA.items():
        path = core.with_name(f"{core.stem}-{half}.safetensors")
        write_style(path, network, family, shape, metadata, precision, f"{block}.")
    halves = f"{core.stem}-style.safetensors holds only the style, {core.stem}-content.safetensors only the content"
    return f"{sentence} {halves}."


def training_facts(session: Session, dataset: Dataset, progress: Progress) -> TrainingFacts:
    """Metadata about the images and the length of training."""
    config = session.config
    batches = progress.step * config.train.accumulation
    captions = [full_caption(item.caption, config.data, config.tokens.word) for item in dataset.items]
    tags = Counter(tag.strip() for caption in captions for tag in caption.split(",") if tag.strip())
    buckets = Counter((item.bucket.width, item.bucket.height) for item in dataset.items)
    return TrainingFacts(
        images=len(dataset.items),
        steps=progress.step,
        epochs=math.ceil(batches / dataset.batches_per_epoch(config.train.batch_size)),
        tags=tags,
        buckets=buckets,
        min_snr_gamma=weighting_gamma(session.model.schedule, config.loss),
    )
