"""Writes rotations of inputs for PEFT: a folder with settings and tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from trainers.adapters.network import Network
from trainers.adapters.roles import is_denoiser
from trainers.adapters.updates import InputRotation
from trainers.atomic_files import whole_file
from trainers.errors import VelaturaError
from trainers.formats.codecs import oft
from trainers.formats.peft_settings import CONFIG, PREFIX
from trainers.formats.safetensors_file import save
from trainers.messages import Message

TENSORS = "adapter_model.safetensors"
PEFT_SUFFIX = "-peft"
"""Suffix of the folder for PEFT next to a style's file."""


def input_rotations(network: Network) -> dict[str, Tensor]:
    """Q of each UNet layer by path, for `write_peft_oft`.

    Empty unless the style only rotates inputs of linear layers of the UNet, in blocks of one size.
    """
    skews: dict[str, Tensor] = {}
    for site in network.sites:
        (update, *more) = site.updates()
        if more or not isinstance(update, InputRotation) or update.butterfly or update.strength != 1:
            return {}
        if not is_denoiser(site.part) or not site.op.is_linear:
            return {}
        skews[site.path] = update.skew[0]
    return skews if len({Q.shape[-1] for Q in skews.values()}) == 1 else {}


def peft_folder_of(style: Path) -> Path | None:
    """The folder for PEFT next to a style's file; None if it does not exist."""
    folder = style.with_name(f"{style.stem}{PEFT_SUFFIX}")
    return folder if (folder / CONFIG).is_file() and (folder / TENSORS).is_file() else None


def write_peft_oft(folder: Path, skews: Mapping[str, Tensor]) -> Path:
    """Write rotations of linear layers' inputs in fp32 as a folder that PEFT loads, and return the folder.

    `skews` holds Q `(in/b, b, b)` of W' = W blockdiag((I + Q)(I − Q)⁻¹) by the layer's path in its part of the model.
    `PeftModel.from_pretrained(pipe.unet, folder)` reads it. Raises VelaturaError if b differs between layers, which
    PEFT's settings do not support.
    """
    sizes = {Q.shape[-1] for Q in skews.values()}
    if len(sizes) != 1:
        found = ", ".join(map(str, sorted(sizes))) or Message("none")
        raise VelaturaError(
            "PEFT has one block size for all layers, but there are {found}; use a smaller one", found=found
        )
    (b,) = sizes
    tensors = {f"{PREFIX}{path}.oft_R.weight": oft.write_peft(Q) for path, Q in skews.items()}
    settings = {
        "peft_type": "OFT",
        "r": 0,
        "oft_block_size": b,
        "use_cayley_neumann": False,
        "target_modules": sorted(skews),
        "inference_mode": True,
        "task_type": None,
        "base_model_name_or_path": None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    save(folder / TENSORS, tensors, {"format": "pt"})
    with whole_file(folder / CONFIG) as building:
        building.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return folder
