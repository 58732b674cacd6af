"""Dataset configs of kohya's sd-scripts: `[general]`, `[[datasets]]` and their subsets, read as a flat table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

OTHER_NAMES = {"batch_size": "train_batch_size", "image_dir": "train_data_dir"}
"""What the options of a command line are called for the same."""
SECTIONS = ("general", "datasets", "subsets")


def is_dataset_config(table: Mapping[str, Any]) -> bool:
    """Whether a table is a dataset config, alone or with other settings."""
    return isinstance(table.get("datasets"), list)


def read_datasets(table: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """What holds for all subsets, and the values of what differs between them, as a text, by name."""
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


def _subsets(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each subset with what its dataset and the general section say."""
    general = table.get("general")
    for dataset in table.get("datasets", []):
        if not isinstance(dataset, Mapping):
            continue
        subsets = dataset.get("subsets")
        for subset in subsets if isinstance(subsets, list) else [{}]:
            layers = (one for one in (general, dataset, subset) if isinstance(one, Mapping))
            whole = {name: value for layer in layers for name, value in layer.items() if name not in SECTIONS}
            if isinstance(resolution := whole.get("resolution"), list):
                whole["resolution"] = ",".join(map(str, resolution))
            yield whole
