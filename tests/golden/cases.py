"""The runs whose numbers are kept: every method, every family, and the settings that change what is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.trainers.tiny_runs import METHODS
from trainers.adapters.methods import METHODS as CLASSES

FAMILIES = ("sd1", "sd2-v", "sdxl")
EVERYWHERE = ("lora", "adapter", "krona-b", "vpt")
"""Methods on every family: plain LoRA, and those whose places are not single layers."""
ON_SD2_V = ("adalora", "bitfit", "ia3", "krona", "loha", "selora", "tied")
"""Methods whose second family is the one with v-prediction; that of all others is SDXL."""

QUICK: dict[str, Any] = {
    "name": "golden",
    "data": {"resolution": 32, "flip": True, "caption_dropout": 0.3, "repeats": 1},
    "targets": {"unet": "full", "text_encoder": "attn-mlp"},
    "train": {"steps": 4, "batch_size": 2, "learning_rate": 1e-2, "device": "cpu", "precision": "fp32"},
    "sample": {"prompts": ["a fox"], "steps": 1, "size": 16},
    "save": {"precision": "fp32", "every": 4, "keep": 1},
}
"""What every case has in common: four steps over pictures that are flipped and captions that are left out at times."""

LORA: dict[str, Any] = METHODS["lora"]
DRAWN: dict[str, Any] = {
    "method": {"name": "lora", "rank": 3, "dropout": 0.2, "rank_dropout": 0.2, "module_dropout": 0.1},
    "data": {"crop": "random", "shuffle_tags": True},
    "train": {"accumulation": 2, "ema": 0.9, "text_encoder_stop": 0.6, "schedule": "cosine", "warmup": 1},
    "loss": {"noise_offset": 0.1, "timestep_bias": 1.0},
}
"""A run in which everything is drawn that can be drawn."""

FORMS: dict[str, dict[str, Any]] = {
    "dora": {"method": {"name": "lora", "rank": 3, "dora": True}},
    "pissa": {"method": {"name": "lora", "rank": 3, "alpha": 3.0, "start": "pissa"}},
    "lora-fa": {"method": {"name": "lora", "rank": 3, "freeze_a": True}},
    "lora-plus": {"method": {"name": "lora", "rank": 3, "plus_ratio": 4.0, "rslora": True}},
    "lora-tucker": {"method": {"name": "lora", "rank": 3, "tucker": True}},
    "loha-tucker": {"method": {"name": "loha", "rank": 2, "tucker": True}},
    "lokr-thin": {"method": {"name": "lokr", "rank": 2, "full_matrix": False, "tucker": True}},
    "lokr-both": {"method": {"name": "lokr", "rank": 2, "full_matrix": False, "decompose_both": True}},
    "coft": {"method": {"name": "oft", "block_size": 4, "constraint": 0.001}},
    "tied-tl5": {"method": {"name": "tied", "rank": 2, "alpha": 4.0, "configuration": "tl5"}},
    "vpt-gated": {
        "method": {"name": "vpt", "tokens": 3, "gated": True},
        "targets": {"unet": "attn-mlp", "text_encoder": "none"},
    },
    "vpt-image": {
        "method": {"name": "vpt", "tokens": 3, "variant": "image"},
        "targets": {"unet": "attn-mlp", "text_encoder": "none"},
    },
    "adapter-norms": {"method": {"name": "adapter", "width": 3, "norms": True}},
    "ranks": {"method": LORA, "targets": {"blocks": {"mid_block.*": {"rank": 2, "learning_rate": 0.5}}}},
    "drawn": DRAWN,
    "decay": {"method": LORA, "train": {"weight_decay": 0.5, "max_grad_norm": 1e-3}},
    "huber": {"method": LORA, "loss": {"kind": "huber", "huber_delta": 0.5, "min_snr_gamma": 0.0}},
    "clip-skip": {"method": LORA, "base": {"clip_skip": 2}},
    "bf16": {"method": LORA, "train": {"precision": "bf16", "gradient_checkpointing": True}},
    "nf4": {"method": LORA, "base": {"storage": "nf4"}},
    "zero-snr": {"method": LORA, "base": {"prediction": "v_prediction", "zero_terminal_snr": "on"}},
    "prodigy": {"method": LORA, "train": {"optimizer": "prodigy", "learning_rate": 1.0}},
    "lion": {"method": LORA, "train": {"optimizer": "lion"}},
    "adafactor": {"method": LORA, "train": {"optimizer": "adafactor"}},
    "word": {"method": LORA, "tokens": {"word": "<dusk>", "vectors": 2, "initial": "a red house"}},
    "prior": {"method": LORA, "prior": {"prompt": "a drawing", "images": 2}},
}
"""Settings beside the methods themselves, on the first family."""


def tables() -> dict[str, dict[str, Any]]:
    """The settings of each case above those that all have, by `family/name`.

    Methods of single layers know nothing of families: they run on the first family and on one other. A method's
    cases do not depend on the other methods.
    """
    cases: dict[str, dict[str, Any]] = {}
    for name, method in METHODS.items():
        without_text = CLASSES[name].text_preset == "none"
        targets: Mapping[str, Any] = {"targets": {"text_encoder": "none"}} if without_text else {}
        second = "sd2-v" if name in ON_SD2_V else "sdxl"
        for family in FAMILIES if name in EVERYWHERE else (FAMILIES[0], second):
            cases[f"{family}/{name}"] = {"method": method, **targets}
    return cases | {f"{FAMILIES[0]}/{name}": table for name, table in FORMS.items()}
