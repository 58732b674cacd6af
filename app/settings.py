"""From the command line's options to one config: file, then preset, then options, then `--set`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainers.config import Config
from trainers.config_file import anchor_images, build_config, overlay, parse_assignments, read_toml
from trainers.presets import STARTER, find_preset

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
        base = overlay(below, above).get("base", {}).get("model", STARTER)
        below = overlay(below, find_preset(preset).settings_for(base))
    return build_config(below, above)


def _table(options: Mapping[str, Any]) -> dict[str, Any]:
    table: dict[str, Any] = {key: options[key] for key in ("name", "seed") if options.get(key) is not None}
    if options.get("images") is not None:
        table["data"] = {"images": str(options["images"])}
    if options.get("base") is not None:
        table["base"] = {"model": options["base"]}
    if options.get("steps") is not None:
        table["train"] = {"steps": options["steps"]}
    return table
