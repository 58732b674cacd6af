"""Folders as kohya_ss has them: how often an epoch shows a picture, and the trigger word."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.trainers.data.pictures import scene
from trainers.config.sections import Data
from trainers.data import repeats
from trainers.data.check import check_images
from trainers.data.dataset import load_dataset
from trainers.data.ingest import ingest, trigger_of_folder
from trainers.errors import VelaturaError


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("img/10_dusk  style/fox.png", (10, "dusk style")),
        ("3_a/2_b/fox.png", (2, "b")),
        ("5_\\fox.png", (5, "")),
        ("10_dusk/masks/fox.png", (10, "dusk")),
        ("fox.png", (1, "")),
        ("10_fox.png", (1, "")),
        ("01_boats/fox.png", (1, "")),
        ("2024_summer/fox.png", (1, "")),
    ],
)
def test_the_nearest_numbered_folder_counts(name: str, found: tuple[int, str]) -> None:
    assert repeats.repeats_of(name) == found


def write_folders(folder: Path) -> Path:
    for seed, name in enumerate(("3_dusk style/fox.png", "3_dusk style/owl.png", "toad.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        scene(seed, (64, 64)).save(folder / name)
    (folder / "3_dusk style" / "fox.txt").write_text("a fox", encoding="utf-8")
    return folder


def test_an_epoch_shows_pictures_as_often_as_their_folder_says(tmp_path: Path) -> None:
    source, target = write_folders(tmp_path / "in"), tmp_path / "run"
    report = ingest(source, target, keep_transparency=False)
    assert [one.source for one in report.kept] == ["toad.png", "fox.png", "owl.png"]
    assert report.notes == ("Repeats from folder names: 2 pictures × 3 and 1 picture × 1.",)
    assert json.loads((target / "repeats.json").read_text()) == {"0002-fox.png": 3, "0003-owl.png": 3}
    again = tmp_path / "again"
    ingest(target, again, keep_transparency=False)
    assert sorted(json.loads((again / "repeats.json").read_text()).values()) == [3, 3], "the next run has them, too"

    data = load_dataset(target, Data(repeats=2, max_upscale=16), seed=1, resolution=64, stride=8)
    assert (data.batches_per_epoch(1), data.batches_per_epoch(4)) == (14, 4)
    shown = Counter(data.items[draw.item_index].caption for k in range(14) for draw in data.draws(k, 1))
    assert shown == {"toad": 2, "a fox": 6, "owl": 6}
    assert "2 pictures × 3" in " ".join(each.sentence for each in check_images(source, Data(), 64, 8))


def test_folders_of_one_name_suggest_the_trigger_word(tmp_path: Path) -> None:
    (write_folders(tmp_path) / "1_dawn").mkdir()
    assert trigger_of_folder(tmp_path) == "dusk style", "a folder without images says nothing"
    scene(3, (64, 64)).save(tmp_path / "1_dawn" / "hare.png")
    assert trigger_of_folder(tmp_path) == trigger_of_folder(tmp_path / "none") == ""


@pytest.mark.parametrize("content", ["{", "[]", '{"fox.png": 0}', '{"fox.png": "3"}', '{"fox.png": true}'])
def test_damaged_repeats_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "repeats.json").write_text(content)
    with pytest.raises(VelaturaError, match=r"repeats\.json"):
        repeats.read_repeats(tmp_path)


def test_the_folders_with_settings_stay_known_when_pictures_lie_side_by_side(tmp_path: Path) -> None:
    source = write_folders(tmp_path / "source")
    (source / "ink").mkdir()
    scene(9, (64, 64)).save(source / "ink" / "hare.png")
    (source / "ink" / "hare.txt").write_text("a hare\nan animal\n")
    ingest(source, tmp_path / "run", keep_transparency=False, subfolders=("ink",))
    stored = json.loads((tmp_path / "run" / "folders.json").read_text())
    assert list(stored.values()) == ["ink"]
    options = Data(images=".", sets={"ink": {"weight": 2.0, "wildcards": True}})
    dataset = load_dataset(tmp_path / "run", options, 0, 64, 8)
    assert sorted((item.weight, item.captions) for item in dataset.items) == [
        (1.0, ()), (1.0, ()), (1.0, ()), (2.0, ("a hare", "an animal")),
    ]  # fmt: skip
    (tmp_path / "run" / "folders.json").write_text("[1]")
    with pytest.raises(VelaturaError, match="must name pictures with their folders"):
        load_dataset(tmp_path / "run", options, 0, 64, 8)
