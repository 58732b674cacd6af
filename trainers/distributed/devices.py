"""The processes that train one run, one per device; usually there is one.

Process 0 writes events, checkpoints and samples, and decides when to stop. All processes compute equal shares of every
batch, so the mean of their gradients is that of the batch. Equal gradients give equal steps, and thus equal discrete
choices of methods (ranks, gates, cuts); `check_equal` verifies this at each checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

TIMEOUT = timedelta(days=30)
"""Long enough for the first process to draw or cache; a dead process is noticed at once without it."""
LONGEST_WORD = 16
STORE = "store"
"""Name of the `FileStore` by which the processes of one machine connect."""
UNEQUAL = _(
    "the processes of this run have come to different parameters at step {step}, which equal devices do not; resume "
    "from the last checkpoint with train.devices = 1"
)


class Devices:
    """The only process of a run; collective operations return their input."""

    index, count = 0, 1

    @property
    def share(self) -> Share:
        """This process's part of every batch."""
        return Share(self.index, self.count)

    @property
    def is_first(self) -> bool:
        """Whether this process writes, draws and decides."""
        return self.index == 0

    def broadcast(self, word: str) -> str:
        """The first process's word, of at most `LONGEST_WORD` ASCII letters; waits for it."""
        return word

    def broadcast_object(self, value: Any = None) -> Any:
        """The first process's value; waits for it."""
        return value

    def wait(self) -> None:
        """Wait until every process has called this."""

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """Run the block in the first process, then in the others."""
        yield

    def any_of(self, value: bool) -> bool:
        """Whether `value` is true in any process."""
        return value

    def mean_of(self, *values: float) -> Sequence[float]:
        """The means of numbers over the processes."""
        return values

    def check_equal(self, parameters: Iterable[Tensor], step: int) -> None:
        """Raise VelaturaError if the parameters differ in any bit between processes."""

    def check_alive(self, run: Run) -> None:
        """Raise VelaturaError if another process has died."""

    @contextmanager
    def explained(self, run: Run, record: Recorder) -> Iterator[None]:
        """Replace errors in the block by the loss of another process, where that caused them."""
        yield

    def leave(self) -> None:
        """Disconnect without waiting for the others."""


@dataclass(frozen=True)
class Rank:
    """The index of this process and the number of processes, in the run and on this machine."""

    index: int
    count: int
    local_index: int
    local_count: int

    def environment(self) -> dict[str, str]:
        """The rank as environment variables of torch and accelerate."""
        return {
            "RANK": str(self.index),
            "WORLD_SIZE": str(self.count),
            "LOCAL_RANK": str(self.local_index),
            "LOCAL_WORLD_SIZE": str(self.local_count),
        }


def read_rank(environment: Mapping[str, str] | None = None) -> Rank | None:
    """The rank set by torchrun, `accelerate launch` or a first process; None for a process on its own.

    Raises VelaturaError if the variables are not whole numbers.
    """
    variables = os.environ if environment is None else environment
    if "RANK" not in variables or variables.get("WORLD_SIZE", "1") == "1":
        return None
    try:
        index, count = int(variables["RANK"]), int(variables["WORLD_SIZE"])
        local = int(variables.get("LOCAL_RANK", index)), int(variables.get("LOCAL_WORLD_SIZE", count))
    except ValueError:
        raise VelaturaError("RANK, WORLD_SIZE and LOCAL_RANK are not whole numbers; a launcher sets them") from None
    return Rank(index, count, *local)


class ProcessGroup(Devices):
    """One of several processes of a run, connected by `join`."""

    def __init__(self, rank: Rank, control: Any) -> None:
        self.index, self.count = rank.index, rank.count
        self._control = control

    def broadcast(self, word: str) -> str:
        from torch.distributed import broadcast

        letters = torch.zeros(LONGEST_WORD, dtype=torch.uint8)
        if self.is_first:
            encoded = word.encode("ascii")
            letters[: len(encoded)] = torch.tensor(list(encoded), dtype=torch.uint8)
        broadcast(letters, 0, group=self._control)
        return bytes(letters.tolist()).rstrip(b"\0").decode("ascii")

    def broadcast_object(self, value: Any = None) -> Any:
        from torch.distributed import broadcast_object_list

        box = [value]
        broadcast_object_list(box, 0, group=self._control, device=torch.device("cpu"))
        return box[0]

    def wait(self) -> None:
        from torch.distributed import all_reduce

        all_reduce(torch.zeros(1), group=self._control)

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def any_of(self, value: bool) -> bool:
        return bool(self._reduced(torch.tensor([int(value)]), "MAX").item())

    def mean_of(self, *values: float) -> Sequence[float]:
        means: list[float] = (self._reduced(torch.tensor(values, dtype=torch.float64), "SUM") / self.count).tolist()
        return means

    def check_equal(self, parameters: Iterable[Tensor], step: int) -> None:
        sums = torch.stack([_bits_of(parameter).sum(dtype=torch.int64).cpu() for parameter in parameters])
        if not torch.equal(self._reduced(sums.clone(), "MAX"), self._reduced(sums.clone(), "MIN")):
            raise VelaturaError(UNEQUAL, step=step)

    def leave(self) -> None:
        from torch.distributed import destroy_process_group, is_initialized

        if is_initialized():
            destroy_process_group()

    def _reduced(self, values: Tensor, operation: str) -> Tensor:
        from torch.distributed import ReduceOp, all_reduce

        all_reduce(values, getattr(ReduceOp, operation), group=self._control)
        return values


def _bits_of(tensor: Tensor) -> Tensor:
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.detach().contiguous().view(integers[tensor.element_size()])


def join(rank: Rank, on_cuda: bool, meeting: Path | None) -> ProcessGroup:
    """Connect to the other processes by a file in the folder `meeting`, or by a launcher's environment variables.

    NCCL carries gradients between graphics cards; Gloo carries everything else, and everything on CPUs.
    """
    import torch.distributed as dist

    forget_devices()  # those of an earlier run in this process
    backend = "nccl" if on_cuda else "gloo"
    if on_cuda:
        torch.cuda.set_device(rank.local_index)
    if meeting is None:
        dist.init_process_group(backend, timeout=TIMEOUT)
    else:
        store = dist.FileStore(str(meeting / STORE), rank.count)  # type: ignore[attr-defined]
        store.set_timeout(TIMEOUT)
        dist.init_process_group(backend, timeout=TIMEOUT, store=store, rank=rank.index, world_size=rank.count)
    return ProcessGroup(rank, dist.new_group(backend="gloo", timeout=TIMEOUT) if on_cuda else dist.group.WORLD)


def forget_devices() -> None:
    """Reset accelerate's state, so that it detects devices and processes again."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


def is_disconnect(error: BaseException) -> bool:
    """Whether an error reports a lost connection to another process."""
    from torch.distributed import DistError

    text = str(error)
    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and ("gloo" in text or "NCCL" in text))
