"""PEFT's settings of an adapter.

PEFT writes them to `adapter_config.json` next to the file, diffusers to `lora_adapter_metadata` in its header. Both are
untrusted JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainers.errors import VelaturaError
from trainers.formats.layout import method_of
from trainers.messages import Message

CONFIG = "adapter_config.json"
PREFIX = "base_model.model."
"""Start of every key in PEFT's own files."""
LARGEST_CONFIG = 2**20
"""Bytes."""
SCALE, CAYLEY_TERMS, INPUTS, LIMIT = "scale", "cayley_terms", "scales_inputs", "norm_limit"
FACTS = (SCALE, CAYLEY_TERMS, INPUTS, LIMIT)
"""Names of a layer's settings, stored as numbers with its tensors."""
MOST_TERMS = 100
"""Limit on the terms of a rotation's series, each a matrix product; PEFT's default is 5."""
COFT_EPS = 6e-5
"""PEFT's default."""
CHANGED_BASES = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Prefixes of `init_lora_weights` values that change the base's weights; PEFT's file lacks that change."""


@dataclass(frozen=True)
class PeftSettings:
    """The settings of one adapter, not validated."""

    table: Mapping[str, Any]

    def facts(self, path: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Settings of the layer with this path and tensors; ValueError if they are invalid."""
        method = method_of(tensors)
        if method == "lora" and "alpha" not in tensors:
            return self._lora(path, tensors)
        if method in ("loha", "lokr") and "alpha" not in tensors and "alpha" in self.table:
            rank = self._of("rank_pattern", path, self.table.get("r"))
            return {SCALE: torch.tensor(_ratio(self._of("alpha_pattern", path, self.table["alpha"]), rank))}
        if "oft_R.weight" in tensors:
            terms = int(self.table.get("num_cayley_neumann_terms", 5)) if self.table.get("use_cayley_neumann") else 0
            if terms > MOST_TERMS:
                raise ValueError(f"{terms} terms of a series; the limit is {MOST_TERMS}")
            return {CAYLEY_TERMS: torch.tensor(terms), **self._limit()}
        modules = self.table.get("feedforward_modules")
        if "ia3_l" in tensors and isinstance(modules, list):
            return {INPUTS: torch.tensor(any(path.endswith(str(name)) for name in modules))}
        return {}

    def _limit(self) -> dict[str, Tensor]:
        """COFT's ε, if any; ValueError if it is invalid."""
        if not self.table.get("coft"):
            return {}
        limit = float(self.table.get("eps", COFT_EPS))
        if not 0 <= limit < math.inf:
            raise ValueError(f"eps = {limit}")
        return {LIMIT: torch.tensor(limit, dtype=torch.float64)}

    def _lora(self, path: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rank = len(tensors["lora_down.weight"]) if "lora_down.weight" in tensors else 0
        if self.table.get("use_dora") is True and "lora_magnitude_vector" not in tensors:
            raise ValueError("DoRA without magnitudes")
        if rank == 0:
            return {}
        alpha = self._of("alpha_pattern", path, self.table.get("lora_alpha", rank))
        return {SCALE: torch.tensor(_ratio(alpha, math.sqrt(rank) if self.table.get("use_rslora") else rank))}

    def _of(self, patterns: str, path: str, default: Any) -> Any:
        """A layer's value of a setting with patterns; the first match counts."""
        values = self.table.get(patterns) or {}
        return next((value for pattern, value in values.items() if fits(pattern, path)), default)


def fits(pattern: str, path: str) -> bool:
    """Whether one of PEFT's patterns, a regular expression for the end of a path, matches a layer.

    Supports dots, `.*`, `^` and `$`; ValueError for more, since an untrusted regular expression could run forever.
    """
    is_full, text = pattern.startswith("^"), pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
    text = text.replace(".*", "*")
    if set(text.replace("*", "")) & set("\\[](){}|+?^$"):
        raise ValueError(f"an unsupported pattern, {pattern!r}")
    return fnmatchcase(path, text) or (not is_full and fnmatchcase(path, f"*.{text}"))


def read_adapter_config(path: Path) -> PeftSettings | None:
    """The settings in `adapter_config.json` next to a file; None if missing, VelaturaError if invalid."""
    config = path.with_name(CONFIG)
    try:
        if not config.is_file():
            return None
        if config.stat().st_size > LARGEST_CONFIG:
            raise VelaturaError(
                "{config} next to {name} is too large; download the adapter again", config=CONFIG, name=path.name
            )
        table = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise VelaturaError(
            "{config} next to {name} is not valid JSON ({error}); download both again",
            config=CONFIG,
            name=path.name,
            error=error,
        ) from error
    return validate_settings(table, Message("{config} next to {name}", config=CONFIG, name=path.name))


def parse_adapter_metadata(text: str, name: str) -> dict[str, PeftSettings]:
    """The settings in a header's `lora_adapter_metadata` by part of the model; `""` for those without a part."""
    try:
        flat = json.loads(text or "{}")
        parts: dict[str, dict[str, Any]] = {}
        for key, value in flat.items():
            part, _, setting = key.rpartition(".")
            parts.setdefault(part, {})[setting] = value
    except (ValueError, AttributeError, RecursionError) as error:
        raise VelaturaError(
            "{name} has `lora_adapter_metadata` that is not a JSON object; export it again", name=name
        ) from error
    where = Message("{name}'s `lora_adapter_metadata`", name=name)
    return {part: validate_settings(table, where) for part, table in parts.items()}


def validate_settings(table: Any, where: str) -> PeftSettings:
    """Validate an adapter's settings; VelaturaError if it needs a base that PEFT had changed."""
    if not isinstance(table, dict):
        raise VelaturaError("{where} is not a JSON object; export the adapter again", where=where)
    start = table.get("init_lora_weights")
    if isinstance(start, str) and start.startswith(CHANGED_BASES):
        raise VelaturaError(
            "{where} says that training began with {start!r}, which changed the base itself; the file lacks "
            "that change. Save it in PEFT with path_initial_model_for_weight_conversion, which makes it a "
            "plain LoRA",
            where=where,
            start=start,
        )
    return PeftSettings(table)


def _ratio(alpha: Any, rank: Any) -> float:
    scale = float(alpha) / float(rank)
    if not math.isfinite(scale):
        raise ValueError("no scale")
    return scale
