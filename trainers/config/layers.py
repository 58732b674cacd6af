"""From the command line's options to one config: file, then preset, then options, then `--set`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.config.migrations import migrate
from trainers.config.presets import STARTER, find_preset
from trainers.config.tables import anchor_images, overlay, parse_assignments, read_toml

DEFAULT_PRESET = "balanced"


def gather_config(
    file: Path | None, preset: str | None, options: Mapping[str, Any], assignments: Sequence[str]
) -> Config:
    """One checked config; without a file and a preset, the `balanced` preset.

    `options` are name, seed, images, base and steps, None where not given. Raises VelaturaError.
    """
    below = anchor_images(read_toml(file), file.parent) if file is not None else {}
    above = overlay(_table(options), parse_assignments(assignments))
    if preset is None and file is None:
        preset = DEFAULT_PRESET
    if preset is not None:
        chosen = overlay(below, above).get("base")
        base = chosen.get("model", STARTER) if isinstance(chosen, Mapping) else STARTER
        below = overlay(below, shorten_warmup(find_preset(preset).settings_for(base), above))
    # What is laid over a file of an earlier layout decides which of its rules still matter.
    return build_config(migrate(overlay(below, above), str(file or "the config")))


def shorten_warmup(preset: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The preset, with a warm-up that leaves room for as few steps as were asked for: it was made for its own many."""
    train, asked = preset.get("train", {}), above.get("train")
    steps = asked.get("steps") if isinstance(asked, Mapping) else None
    if not isinstance(steps, int) or train.get("warmup", 0) < steps:
        return preset
    return overlay(preset, {"train": {"warmup": max(0, steps // 10)}})


def _table(options: Mapping[str, Any]) -> dict[str, Any]:
    table: dict[str, Any] = {key: options[key] for key in ("name", "seed") if options.get(key) is not None}
    if options.get("images") is not None:
        table["data"] = {"images": str(options["images"])}
    if options.get("base") is not None:
        table["base"] = {"model": options["base"]}
    if options.get("steps") is not None:
        table["train"] = {"steps": options["steps"]}
    return table
