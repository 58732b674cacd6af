"""Opens a session: the base with the method and the word on it, and its images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from trainers.adapters.network import Network, attach
from trainers.adapters.tokens import Word, initial_rows, usual_length
from trainers.composition.start import start_from
from trainers.config.build import as_table
from trainers.config.config import Config
from trainers.config.presets import STARTER
from trainers.config.sections import Tokens
from trainers.data.dataset import Dataset, load_dataset
from trainers.device import choose_device, choose_format, make_accelerator
from trainers.distributed.devices import Devices
from trainers.distributed.launch import Join, Orders
from trainers.errors import REFUSED, VelaturaError
from trainers.formats.origin import is_of_other_starter
from trainers.formats.read import read_style
from trainers.messages import Message as _
from trainers.models.bases.suits import check_family
from trainers.models.families import find_family
from trainers.models.load import import_libraries, load_model
from trainers.models.model import Model
from trainers.models.words import known_tokens
from trainers.process.allocation import keep_freed_memory
from trainers.runs.events import Recorder, latest_events
from trainers.runs.run import Run
from trainers.sampling.plan import PreviewPlan, plan_previews
from trainers.training.check_fit import check_fit, note_idle_ranks, note_optimizer
from trainers.training.previews import preview_params
from trainers.training.session import Session
from trainers.training.step.optim import make_optimizer, parameter_groups

STARTER_NOTE = (
    "The starter is a small bundled model, and this style will fit only the starter. For a style that works in other "
    "tools, choose a real base model with --base."
)

UNREAD = _("The base does not read the trigger word {trigger}: set data.read_trigger = true to change that.")

CLAMPED = _(
    "loss.timesteps = {times}: {share:.0%} of the times are outside of this base's noise and count as its first or "
    "last step."
)
FEW = 0.01
"""Share of clamped times from which on a note is recorded."""

OTHER_FAMILY = _(
    "{name} was trained on a base of {title}, and {base} is one of {other} now; put the base back, or train the run "
    "again"
)
LOST = _(
    "{name} was trained with {encoder}, a text encoder that {base} lacks now, so its captions would be read in another "
    "way from here on; put it back, or train the run again"
)
GAINED = _(
    "{name} was trained without {encoder}, a text encoder that {base} has now, so its captions would be read in "
    "another way from here on; use the base without it, or train the run again"
)

OTHER_STARTER = _(
    "This run began on another version of the starter, and goes on with the present one; docs/starter.md says how to "
    "use an earlier version."
)
OTHER_START = _(
    "{name} was trained on another version of the starter, and draws differently on this one; docs/starter.md says how "
    "to use an earlier version."
)
OTHER_WEIGHTS = _("The weights of {base} have changed since this run began, and the run goes on with the new ones.")

ONLY_HERE_NOTE = (
    "{} does not change weights, and other tools have no format for it: this style will load in Velatura only."
)


def open_first(run: Run, config: Config, record: Recorder, join: Join) -> Session:
    """Open a session in the first process of a run, which sends its settings to the others."""
    devices = join(run, record)
    with devices.explained(run, record):
        devices.broadcast_object(Orders(as_table(config), torch.get_num_threads()))
        session = open_session(run, config, record, devices=devices)
        check_base(run, session.model)
        if not run.checkpoint_steps():  # old runs go on with settings that are refused now
            check_family(config, session.model.family)
        session.base_changed = note_changed_base(run, session.model, record)
        return session


NEAREST = _("{name} does not fit into rank {rank}: the training starts from the nearest LoRA, {share:.1%} off.")


def open_session(
    run: Run, config: Config, record: Recorder, steps: bool = True, devices: Devices | None = None
) -> Session:
    """Load the base and attach the method, and record notes for the user.

    Without `steps`, checks that only training needs are skipped. `devices` are the processes that train together.
    """
    devices = devices or Devices()
    record("phase", phase="load")
    record("loading", base=config.base.model)
    device = choose_device(config.train.device)
    if steps and device.type == "cpu":
        keep_freed_memory()
    dtype = choose_format(config.train.precision, device, small=config.base.model == STARTER)
    accelerator = make_accelerator(config.train, device, dtype, str(run.folder / "logs"), devices.count)
    import_libraries()  # before timing, since the second load of the base for the last pictures skips it
    with devices.main_process_first():  # it may have to be downloaded
        began = time.monotonic()
        model = load_model(config.base, dtype, accelerator.device)
        loading = time.monotonic() - began
    unread = model.family.unread_layers(model, config.base.clip_skip)
    with _of_settings():
        network = attach(model.parts, config.method, config.targets, config.seed, unread)
        if config.tokens.word:
            learn_word(model, network, config.tokens)
        if config.unread_trigger:
            network.leave_out(config.unread_trigger, model.words)
            record("note", message=UNREAD.format(trigger=config.unread_trigger))
        if config.train.start_from:
            begin_from(run, config, model, network, record)
        check_fit(config, model, network, steps)
        if steps:
            make_optimizer(parameter_groups(network, config.train), config.train)  # raises early
    if steps:
        note_optimizer(config, record)
    if not network.merges:
        record("note", message=ONLY_HERE_NOTE.format(config.method.name))
    note_idle_ranks(network, record)
    if steps and (share := max(model.schedule.clamped_share(config.loss.distribution))) >= FEW:
        record("note", message=CLAMPED.format(times=config.loss.timesteps, share=share))
    for message in (*([STARTER_NOTE] if model.starter else []), *model.notes):
        record("note", message=message)
    return Session(run, config, model, network, record, accelerator, phase="load", loading=loading, devices=devices)


def open_dataset(session: Session, folder: Path | None = None) -> tuple[Dataset, PreviewPlan]:
    """The images of a session's run, or of a folder, at its training resolution, and its preview plan."""
    return open_images(session.model, session.config, folder or session.run.dataset)


