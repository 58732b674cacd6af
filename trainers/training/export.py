"""Export: a run's style file and, if needed, one for diffusers; snapshots of its sampled steps."""

from __future__ import annotations

import math
import shlex
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from trainers.adapters.targets import B_LORA
from trainers.atomic_files import link_or_copy, plain_disk_errors, whole_file
from trainers.data.captions import full_caption
from trainers.data.dataset import Dataset
from trainers.errors import VelaturaError
from trainers.formats.embedding import describe_embedding_loading, embedding_of, embedding_path, write_embedding
from trainers.formats.write import peft
from trainers.formats.write.core import write_style
from trainers.formats.write.diffusers import describe_loading, write_for_diffusers
from trainers.formats.write.metadata import ImageFolder, TrainingFacts, embedding_metadata, style_metadata
from trainers.runs.progress import Progress
from trainers.runs.run import Run
from trainers.training.session import Session
from trainers.training.step.loss import weighting_gamma

FOR_STARTER = (
    'This style fits only the starter it was trained on: velatura generate --style {} --prompt "{}" --out picture.png'
)

CUT = "the file holds {:.1%} of the change's norm ‖ΔW‖ as LoRA; a higher method.extract_rank holds more, 0 everything"
FOR_PEFT = ' PEFT reads it as a rotation: `PeftModel.from_pretrained(pipe.unet, "{}")`.'
NOT_WRITTEN = "the style of step {} was not kept: {}"
NEARLY_FULL = "the disk is nearly full, and checkpoints need the rest"
BYTES_A_PARAMETER, BYTES_A_CHECKPOINT = 4, 12
"""Bytes per trained parameter of a style file and of a checkpoint with the optimizer's state."""
ONLY_HERE = "Velatura only: its method does not change weights, so no other tool can load this style on any base."


def export_style(
    session: Session, dataset: Dataset, progress: Progress, started: float, place: Path | None = None
) -> Path:
    """Write the style file(s) of a session atomically; `started` in Unix seconds.

    They go into the run's folder with a note on how to load them, or to `place` without one. The file of a trained word
    is next to the style file, or in its place if only the word is trained.
    """
    config, model, network, run = session.config, session.model, session.network, session.run
    core = place or run.style / f"{config.name}.safetensors"
    with plain_disk_errors(core):
        core.parent.mkdir(parents=True, exist_ok=True)
        metadata = write_files(session, dataset, progress, started, core, session.record)
        sentences = [_write_twins(session, core, metadata)] if network.hook_points else []
        written = {core, *(_word_path(session, core) for _ in network.words)}
        sentences += [describe_embedding_loading(_word_path(session, core), word) for word in network.words]
        if model.starter:
            only = [] if network.merges else [ONLY_HERE]
            prompt = full_caption("a fox", config.data, config.tokens.word)
            sentences = [*only, FOR_STARTER.format(shlex.quote(core.name), prompt)]
        if place is None:
            with whole_file(run.style / "how-to-load.txt") as building:
                building.write_text("\n".join(sentences) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in written)
    session.record("export", path=core.name, bytes=size, message=" ".join(sentences))
    return core


def write_files(
    session: Session,
    dataset: Dataset,
    progress: Progress,
    started: float,
    core: Path,
    note: Callable[..., object] = lambda *_args, **_facts: None,
) -> dict[str, str]:
    """Write the style file `core`, which every tool reads, after the file of a trained word; returns its metadata.

    `note` receives a note if the file does not hold the whole change. Raises VelaturaError if it cannot be written.
    """
    config, model, network = session.config, session.model, session.network
    facts, finished = training_facts(session, dataset, progress), time.time()
    for word in network.words:
        write_embedding(_word_path(session, core), word, embedding_metadata(config, model, facts, started, finished))
    if not network.hook_points:
        return {}
    metadata = style_metadata(config, model, network, facts, started, finished)
    shape = model.config
    share = write_style(core, network, model.family.name, shape, metadata, config.save.precision)
    if share < 1:
        note("note", message=CUT.format(share), kept=round(share, 4))
    return metadata


def _word_path(session: Session, core: Path) -> Path:
    """Path of the word's file: next to the style file, or in its place if only a word is trained."""
    return embedding_path(core) if session.network.hook_points else core


def _write_twins(session: Session, core: Path, metadata: Mapping[str, str]) -> str:
    """Write the other forms of the style file; returns a sentence on how to load them."""
    network, family, shape = session.network, session.model.family.name, session.model.config
    precision = session.config.save.precision
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
    tags: dict[int, Counter[str]] = {}
    for item in dataset.items:
        caption = full_caption(item.caption, config.data, config.tokens.word)
        tags.setdefault(item.repeats, Counter()).update(tag.strip() for tag in caption.split(",") if tag.strip())
    counts = Counter(item.repeats for item in dataset.items)
    buckets = Counter((item.bucket.width, item.bucket.height) for item in dataset.items)
    return TrainingFacts(
        images={times: ImageFolder(count, tags[times]) for times, count in counts.items()},
        steps=progress.step,
        epochs=math.ceil(batches / dataset.batches_per_epoch(config.train.batch_size)),
        buckets=buckets,
        min_snr_gamma=weighting_gamma(session.model.schedule, config.loss),
    )


# ---------------------------------------------------------------- snapshots
def write_snapshot(session: Session, dataset: Dataset, started: float, step: int) -> bool:
    """Write the style file of a step and the embedding of its word; records a warning and returns False on failure."""
    place = session.run.snapshot(step)
    try:
        if not _has_room(session):
            raise VelaturaError(NEARLY_FULL)
        with plain_disk_errors(place):
            place.parent.mkdir(exist_ok=True)
        write_files(session, dataset, Progress(step), started, place)
    except (OSError, VelaturaError) as error:
        session.record("warning", step=step, message=NOT_WRITTEN.format(step, error))
        return False
    return True


def link_snapshot(session: Session, style: Path, step: int) -> None:
    """Keep the exported style as the snapshot of the last step, as a hard link where possible."""
    place = session.run.snapshot(step)
    try:
        place.parent.mkdir(exist_ok=True)
        if (word := embedding_of(style)) is not None:
            _link(word, embedding_path(place))
        _link(style, place)
    except OSError as error:
        session.record("warning", step=step, message=NOT_WRITTEN.format(step, error.strerror or error))


def _link(file: Path, place: Path) -> None:
    with whole_file(place) as building:
        link_or_copy(file, building)


def _has_room(session: Session) -> bool:
    """Whether a snapshot leaves room for the next checkpoint and the exported style."""
    run = session.run
    parameters = sum(parameter.numel() for parameter in session.network.parameters())
    written = [path.stat().st_size for path in run.list_snapshots().values()]
    file = max(written, default=BYTES_A_PARAMETER * parameters)
    saved = run.checkpoint_steps()
    checkpoint = _size(run, saved[-1]) if saved else BYTES_A_CHECKPOINT * parameters
    return shutil.disk_usage(run.folder).free >= 2 * file + checkpoint


def _size(run: Run, step: int) -> int:
    return sum(path.stat().st_size for path in run.checkpoint(step).iterdir())
