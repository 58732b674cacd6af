"""Reads buckets and dataset configs of kohya's sd-scripts, with `[general]`, `[[datasets]]` and their subsets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from app.studio.settings.epochs import Share
from app.studio.settings.imports.reading import Reading, Rule
from app.studio.settings.imports.values import UNREADABLE, switch, whole
from trainers.data.repeats import read_folder_name
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.messages import some

OTHER_NAMES = {"batch_size": "train_batch_size", "image_dir": "train_data_dir"}
"""Names of the same settings on a command line."""
IN_NAMES = _("The subsets differ in it. Here repeats stand in the names of folders, within one folder: {folders}.")
SAME_AREA = _("The side of a square of that area.")
CROPPED = _("Without buckets every image is cropped to a square.")
ONE_SHAPE = _("Without buckets every image is cropped to that shape there; here up to its aspect, upright or lying.")
WIDEST = 4.0
"""Largest aspect ratio of the scripts' buckets, at usual sizes."""
SIDES = {"min_bucket_reso": 256, "max_bucket_reso": 1024, "bucket_reso_steps": 64}
"""Default limits of a bucket's side in pixels, and the step between sides."""
MOST_SUBSETS, MOST_IN_SUBSETS = 200, 20_000
SECTIONS = ("general", "datasets", "subsets")


def is_dataset_config(table: Mapping[str, Any]) -> bool:
    """Whether a table is a dataset config, alone or with other settings."""
    return isinstance(table.get("datasets"), list)


def read_datasets(table: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings of all subsets, and the values of those that differ, as text, by name."""
    subsets = list(_subsets(table))
    ours = [subset for subset in subsets if not subset.get("is_reg")]
    same: dict[str, Any] = {}
    differing: dict[str, str] = {}
    for name in dict.fromkeys(name for subset in ours for name in subset):
        values = [subset.get(name) for subset in ours]
        if all(value == values[0] for value in values):
            same[OTHER_NAMES.get(name, name)] = values[0]
        else:
            differing[OTHER_NAMES.get(name, name)] = ", ".join("–" if value is None else str(value) for value in values)
    same["train_data_dir"] = differing.pop("train_data_dir", same.get("train_data_dir"))
    for subset in subsets:
        if subset.get("is_reg"):
            same["reg_data_dir"] = subset.get("image_dir")
    return same, differing


def read_folders(table: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The folder of each subset and its settings, without class images."""
    return [(str(each.get("image_dir") or ""), each) for each in _subsets(table) if not each.get("is_reg")]


def read_shares(table: Mapping[str, Any]) -> list[Share]:
    """The folders of the subsets with their repeats, without class images; empty if one is unreadable.

    Images in several datasets, as for several resolutions, are shown in each.
    """
    repeats: Counter[tuple[str, str]] = Counter()
    with suppress(*UNREADABLE):
        for subset in _subsets(table):
            if not subset.get("is_reg"):
                source = str(subset.get("image_dir") or ""), str(subset.get("metadata_file") or "")
                repeats[source] += whole(subset["num_repeats"])
        return [Share(folder, count) for (folder, _file), count in repeats.items()]
    return []


def say_in_names(shares: Sequence[Share]) -> str:
    """Folder names that express the repeats of subsets here."""
    plain = ((share, read_folder_name(share.name)[1] or share.name) for share in shares)
    return IN_NAMES.format(folders=some([f"{share.repeats}_{name}" for share, name in plain])) if shares else ""


def read_buckets(reading: Reading) -> None:
    """Take the shapes of pictures: one for all, or buckets within the limits of their sides."""
    foreign, settings = reading.foreign, reading.settings
    sides = _sides(reading)
    aspect = min(WIDEST, round(max(sides) / min(sides), 4)) if sides else 1.0
    widest = _widest(reading, sides[0] * sides[1]) if sides else WIDEST
    reading.apply({"enable_bucket": Rule("data.max_aspect", lambda on: widest if switch(on) else aspect)})
    if "data.max_aspect" in settings and not _is_on(foreign.get("enable_bucket")):
        reading.take("enable_bucket", "data.max_aspect", aspect, was=False, how=CROPPED if aspect == 1 else ONE_SHAPE)
    elif settings.get("data.max_aspect", 1.0) > 1:
        reading.apply({"bucket_no_upscale": Rule("data.max_upscale", lambda value: 1.0 if switch(value) else 16.0)})
    for name in ("min_bucket_reso", "max_bucket_reso", "bucket_no_upscale"):
        reading.leave(name, "idle")


def _sides(reading: Reading) -> tuple[int, int] | None:
    """Width and height of the resolution; others than squares are taken as a square of the same area."""
    if side := reading.settings.get("data.resolution"):
        return side, side
    differing = {left.name for left in reading.left if left.reason == "subsets"}
    for name in ("resolution", "max_resolution"):
        with suppress(*UNREADABLE):
            width, height = (whole(side) for side in str(reading.foreign.get(name)).split(","))
            if name not in differing:
                reading.take(name, "data.resolution", 8 * round(math.sqrt(width * height) / 8), how=SAME_AREA)
                return width, height
    return None


def _widest(reading: Reading, area: int) -> float:
    """The largest aspect of a bucket of at most `area` pixels, between the least and the most pixels of a side.

    Without upscaling, the scripts ignore these limits.
    """
    foreign = reading.foreign
    if _is_on(foreign.get("bucket_no_upscale")):
        return WIDEST
    with suppress(*UNREADABLE):
        least, most, step = (whole(foreign.get(name) or usual) for name, usual in SIDES.items())
        return min(WIDEST, max(1.0, min(most, area // least // step * step) / least))
    return WIDEST


def _is_on(value: Any) -> bool:
    with suppress(*UNREADABLE):
        return switch(value)
    return False


def _subsets(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each subset with the settings of its dataset and of the general section, and its repeats.

    VelaturaError if there are too many, or too many values in all of them together.
    """
    general, count, values = table.get("general"), 0, 0
    for dataset in table.get("datasets", []):
        if not isinstance(dataset, Mapping):
            continue
        subsets = dataset.get("subsets")
        for subset in subsets if isinstance(subsets, list) else [{}]:
            layers = (layer for layer in (general, dataset, subset) if isinstance(layer, Mapping))
            merged = {name: value for layer in layers for name, value in layer.items() if name not in SECTIONS}
            if isinstance(resolution := merged.get("resolution"), list):
                merged["resolution"] = ",".join(map(str, resolution))
            count, values = count + 1, values + len(merged)
            if count > MOST_SUBSETS or values > MOST_IN_SUBSETS:
                raise VelaturaError(
                    "its dataset config has more than {most} subsets, or {values:,} settings in all of them",
                    most=MOST_SUBSETS, values=MOST_IN_SUBSETS,
                )  # fmt: skip
            yield {"num_repeats": 1, **merged}
