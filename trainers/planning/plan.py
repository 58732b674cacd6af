"""Makes a run fit into memory: packs weights, recomputes activations, keeps blocks in main memory.

The cheapest choice comes first: recomputing gives the same bits, so it comes before packing; int8 comes before NF4, and
up to half of the blocks wait in main memory before weights are packed further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch

from trainers.config.build import as_table, build_config
from trainers.config.config import Config
from trainers.data.captions import varies
from trainers.device import choose_device, choose_format
from trainers.errors import REFUSED, VelaturaError
from trainers.memory import free_memory
from trainers.messages import Message
from trainers.messages import Message as _
from trainers.models.bases.recognise import recognise_base
from trainers.models.families import find_family
from trainers.planning.needs import RESERVE, STORAGES, MemoryChoice, Needs, needs_of

CARDS = (6, 8, 12, 16, 24)
"""Memory of graphics cards in GB."""
GB = 2**30
STORED = {"full": _("in 16 bits"), "int8": _("as int8"), "nf4": _("as NF4")}
BLOCKS = _("{how} with {count} blocks in main memory")
BLOCKS_AND_ENCODERS = _("{how} with {count} blocks and the encoders in main memory")
RECOMPUTED = _("{how} with gradient checkpointing")
RECOMPUTED_AND_ENCODERS = _("{how} with gradient checkpointing and the encoders in main memory")
ENCODERS = _("{how} with the encoders in main memory")
COMPUTED = _("computed, not measured on a card")
FITS = _("fits in {size} GB {how} ({computed})")
TOO_LARGE = _("does not fit in {size} GB ({computed})")
CHOSEN = _(
    "With the base {how}, the training takes about {size:.1f} of {room:.1f} GB ({computed}); train.memory decides it"
)
NO_ROOM = _(
    "the training needs {least:.1f} GB at least, with the base {how}, and train.memory leaves {room:.1f} ({computed}); "
    "lower train.batch_size or data.resolution"
)


def plan_memory(config: Config, note: Callable[[str], None]) -> Config:
    """The settings of a run, changed to fit into `train.memory`; calls `note` with a sentence on the choice.

    With `auto`, UNets stay unchanged. Raises VelaturaError if the run does not fit into a given size.
    """
    if not is_planned(config):
        return config
    device = choose_device(config.train.device)
    dtype = choose_format(config.train.precision, device, small=False)
    needs, room = needs_of(config, dtype), room_on(device, config)
    fitting = choose(needs, config, room, swaps=device.type == "cuda")
    least = min(choices(needs, config, device.type == "cuda"), key=needs.bytes_of)
    if fitting is None and config.train.memory != "auto":
        sizes = {"least": needs.bytes_of(least) / GB, "room": room / GB}
        raise VelaturaError(NO_ROOM.format(how=in_words(least), computed=COMPUTED, **sizes), code=REFUSED)
    chosen = fitting or least
    sizes = {"room": room / GB, "size": needs.bytes_of(chosen) / GB}
    note(CHOSEN.format(how=in_words(chosen), computed=COMPUTED, **sizes))
    return settings_of(chosen, config)


def is_planned(config: Config) -> bool:
    """Whether memory is planned for a run with these settings."""
    if config.train.memory == "auto":
        family = find_family(recognise_base(config.base.model).family)
        return family is not None and family.denoiser == "transformer"
    return config.train.memory > 0


def room_on(device: torch.device, config: Config) -> float:
    """Bytes for a training: free memory, or `train.memory`, less the reserve of a card's runtime."""
    memory = config.train.memory
    total = free_memory(device) if isinstance(memory, str) else memory * GB
    return total - (RESERVE if device.type == "cuda" or not isinstance(memory, str) else 0)


def card_lines(config: Config) -> tuple[Message, ...]:
    """A line for each size of graphics card, if the base is a transformer, as `fits` returns them."""
    if not is_planned(config.model_copy(update={"train": config.train.model_copy(update={"memory": "auto"})})):
        return ()
    return fits(needs_of(config, torch.bfloat16), config)


def smallest_card(lines: Iterable[str]) -> str:
    """The line of the smallest card that a run fits; "" if it fits none."""
    return next((line for line in lines if isinstance(line, Message) and line.template == FITS.template), "")


def fits(needs: Needs, config: Config) -> tuple[Message, ...]:
    """A line for each size of graphics card: whether a run fits, and how."""
    lines = []
    for size in CARDS:
        choice = choose(needs, config, size * GB - RESERVE)
        line = TOO_LARGE.format(size=size, computed=COMPUTED)
        lines.append(line if choice is None else FITS.format(size=size, how=in_words(choice), computed=COMPUTED))
    return tuple(lines)


def choose(needs: Needs, config: Config, room: float, swaps: bool = True) -> MemoryChoice | None:
    """The first choice that fits into `room` bytes and keeps to the settings; None if none does."""
    return next((choice for choice in choices(needs, config, swaps) if needs.bytes_of(choice) <= room), None)


def choices(needs: Needs, config: Config, swaps: bool = True) -> Iterator[MemoryChoice]:
    """The choices that the settings leave, best first; without `swaps`, no block waits in main memory."""
    base = config.base
    keeps = base.storage != "full" or config.method.trains_base
    storages = (base.storage,) if keeps else STORAGES
    most = needs.block_count if swaps and not base.swap_blocks else 0
    offloads = (False, True) if swaps and has_idle_encoders(config) else (False,)
    offloads = (True,) if base.offload_encoders else offloads
    for storage in storages:
        if not (config.train.gradient_checkpointing or base.swap_blocks):
            yield from (MemoryChoice(storage, 0, False, away) for away in offloads)
        yield from (MemoryChoice(storage, base.swap_blocks, True, away) for away in offloads)
        if storage != "full" or keeps:
            yield from (MemoryChoice(storage, count, True, offloads[-1]) for count in range(1, most // 2 + 1))
    for storage in reversed(storages):
        yield from (MemoryChoice(storage, count, True, offloads[-1]) for count in range(most // 2 + 1, most + 1))


def has_idle_encoders(config: Config) -> bool:
    """Whether text encoders and VAE idle in most steps, since their outputs are cached."""
    trains = config.targets.text_encoder != "none" or bool(config.tokens.word)
    varied = any(settings.crop != "centre" or varies(settings) for settings in config.data.of_folders)
    return config.data.cache and not trains and not varied


def settings_of(choice: MemoryChoice, config: Config) -> Config:
    """The settings with this choice, and `train.memory` off."""
    base = {"storage": choice.storage, "swap_blocks": choice.swap_blocks}
    base["offload_encoders"] = choice.offload_encoders
    train = {"gradient_checkpointing": choice.checkpointing, "memory": 0}
    return build_config(as_table(config), {"base": base, "train": train})


def in_words(choice: MemoryChoice) -> Message:
    """A choice in words, such as `as int8 with 10 blocks in main memory`."""
    how, count, away = STORED[choice.storage], choice.swap_blocks, choice.offload_encoders
    if count:
        template = BLOCKS_AND_ENCODERS if away else BLOCKS
        return template.format(how=how, count=count)
    if choice.checkpointing:
        return (RECOMPUTED_AND_ENCODERS if away else RECOMPUTED).format(how=how)
    return ENCODERS.format(how=how) if away else how
