"""Settings that recipes bring along: each is measured as the one change to the preset `lora`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Recipes = Mapping[str, Mapping[str, Any]]
SAME_WORK: Recipes = MappingProxyType(
    {
        "loss min-SNR 5": {"loss": {"weighting": "min-snr"}},
        "loss debiased, v": {"loss": {"weighting": "debiased-v"}},
        "loss debiased, v root": {"loss": {"weighting": "debiased-v-root"}},
        "Huber loss, exponential": {"loss": {"kind": "huber", "huber_schedule": "exponential"}},
        "Huber loss, by SNR": {"loss": {"kind": "huber", "huber_schedule": "snr"}},
        "noise offset 0.1": {"loss": {"noise_offset": 0.1}},
        "multi-resolution noise 0.3": {"loss": {"multires_iterations": 6, "multires_discount": 0.3}},
        "input perturbation 0.1": {"loss": {"input_perturbation": 0.1}},
        "cosine": {"train": {"schedule": "cosine"}},
        "cosine, floor 0.1": {"train": {"schedule": "cosine", "floor": 0.1}},
        "REX": {"train": {"schedule": "rex"}},
    }
)
"""Changes of numbers alone, so that a step costs what one of `lora` does."""
OTHER_WORK: Recipes = MappingProxyType(
    {
        "EMA 0.98": {"train": {"ema": 0.98}},
        "max norm 1": {"train": {"max_norm": 1.0}},
        "CAME": {"train": {"optimizer": "came"}},
        "schedule-free AdamW": {"train": {"optimizer": "schedule-free"}},
        "schedule-free AdamW, 3 × the rate": {"train": {"optimizer": "schedule-free", "learning_rate": 9e-4}},
        "Prodigy": {"train": {"optimizer": "prodigy", "learning_rate": 1.0}},
        "Prodigy schedule-free": {"train": {"optimizer": "prodigy-schedule-free", "learning_rate": 1.0}},
        "base's output kept": {"prior": {"kind": "output", "prompt": "a picture"}},
        "two resolutions": {"data": {"more_resolutions": [96]}},
    }
)
"""Changes that also change what a step costs, which is measured."""
RECIPES: Recipes = MappingProxyType({**SAME_WORK, **OTHER_WORK})
