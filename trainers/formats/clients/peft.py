"""What PEFT keeps beside an adapter's tensors: its settings, and the form of its OFT.

Settings are the JSON of `adapter_config.json` beside a file, or `lora_adapter_metadata` in its header as diffusers
writes it. Both are a stranger's text.
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

from trainers.adapters.methods.oft import skew
from trainers.adapters.network import Network
from trainers.adapters.updates import InputRotation
from trainers.errors import VelaturaError
from trainers.files import whole_file
from trainers.formats.file import save
from trainers.formats.layout import LayoutError, method_of

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
BESIDE = "-peft"
"""What the folder for PEFT beside a style's file ends with."""
PREFIX = "base_model.model."
"""What PEFT's own files begin every key with."""
LARGEST_CONFIG = 2**20
"""Bytes."""
SCALE, CAYLEY_TERMS, INPUTS = "scale", "cayley_terms", "scales_inputs"
FACTS = (SCALE, CAYLEY_TERMS, INPUTS)
"""What settings say of one layer, as numbers beside its tensors."""
MOST_TERMS = 100
"""Of the series of a rotation; PEFT takes 5, and each is a product of matrices."""
CHANGED_BASES = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Starts of `init_lora_weights` that take something off the base's weights, which PEFT's file does not hold."""


@dataclass(frozen=True)
class PeftSettings:
    """The settings of one adapter, unchecked."""

    table: Mapping[str, Any]

    def facts(self, path: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What they say of the layer with this path and tensors; ValueError where that makes no sense."""
        method = method_of(tensors)
        if method == "lora" and "alpha" not in tensors:
            return self._lora(path, tensors)
        if method in ("loha", "lokr") and "alpha" not in tensors and "alpha" in self.table:
            rank = self._of("rank_pattern", path, self.table.get("r"))
            return {SCALE: torch.tensor(_ratio(self._of("alpha_pattern", path, self.table["alpha"]), rank))}
        if "oft_R.weight" in tensors:
            terms = int(self.table.get("num_cayley_neumann_terms", 5)) if self.table.get("use_cayley_neumann") else 0
            if terms > MOST_TERMS:
                raise ValueError(f"{terms} terms of a series, where at most {MOST_TERMS} are taken")
            return {CAYLEY_TERMS: torch.tensor(terms)}
        modules = self.table.get("feedforward_modules")
        if "ia3_l" in tensors and isinstance(modules, list):
            return {INPUTS: torch.tensor(any(path.endswith(str(name)) for name in modules))}
        return {}

    def _lora(self, path: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rank = len(tensors["lora_down.weight"]) if "lora_down.weight" in tensors else 0
        if self.table.get("use_dora") is True and "lora_magnitude_vector" not in tensors:
            raise ValueError("DoRA without magnitudes")
        if rank == 0:
            return {}
        alpha = self._of("alpha_pattern", path, self.table.get("lora_alpha", rank))
        return {SCALE: torch.tensor(_ratio(alpha, math.sqrt(rank) if self.table.get("use_rslora") else rank))}

    def _of(self, patterns: str, path: str, default: Any) -> Any:
        """The value that the first fitting pattern of a setting gives a layer."""
        found = self.table.get(patterns) or {}
        return next((value for pattern, value in found.items() if fits(pattern, path)), default)


def fits(pattern: str, path: str) -> bool:
    """Whether one of PEFT's patterns, a regular expression for the end of a path, fits a layer.

    Dots, `.*`, `^` and `$` are understood. ValueError for more than that, since a stranger's regular expression may
    take for ever.
    """
    whole, text = pattern.startswith("^"), pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
    text = text.replace(".*", "*")
    if set(text.replace("*", "")) & set("\\[](){}|+?^$"):
        raise ValueError(f"a pattern that is not understood, {pattern!r}")
    return fnmatchcase(path, text) or (not whole and fnmatchcase(path, f"*.{text}"))


def settings_beside(path: Path) -> PeftSettings | None:
    """The settings in `adapter_config.json` beside a file, None where there is none; VelaturaError for nonsense."""
    config = path.with_name(CONFIG)
    try:
        if not config.is_file():
            return None
        if config.stat().st_size > LARGEST_CONFIG:
            raise VelaturaError(f"{CONFIG} beside {path.name} is larger than any; get the adapter anew")
        table = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise VelaturaError(f"{CONFIG} beside {path.name} cannot be read as JSON ({error}); get both anew") from error
    return checked_settings(table, f"{CONFIG} beside {path.name}")


def settings_in(text: str, name: str) -> dict[str, PeftSettings]:
    """The settings in a header's `lora_adapter_metadata` by part of the model; under `""` those that name no part."""
    try:
        flat = json.loads(text or "{}")
        parts: dict[str, dict[str, Any]] = {}
        for key, value in flat.items():
            part, _, setting = key.rpartition(".")
            parts.setdefault(part, {})[setting] = value
    except (ValueError, AttributeError, RecursionError) as error:
        raise VelaturaError(f"{name} has `lora_adapter_metadata` that is no JSON object") from error
    return {part: checked_settings(table, f"{name}'s `lora_adapter_metadata`") for part, table in parts.items()}


def checked_settings(table: Any, where: str) -> PeftSettings:
    """Settings of an adapter that is whole by itself; VelaturaError where it needs a base that PEFT had changed."""
    if not isinstance(table, dict):
        raise VelaturaError(f"{where} is no JSON object")
    start = table.get("init_lora_weights")
    if isinstance(start, str) and start.startswith(CHANGED_BASES):
        raise VelaturaError(
            f"{where} says that training began with {start!r}, which changed the base itself, and the file lacks that "
            "change; save it in PEFT with path_initial_model_for_weight_conversion, which makes it a plain LoRA"
        )
    return PeftSettings(table)


def _ratio(alpha: Any, rank: Any) -> float:
    scale = float(alpha) / float(rank)
    if not math.isfinite(scale):
        raise ValueError("no scale")
    return scale


# ---------------------------------------------------------------------------------------------- OFT
def rotation_of(theta: Tensor, width: int, terms: int) -> Tensor:
    """The blocks `(width/b, b, b)` of R in W' = W R from PEFT's `oft_R`, `(width/b, b·(b − 1)/2)` or one row for all.

    θ is what is above the diagonal of a skew Q, row by row. Without terms R = (I + Q)(I − Q)⁻¹. With n of them R is the
    series of its transpose, I − 2 Q + 2 Q² − … ± Qⁿ⁻¹, whose last term counts once: so PEFT 0.18 and newer have it.
    Raises LayoutError where it does not fit.
    """
    b = math.isqrt(2 * theta.shape[-1]) + 1 if theta.dim() == 2 else 0
    if b * (b - 1) // 2 != theta.shape[-1] or b < 2 or width % b or len(theta) not in (1, width // b):
        raise LayoutError(f"turns its inputs (OFT) by {tuple(theta.shape)} numbers, and it has {width} of them")
    Q = skew(theta, b).expand(width // b, b, b)
    one = torch.eye(b, dtype=Q.dtype)
    if terms <= 0:
        return torch.linalg.solve(one - Q, one + Q)
    R, power = one.expand_as(Q).clone(), one.expand_as(Q)
    last = 1 if terms == 2 else max(terms, 4) - 1 if terms > 2 else 0
    for n in range(1, last + 1):
        power = power @ -Q
        R = R + power * (1 if n == last and n > 1 else 2)
    return R


def input_rotations(network: Network) -> dict[str, Tensor]:
    """Q of each layer of the UNet by its path, as `write_peft_oft` takes them; none where that has no form for a style.

    It has one where all of the style turns the inputs of linear layers of the UNet, in blocks of one size.
    """
    found: dict[str, Tensor] = {}
    for site in network.sites:
        (update, *more) = site.updates()
        plain = isinstance(update, InputRotation) and not update.butterfly and update.strength == 1
        if more or not plain or site.part != "unet" or not site.op.is_linear:
            return {}
        assert isinstance(update, InputRotation)
        found[site.path] = update.skew[0]
    return found if len({Q.shape[-1] for Q in found.values()}) == 1 else {}


def peft_beside(style: Path) -> Path | None:
    """The folder for PEFT that was written beside a style's file, None where there is none."""
    folder = style.with_name(f"{style.stem}{BESIDE}")
    return folder if (folder / CONFIG).is_file() and (folder / TENSORS).is_file() else None


def write_peft_oft(folder: Path, skews: Mapping[str, Tensor]) -> Path:
    """Write rotations of linear layers' inputs as a folder that PEFT loads, and return it; numbers are kept in fp32.

    `skews` holds Q `(in/b, b, b)` of W' = W blockdiag((I + Q)(I − Q)⁻¹) by the layer's path in its part of the model,
    with one b for all. `PeftModel.from_pretrained(pipe.unet, folder)` reads it. Raises VelaturaError where b differs
    from layer to layer, which PEFT's settings cannot say.
    """
    sizes = {Q.shape[-1] for Q in skews.values()}
    if len(sizes) != 1:
        found = ", ".join(map(str, sorted(sizes))) or "none"
        raise VelaturaError(f"PEFT reads one block size for all layers, and there are {found}; use a smaller one")
    (b,) = sizes
    rows, columns = torch.triu_indices(b, b, 1)
    tensors = {
        f"{PREFIX}{path}.oft_R.weight": Q.detach().float().cpu()[:, rows, columns].contiguous()
        for path, Q in skews.items()
    }
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
