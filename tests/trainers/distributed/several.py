"""Runs of several processes, many in one group: `python -m tests.trainers.distributed.several INDEX COUNT FOLDER`.

A group is started once and trains one case after the other, as processes that a launcher has started; the first of
them may be this one. Each leaves what it has come to: its parameters, buffers included, at the start and at the end,
and the gradients of its first step.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.forked import ForkedProcess
from trainers.distributed.devices import Rank

CASES, DOUBLE = "cases.json", "double"
"""The file of the cases; those whose names begin with `double` compute in fp64."""


def train_together(folder: Path, cases: Mapping[str, Mapping[str, Any]], count: int) -> None:
    """Train each case (a complete settings table) with a number of processes; the results lie in `folder`."""
    (folder / str(count)).mkdir(parents=True)
    (folder / CASES).write_text(json.dumps(cases), encoding="utf-8")
    others = [_start(index, count, folder) for index in range(1, count)]
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in _environment(0, count).items():
                patch.setenv(name, value)
            main(0, count, folder)
        for process in others:
            assert process.wait(60) == 0, process.printed()[-4000:]
    finally:
        for process in others:
            process.close()


def result_of(folder: Path, case: str, count: int, index: int, what: str) -> dict[str, Tensor]:
    """What a process has come to in a case: its `gradients`, or its parameters at the `start` or the `end`."""
    return load_file(folder / str(count) / f"{case}-{index}-{what}.safetensors")


def _environment(index: int, count: int) -> dict[str, str]:
    return {**Rank(index, count, index, count).environment(), "GLOO_SOCKET_IFNAME": "lo"} if count > 1 else {}


def _start(index: int, count: int, folder: Path) -> ForkedProcess:
    words = [str(index), str(count), str(folder), str(torch.get_num_threads())]
    log = folder / f"{count}-{index}.txt"
    return ForkedProcess("tests.trainers.distributed.several", words, log, _environment(index, count))


def main(index: int, count: int, folder: Path) -> None:
    """Train the cases of a folder as one of several processes."""
    from tests.trainers.hurry import hurrying, without_pictures
    from trainers.config.build import build_config
    from trainers.distributed import launch
    from trainers.training.train import train

    cases: dict[str, Any] = json.loads((folder / CASES).read_text(encoding="utf-8"))
    out, join = folder / str(count), launch.join
    with hurrying(), without_pictures():
        for case, table in cases.items():
            meeting = out / f"{case}-meeting"
            meeting.mkdir(exist_ok=True)
            with pytest.MonkeyPatch.context() as patch, suppress(SystemExit):  # of the processes after the first
                patch.setattr(launch, "join", lambda place, on_cuda, _, at=meeting: join(place, on_cuda, at))
                _Leaves(out / f"{case}-{index}", case.startswith(DOUBLE)).watch(patch)
                train(build_config(table, {"name": case}), out)


class _Leaves:
    """Keeps what a run comes to, and lets it compute in fp64 if `double`."""

    def __init__(self, place: Path, double: bool) -> None:
        self.place, self.double = place, double
        self._names: dict[int, str] = {}

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        from trainers.training import opening, train

        take_steps, clip, open_session = train.take_steps, torch.nn.utils.clip_grads_with_norm_, opening.open_session

        def taken(session: Any, *arguments: Any) -> Any:
            progress = take_steps(session, *arguments)
            self._keep("end", session.network.state_dict())
            return progress

        def clipped(parameters: list[Tensor], most: float, norm: Tensor) -> None:
            if not self._path("gradients").exists():
                self._keep("gradients", {self._names[id(p)]: p.grad for p in parameters if p.grad is not None})
            clip(parameters, most, norm)

        def opened(*arguments: Any, **named: Any) -> Any:
            session = open_session(*arguments, **named)
            network = session.network.double() if self.double else session.network
            self._names = {id(parameter): name for name, parameter in network.named_parameters()}
            self._keep("start", network.state_dict())
            return session

        patch.setattr(train, "take_steps", taken)
        patch.setattr(torch.nn.utils, "clip_grads_with_norm_", clipped)
        for module in (opening, train):
            patch.setattr(module, "open_session", opened)
        if self.double:
            patch.setattr(opening, "choose_format", lambda *_, **__: torch.float64)

    def _path(self, what: str) -> Path:
        return self.place.with_name(f"{self.place.name}-{what}.safetensors")

    def _keep(self, what: str, tensors: Mapping[str, Tensor]) -> None:
        save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, self._path(what))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[4]))
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
