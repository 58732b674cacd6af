"""The training pictures that stand beside the samples: the nearest ones first, cut as they are trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.studio.runs.training_pictures import count_pictures, put_nearest
from tests.app.ui.ended_runs import write_run
from tests.trainers.data.pictures import scene
from trainers.data.dataset import CENTRE, Draw, load_dataset, pixels
from trainers.data.source import Crop, crop_file
from trainers.errors import VelaturaError
from trainers.planning.findings import native_size
from trainers.runs.run import Run

CAPTIONS = {"boat": "a boat", "fox": "two foxes in the snow", "house": "a house in the snow"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run on the starter with three pictures of different shapes."""
    run = write_run(tmp_path, "dusk", {"train": {"steps": 4, "warmup": 0}}, prompts=())
    Run(run).dataset.mkdir()
    for number, (name, caption) in enumerate(CAPTIONS.items()):
        scene(number, (300, 200 + 100 * number)).save(Run(run).dataset / f"{number:04d}-{name}.png")
        (Run(run).dataset / f"{number:04d}-{name}.txt").write_text(caption)
    return run


@pytest.mark.parametrize(
    ("prompt", "order"),
    [
        ("a fox in deep snow", ["fox", "house", "boat"]),  # plurals count, articles do not
        ("a house", ["house", "boat", "fox"]),
        ("something else", ["boat", "fox", "house"]),
    ],
)
def test_pictures_whose_captions_share_words_with_the_prompt_come_first(
    run: Path, tmp_path: Path, prompt: str, order: list[str]
) -> None:
    captions = [put_nearest(run, prompt, place, tmp_path)[1] for place in range(4)]
    assert captions == [CAPTIONS[name] for name in (*order, order[0])], "and round"
    assert count_pictures(run) == 3 and len(list(tmp_path.glob("trained-*.webp"))) == 3, "each is made once"


def test_a_picture_is_cut_as_it_is_trained(run: Path, tmp_path: Path) -> None:
    house = Run(run).dataset / "0002-house.png"
    crop_file(house).write_text(Crop(0.1, 0.2, 0.6, 0.5, 90).to_json())
    resolution, stride = native_size("starter") or (0, 0)
    item = load_dataset(Run(run).dataset, Run(run).config().data, 0, resolution, stride).items[2]
    expected = (pixels(item, Draw(2, False, CENTRE, "")).permute(1, 2, 0).numpy() + 1) * 127.5
    with Image.open(put_nearest(run, "a house", 0, tmp_path)[0]) as copy:
        assert copy.size == (item.bucket.width, item.bucket.height)
        assert np.abs(np.asarray(copy.convert("RGB")) - expected).mean() < 6, "but for what WebP loses"


def test_a_run_whose_pictures_have_gone_has_none(run: Path, tmp_path: Path) -> None:
    shutil.rmtree(Run(run).dataset)
    assert count_pictures(run) == 0
    with pytest.raises(VelaturaError, match="no longer exist"):
        put_nearest(run, "a fox", 0, tmp_path)
