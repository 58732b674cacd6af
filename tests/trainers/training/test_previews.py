"""Pictures that are drawn while a style is trained: those of before stand beside the last ones, if they can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.user_files import write_bomb
from tests.trainers.data.pictures import scene
from tests.trainers.tiny_runs import events_of, quick_settings
from trainers.data.decode import UnreadableError
from trainers.runs.events import Event
from trainers.runs.run import Run
from trainers.sampling.sample import SamplingParams
from trainers.training.previews import read_pictures
from trainers.training.train import train

PARAMS = SamplingParams(("a fox", "an owl"), (0,), size=(32, 16))


def test_the_pictures_of_an_order_are_read_no_larger_than_they_were_drawn(tmp_path: Path) -> None:
    assert read_pictures(tmp_path / "none", PARAMS) == []
    scene(1, (32, 16)).save(tmp_path / "00.png")
    scene(2, (320, 160)).save(tmp_path / "01.png")
    scene(3, (32, 16)).save(tmp_path / "02.png")  # of no prompt
    first, second = read_pictures(tmp_path, PARAMS)
    assert first.tobytes() == scene(1, (32, 16)).tobytes() and second.size == (32, 16)
    write_bomb(tmp_path / "01.png")
    with pytest.raises(UnreadableError, match="is too large"):
        read_pictures(tmp_path, PARAMS)


@pytest.mark.usefixtures("quick_runs")
def test_a_damaged_picture_of_before_does_not_cost_the_style(tiny_bases, images, tmp_path):
    def damage(event: Event) -> None:
        if event["type"] == "step" and event["step"] == 1:
            write_bomb(tmp_path / "dusk" / "samples" / "step-00000000" / "00.png")

    done = train(quick_settings(tiny_bases["sd1"], images), tmp_path, listener=damage)
    (said,) = (event["message"] for event in events_of(Run(done.run), "warning"))
    assert said.startswith(
        "the pictures from before training are not shown next to the final ones: 00.png is too large"
    )
    assert done.style.is_file() and done.grid.is_file()