def open_images(model: Model, config: Config, folder: Path) -> tuple[Dataset, PreviewPlan]:
    """A folder's images at the training resolution, and the preview plan of a run with them."""
    resolution = config.data.resolution or model.resolution
    side = config.sample.size or resolution - resolution % model.stride
    dataset = load_dataset(folder, config.data, config.seed, resolution, model.stride, config.tokens.word)
    return dataset, plan_previews(config, preview_params(config, dataset, side, model.starter), resolution)


def check_base(run: Run, model: Model) -> None:
    """Raise VelaturaError if a resumed run had a base of another family, or one with other text encoders.

    Only encoders that are optional in a base can differ. Runs of earlier versions did not record theirs.
    """
    before = _last_start(run)
    family = find_family(str(before.get("family", "")))
    if family not in (None, model.family):
        raise VelaturaError(
            OTHER_FAMILY, name=run.folder.name, title=family.title, base=model.title, other=model.family.title
        )
    now = len(model.text_encoders)
    had = before.get("text_encoders", now)
    assert isinstance(had, int)  # as event lines are checked
    if changed := model.family.encoders[min(had, now) : max(had, now)]:
        encoder = model.family.networks[changed[0]].rpartition(".")[2].removesuffix("EncoderModel")
        sentence = LOST if now < had else GAINED
        raise VelaturaError(sentence, name=run.folder.name, base=model.title, encoder=encoder, code=REFUSED)


def note_changed_base(run: Run, model: Model, record: Recorder) -> bool:
    """Whether the weights of a resumed run's base have changed, with a note if so.

    Runs of earlier versions did not record theirs; on the starter they had earlier ones.
    """
    before = _last_start(run)
    changed = bool(before) and before.get("base_sha256", "" if model.starter else model.sha256) != model.sha256
    if changed:
        record("note", message=OTHER_STARTER if model.starter else OTHER_WEIGHTS.format(base=model.title))
    return changed


def _last_start(run: Run) -> Mapping[str, object]:
    """The last `start` event of a run that resumes from a checkpoint; otherwise empty."""
    starts = [event for event in latest_events(run.folder) if event["type"] == "start"]
    return starts[-1] if starts and run.checkpoint_steps() else {}


@contextmanager
def _of_settings() -> Iterator[None]:
    """Give errors that users can fix the code of refused settings, which prevents another attempt."""
    try:
        yield
    except VelaturaError as error:
        error.code = error.code or REFUSED
        raise


def begin_from(run: Run, config: Config, model: Model, network: Network, record: Recorder) -> None:
    """Start from the style in the run's folder, or from the file that the config names."""
    named = Path(config.train.start_from)
    path = run.start if run.start.is_file() else named
    style = replace(read_style(path), path=Path(named.name))  # messages use the name in the settings
    started = start_from(style, network, model.parts, model.family.name)
    name, count = named.name, started.layers
    record("note", message=_("The training starts from {name}, on {count} layers.", name=name, count=count))
    if started.error:
        rank = getattr(config.method, "rank", 0)
        record("note", message=NEAREST.format(name=name, rank=rank, share=started.error))
    if is_of_other_starter(style, model):
        record("note", message=OTHER_START.format(name=named.name))


def learn_word(model: Model, network: Network, settings: Tokens) -> Word:
    """Add the configured word to the base, with rows that the network trains.

    Raises VelaturaError if the base knows the word, or if the initial words have no tokens.
    """
    rows, usual = {}, {}
    for part, tokenizer, encoder in zip(model.encoder_names, model.tokenizers, model.text_encoders, strict=True):
        if len(known_tokens(tokenizer, settings.word)) == 1:
            raise VelaturaError(
                "tokens.word = {word!r} is already in the vocabulary of {title}; choose a new word, such as <{bare}>",
                word=settings.word,
                title=model.title,
                bare=settings.word.strip("<>"),
            )
        tokens = known_tokens(tokenizer, settings.initial)
        if not tokens:
            raise VelaturaError(
                "tokens.initial = {initial!r} has no words; use one such as style", initial=settings.initial
            )
        table = encoder.get_input_embeddings().weight.detach()
        rows[part], usual[part] = initial_rows(table, tokens, settings.vectors), usual_length(table)
    word = Word(settings.word, rows, settings.learning_rate, settings.norm_prior, usual)
    network.add_word(word, model.words)
    return word
