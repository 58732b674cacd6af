"""A full disk, wherever it is found full: one sentence, no half file, and a run that goes on once there is room."""

from __future__ import annotations

import builtins
import errno
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.pairs import seldom_but
from tests.trainers.tiny_runs import equal, events_of, files_in, style_tensors
from trainers.errors import VelaturaError
from trainers.runs.run import Run
from trainers.training.train import resume, train

pytestmark = pytest.mark.usefixtures("quick_runs")

# For each place: the files that no longer fit, and the checkpoints that a run of two steps has by then.
PLACES: dict[str, tuple[Callable[[Path], bool], list[int]]] = {
    "events": (lambda path: path.name == "events.jsonl" and path.parent.name == "dusk", []),
    "cache": (lambda path: path.parent.parent.name == "cache", []),
    "checkpoint": (lambda path: "step-00000002" in path.parent.name and path.name == "optimizer.pt", [1]),
    "export": (lambda path: path.parent.name == "style", [1, 2]),
}


class Full:
    """A file that takes half of what is written to it."""

    def __init__(self, file: Any):
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        raise OSError(errno.ENOSPC, "No space left on device")


def fill_the_disk(patch: pytest.MonkeyPatch, is_there: Callable[[Path], bool]) -> None:
    """Whoever opens such a file for writing finds no room."""
    real = io.open

    def opening(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        opened = real(file, mode, *arguments, **options)
        writes = any(letter in mode for letter in "wax+")
        return Full(opened) if writes and isinstance(file, str | Path) and is_there(Path(file)) else opened

    patch.setattr(io, "open", opening)
    patch.setattr(builtins, "open", opening)


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("place", PLACES)
def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(place, quick, tmp_path, expected):
    is_there, checkpoints = PLACES[place]
    with pytest.MonkeyPatch.context() as patch:
        fill_the_disk(patch, is_there)
        with pytest.raises(VelaturaError, match=r"disk is full|No space left") as caught:
            train(quick(), tmp_path)
    assert "\n" not in str(caught.value)
    assert not any(word in name for name in files_in(tmp_path) for word in (".part", "unfinished"))
    run = Run(tmp_path / "dusk")
    assert run.checkpoint_steps() == checkpoints
    for picture in run.samples.rglob("*.png"):
        Image.open(picture).load()
    if checkpoints:  # with room again, the run ends as if nothing had been
        if not expected:
            expected |= style_tensors(train(quick(), tmp_path / "expected").style)
        assert equal(style_tensors(resume(run).style), expected)


@pytest.mark.parametrize(
    "place",
    seldom_but(("samples/.unfinished",), ("samples/step-00000000/", "samples/final/", "samples/.unfinished")),
)
def test_a_disk_without_room_for_pictures_costs_only_the_pictures(place, quick, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        fill_the_disk(patch, lambda path: place in path.as_posix())
        result = train(quick(), tmp_path)
    assert result.steps == 2 and result.stopped_by == "" and result.style is not None and result.style.is_file()
    assert (result.grid is None) == ("unfinished" in place)
    assert any(
        "could not be kept: No space left" in event["message"] for event in events_of(Run(result.run), "warning")
    )
    assert not any("unfinished" in name for name in files_in(tmp_path))


@pytest.mark.parametrize("name", ["0002-house.png.part", "config.toml"])
def test_a_disk_that_is_full_from_the_start_is_left_as_it_was(name, quick, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        fill_the_disk(patch, lambda path: path.name.endswith(name))
        with pytest.raises(VelaturaError, match=r"disk is full|No space left"):
            train(quick(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
