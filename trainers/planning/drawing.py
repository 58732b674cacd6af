"""Chooses how a transformer is held for drawing: whole, packed, or partly in main memory.

The cheapest choice comes first: encoders in main memory change no picture, int8 changes pictures less than NF4, and
blocks in main memory take time at every step. Without a graphics card there is one memory, so bases are only packed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from trainers.config.sections import Base
from trainers.memory import free_memory
from trainers.messages import Message
from trainers.messages import Message as _
from trainers.models.files.source import find_source
from trainers.models.load import find_configs
from trainers.planning.activations import Activations, most_at_once
from trainers.planning.needs import RESERVE, STORAGES, MemoryChoice, Needs, empty_model, needs_with
from trainers.planning.plan import GB, in_words
from trainers.sampling.denoise import has_two_passes

AUTO = "auto"
PACKED = _("Drawn with the base {how}: whole it needs about {whole:.1f} GB, and {room:.1f} GB are free.")
NO_ROOM = _(
    "Drawing needs about {size:.1f} GB with the base {how}, and {room:.1f} GB are free: it may run out of memory."
)
IN_FP32 = 2
"""Bytes of a style in memory for each byte of its file, which is in 16 bits."""


@dataclass(frozen=True)
class Drawn:
    """The properties of a drawing that determine its memory."""

    size: tuple[int, int]
    """Width and height in pixels."""
    guidance: float
    rows: int = 1
    """Pictures in a batch, or copies of one for several styles."""
    style_bytes: int = 0
    """Bytes of the styles' files."""


@dataclass(frozen=True)
class Holding:
    """How a base is held for drawing."""

    settings: Base
    note: Message | None = None
    """A note for the user; None if the base is held as requested."""
    most_rows: int | None = None
    """The largest batch that fits; None if unknown."""
    held_bytes: int = 0
    """Bytes held between pictures; 0 if unknown."""


def plan_drawing(settings: Base, storage: str, drawn: Drawn, dtype: torch.dtype, device: torch.device) -> Holding:
    """How a base in `dtype` is held on a device: in this `storage`, or with `auto` in the first that fits.

    A UNet is held as asked for, and whole with `auto`. Raises VelaturaError as `load_model` does.
    """
    storages = STORAGES if storage == AUTO else (storage,)
    family, _tree = find_configs(find_source(settings.model).path)
    if family.denoiser != "transformer":
        return Holding(settings.model_copy(update={"storage": storages[0]}))
    needs, on_card = drawing_needs(settings, drawn, dtype), device.type == "cuda"
    room = free_memory(device) - (RESERVE if on_card else 0)
    possible = list(drawing_choices(needs, storages, on_card))
    fitting = (choice for choice in possible if needs.bytes_of(choice) <= room)
    chosen = next(fitting, None) or min(possible, key=needs.bytes_of)
    held = {"storage": chosen.storage, "swap_blocks": chosen.swap_blocks, "offload_encoders": chosen.offload_encoders}
    return Holding(
        settings.model_copy(update=held),
        _about(needs, chosen, possible[0], room),
        max(drawn.rows, _rows_in(needs, chosen, room, drawn.rows)),
        needs.denoiser[chosen.storage] + sum(needs.encoders[chosen.storage]) + needs.vae,
    )


def drawing_needs(settings: Base, drawn: Drawn, dtype: torch.dtype) -> Needs:
    """Memory of drawing on a transformer in `dtype`; raises VelaturaError as `load_model` does."""
    model, encoders = empty_model(settings, dtype)
    width, height = drawn.size
    passes = 2 if has_two_passes(model, drawn.guidance) else 1
    peak = most_at_once(model, passes * drawn.rows, (height, width))
    activations = Activations(kept=peak, recomputed=peak, largest=0)
    return needs_with(model, encoders, settings, activations, IN_FP32 * drawn.style_bytes, width * height)


def drawing_choices(needs: Needs, storages: tuple[str, ...], on_card: bool) -> Iterator[MemoryChoice]:
    """The ways to hold a base, best first; only `on_card` can main memory hold parts of it."""
    for storage in storages:
        yield from (MemoryChoice(storage, 0, False, away) for away in ((False, True) if on_card else (False,)))
    if on_card:
        yield from (MemoryChoice(storages[-1], count, False, True) for count in range(1, needs.block_count + 1))


def _about(needs: Needs, chosen: MemoryChoice, best: MemoryChoice, room: float) -> Message | None:
    size = needs.bytes_of(chosen)
    if size > room:
        return NO_ROOM.format(how=in_words(chosen), size=size / GB, room=room / GB)
    if chosen == best:
        return None
    return PACKED.format(how=in_words(chosen), whole=needs.bytes_of(best) / GB, room=room / GB)


def _rows_in(needs: Needs, choice: MemoryChoice, room: float, rows: int) -> int:
    """The largest batch that fits, from the activations of a batch of `rows`."""
    beside = 0 if choice.offload_encoders else sum(needs.encoders[choice.storage]) + needs.vae
    unpacked = needs.working(choice) - needs.activations.kept
    left = room - needs.base(choice) - needs.trained - beside - unpacked
    return int(left * rows / needs.activations.kept)
