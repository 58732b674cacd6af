"""The processes that train one run together, each on a device of its own; usually there is one.

Process 0 is the one that was asked to train. It alone writes events, checkpoints and samples, decides when to stop, and
tells the others. Each process computes its share of every batch, and the mean of their gradients is the whole batch's,
as the shares are equal. From equal gradients every process makes the same step, so discrete choices of methods (ranks,
gates, cuts) are the same, too; `check_equal` verifies this at each checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.randomness import Share

if TYPE_CHECKING:
    from trainers.runs.events import Recorder
    from trainers.runs.run import Run

PATIENT = timedelta(days=30)
"""How long processes wait for each other, as while the first draws; a process that dies is noticed at once."""
LONGEST_WORD = 16
STORE = "store"
"""File in a meeting place through which processes of one machine find each other."""
UNEQUAL = _(
    "the processes of this run have come to different parameters at step {step}, which equal devices do not; resume "
    "from the last checkpoint with train.devices = 1"
)


class Devices:
    """The only process of a run: nothing is shared and nothing has to be agreed."""

    index, count = 0, 1

    @property
    def share(self) -> Share:
        """This process's part of every batch."""
        return Share(self.index, self.count)

    @property
    def is_first(self) -> bool:
        """Whether this process writes, draws and decides."""
        return self.index == 0

    def word_of_first(self, word: str) -> str:
        """The word that the first process has here; waits for it."""
        return word

    def value_of_first(self, value: Any = None) -> Any:
        """The value that the first process has here; waits for it."""
        return value

    def wait(self) -> None:
        """Wait until every process is here."""

    @contextmanager
    def first_goes(self) -> Iterator[None]:
        """Run the block in the first process, then in the others."""
        yield

    def any_of(self, value: bool) -> bool:
        """Whether it is true in any process."""
        return value

    def mean_of(self, *values: Tensor) -> tuple[Tensor, ...]:
        """The means of CPU scalars over the processes."""
        return values

    def check_equal(self, parameters: Iterable[Tensor], step: int) -> None:
        """Raise VelaturaError if the processes do not have the same bits."""

    def check_alive(self, run: Run) -> None:
        """Raise VelaturaError if another process has died."""

    @contextmanager
    def explained(self, run: Run, record: Recorder) -> Iterator[None]:
        """Turn errors in the block that follow from another process's death into one sentence."""
        yield

    def leave(self) -> None:
        """Part from the others, which is not waited for."""


@dataclass(frozen=True)
class Place:
    """Which of how many processes this one is, also among those on its machine."""

    index: int
    count: int
    local_index: int
    local_count: int

    def environment(self) -> dict[str, str]:
        """The variables by which torch and accelerate know it."""
        return {
            "RANK": str(self.index),
            "WORLD_SIZE": str(self.count),
            "LOCAL_RANK": str(self.local_index),
            "LOCAL_WORLD_SIZE": str(self.local_count),
        }


def read_place(environment: Mapping[str, str] | None = None) -> Place | None:
    """The place that torchrun, `accelerate launch` or a first process gave to this one; None if it is alone.

    Raises VelaturaError if the variables make no sense.
    """
    found = os.environ if environment is None else environment
    if "RANK" not in found or found.get("WORLD_SIZE", "1") == "1":
        return None
    try:
        index, count = int(found["RANK"]), int(found["WORLD_SIZE"])
        local = int(found.get("LOCAL_RANK", index)), int(found.get("LOCAL_WORLD_SIZE", count))
    except ValueError:
        raise VelaturaError("RANK, WORLD_SIZE and LOCAL_RANK are not whole numbers; a launcher sets them") from None
    return Place(index, count, *local)


class Group(Devices):
    """One of several processes of a run, connected by `join`."""

    def __init__(self, place: Place, control: Any) -> None:
        self.index, self.count = place.index, place.count
        self._control = control

    def word_of_first(self, word: str) -> str:
        from torch.distributed import broadcast

        letters = torch.zeros(LONGEST_WORD, dtype=torch.uint8)
        if self.is_first:
            said = word.encode("ascii")
            letters[: len(said)] = torch.tensor(list(said), dtype=torch.uint8)
        broadcast(letters, 0, group=self._control)
        return bytes(letters.tolist()).rstrip(b"\0").decode("ascii")

    def value_of_first(self, value: Any = None) -> Any:
        from torch.distributed import broadcast_object_list

        box = [value]
        broadcast_object_list(box, 0, group=self._control, device=torch.device("cpu"))
        return box[0]

    def wait(self) -> None:
        from torch.distributed import all_reduce

        all_reduce(torch.zeros(1), group=self._control)

    @contextmanager
    def first_goes(self) -> Iterator[None]:
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def any_of(self, value: bool) -> bool:
        return bool(self._reduced(torch.tensor([int(value)]), "MAX").item())

    def mean_of(self, *values: Tensor) -> tuple[Tensor, ...]:
        return tuple((self._reduced(torch.stack(values).double(), "SUM") / self.count).unbind())

    def check_equal(self, parameters: Iterable[Tensor], step: int) -> None:
        sums = torch.stack([_bits_of(each).sum(dtype=torch.int64).cpu() for each in parameters])
        if not torch.equal(self._reduced(sums.clone(), "MAX"), self._reduced(sums.clone(), "MIN")):
            raise VelaturaError(UNEQUAL, step=step)

    def leave(self) -> None:
        from torch.distributed import destroy_process_group, is_initialized

        if is_initialized():
            destroy_process_group()

    def _reduced(self, values: Tensor, how: str) -> Tensor:
        from torch.distributed import ReduceOp, all_reduce

        all_reduce(values, getattr(ReduceOp, how), group=self._control)
        return values


def _bits_of(tensor: Tensor) -> Tensor:
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.detach().contiguous().view(integers[tensor.element_size()])


def join(place: Place, on_cuda: bool, meeting: Path | None) -> Group:
    """Meet the other processes: in a file of the folder `meeting`, or where a launcher's variables say.

    Gradients travel by NCCL between graphics cards; everything else, and everything on CPUs, by Gloo.
    """
    import torch.distributed as dist

    forget_devices()  # of an earlier run in this process
    backend = "nccl" if on_cuda else "gloo"
    if on_cuda:
        torch.cuda.set_device(place.local_index)
    if meeting is None:
        dist.init_process_group(backend, timeout=PATIENT)
    else:
        store = dist.FileStore(str(meeting / STORE), place.count)  # type: ignore[attr-defined]
        store.set_timeout(PATIENT)
        dist.init_process_group(backend, timeout=PATIENT, store=store, rank=place.index, world_size=place.count)
    return Group(place, dist.new_group(backend="gloo", timeout=PATIENT) if on_cuda else dist.group.WORLD)


def forget_devices() -> None:
    """Let accelerate look anew for devices and processes, which it otherwise does once in a process."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


def is_parting(error: BaseException) -> bool:
    """Whether an error says that a connection to another process ended."""
    from torch.distributed import DistError

    words = str(error)
    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and ("gloo" in words or "NCCL" in words))
