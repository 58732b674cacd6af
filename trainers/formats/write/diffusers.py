"""Writes a second file if diffusers cannot read the core profile: exactly the same change in a form that it loads.

Its `load_lora_weights` reads only plain LoRA. LoHA of rank r becomes a LoRA of rank r²; a LoKr whose second factor has
rank r a LoRA of rank(C)·r; a LoKr with a full second factor loads into the UNet as PEFT's LoKr; DoRA as PEFT's
magnitude vectors. For Z-Image it loads LoKr itself.
"""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from trainers.adapters.network import Network
from trainers.adapters.roles import is_denoiser
from trainers.adapters.updates import Affine, Dense, Kronecker, LowRank, Normalised, Rotation, Update
from trainers.adapters.updates.tensors import full_rank
from trainers.formats.codecs import dora, file_tensors, lokr, portable
from trainers.formats.names import diffusers_name
from trainers.formats.pack import Precision, pack
from trainers.formats.programs.check import describe_programs
from trainers.formats.safetensors_file import save
from trainers.formats.write.core import file_update, file_updates, kohya_tensors
from trainers.formats.write.transformer import has_authors_name, named_tensors, peft_lora
from trainers.models.families import get_family
from trainers.models.files.header import read_header

Kind = Literal["core", "lora", "lokr", "dora", "huge", "none", "own"]
"""How diffusers loads a style: the core file, plain LoRA with kohya's names, or LoKr or DoRA with dotted names. `huge`
is too large as plain LoRA, `none` has no form, and `own` is Velatura's own format."""

LARGEST_PLAIN = 2**29
"""Maximum numbers in a plain-LoRA form (1 GiB in 16 bits)."""


@torch.no_grad()
def write_for_diffusers(
    path: Path,
    network: Network,
    model_family: str,
    denoiser: Mapping[str, Any],
    metadata: Mapping[str, str],
    precision: Precision,
) -> Path | None:
    """Write the file for diffusers and return its path; None if diffusers loads the core file or has no form for it.

    The change at strength 1 is the same up to rounding. Raises VelaturaError as `write_style` does.
    """
    kind = diffusers_kind(network, model_family)
    kept = {key: value for key, value in metadata.items() if not key.startswith("ss_network_")}
    if kind in ("core", "huge", "none", "own"):
        return None
    if kind == "lora":
        updates = {site: exact_low_rank(update) for site, update in file_updates(network).items()}
        if get_family(model_family).style_form != "kohya":
            save(path, named_tensors(updates, precision), kept)
            return path
        rank = Counter(update.rank for update in updates.values()).most_common(1)[0][0]
        tensors = kohya_tensors(updates, float(rank), model_family, denoiser, precision)
        save(path, tensors, {**kept, **plain_metadata(rank)})
    elif kind == "lokr":
        save(path, _lokr_tensors(network, precision), {**kept, "lora_adapter_metadata": _lokr_config(network)})
    else:
        save(path, _dora_tensors(network, precision), kept)
    return path


def diffusers_kind(network: Network, family: str) -> Kind:
    """The form in which diffusers can load this network."""
    if not network.merges:
        return "own"
    uncut = [site for site in network.sites if not all(p.method.file_form().extract_rank for p in site.placed)]
    updates = [update for site in uncut for update in site.updates()]  # the others become plain LoRA
    several = any(len(site.placed) > 1 for site in network.sites)
    forms = set(map(_form, updates))
    if "none" in forms:
        return "none"
    if (base := get_family(family)).style_form != "kohya":
        renamed = any(has_authors_name(site.path, base) for site in network.sites)
        if base.style_form == "diffusers" and forms <= {"core"} and not renamed:
            return "core"
        if base.loads_lokr and len(uncut) == len(network.sites) and _is_lokr_of_diffusers(updates):
            return "core"
        return "lora" if sum(map(plain_size, updates)) <= LARGEST_PLAIN else "huge"
    if "dora" in forms and not several:
        return "dora"
    if several or forms <= {"core"}:
        return "core"
    in_unet = any(is_denoiser(site.part) for site in network.sites)
    if forms == {"lokr"} and len(uncut) == len(network.sites) and in_unet and _factor(network) is not None:
        return "lokr"
    return "lora" if sum(map(plain_size, updates)) <= LARGEST_PLAIN else "huge"


def _form(update: Update) -> Kind:
    """The form in which diffusers loads one change exactly, whatever its size."""
    match update:
        case LowRank():
            return "core"
        case Normalised():
            return "dora"
        case Affine() | Rotation():
            return "none"
        case Kronecker() if not lokr.keeps_product(update):
            return "lokr"
    return "lora"


def _is_lokr_of_diffusers(updates: Sequence[Update]) -> bool:
    """Whether all changes are LoKr with factors that diffusers infers from a file's tensors."""
    products = [update for update in updates if isinstance(update, Kronecker)]
    return len(products) == len(updates) and infers_lokr(
        [(update.shape, tuple(update.left.shape)) for update in products]
    )


def describe_loading(network: Network, core: Path, for_diffusers: Path | None, family: str) -> str:
    """A sentence for users: the programs that load the core file, which must exist, and the call for diffusers."""
    if not network.merges:
        return describe_own_format(network, core)
    tools = describe_programs(core.name, read_header(core).shapes, family)
    name = (for_diffusers or core).name
    kind = diffusers_kind(network, family)
    if kind == "none":
        return f"{tools}; diffusers has no form for this method."
    if kind == "huge":
        return (
            f"{tools}; in diffusers it would be huge, so no file was written for that: "
            "a lower rank, a LoKr with factor 8 or full_matrix = false, or method.extract_rank has one."
        )
    if kind == "core" or for_diffusers is None:
        return f'{tools}, and in diffusers `pipe.load_lora_weights("{name}")` does.'
    if kind == "lora":
        return f'{tools}; in diffusers `pipe.load_lora_weights("{name}")` loads the same style as plain LoRA.'
    if kind == "dora":
        return f'{tools}; in diffusers `pipe.load_lora_weights("{name}")` does the same at strength 1.'
    call = f'pipe.unet.load_lora_adapter("{name}", prefix="unet", use_safetensors=True)'
    if any(not is_denoiser(site.part) for site in network.sites):
        return (
            f"{tools}; in diffusers `{call}` loads the UNet's part, and the text encoders' with "
            f'`pipe.load_lora_weights({{k: v for k, v in safetensors.torch.load_file("{name}").items() '
            'if k.startswith("text_encoder")})`.'
        )
    return f"{tools}; in diffusers `{call}`."


def describe_own_format(network: Network, core: Path) -> str:
    """A sentence for users on why a file in Velatura's own format loads only here, and how."""
    names = " and ".join(dict.fromkeys(method.display_name for method in network.methods))
    file = shlex.quote(core.name)
    return (
        f"{core.name} loads in Velatura only: {names} does not change weights, so no other tool has a format for it. "
        f'Use it in the studio, or with: velatura generate --style {file} --base BASE --prompt "a fox" '
        "--out picture.png"
    )


def exact_low_rank(update: Update) -> LowRank:
    """The same ΔW as plain LoRA: its low-rank form, or ΔW times an identity if that is not larger."""
    update = portable(update)
    low = update.low_rank()
    if low is None or low.rank >= full_rank(low.shape):
        return Dense(update.dense(torch.empty(0))).factored()
    return low


def plain_metadata(rank: int) -> dict[str, str]:
    """Network metadata of a plain LoRA of this rank."""
    named = {"ss_network_module": "networks.lora", "ss_network_dim": str(rank), "ss_network_alpha": str(float(rank))}
    return {**named, "ss_network_args": "{}"}


def plain_size(update: Update) -> int:
    """Upper bound on the numbers in the plain-LoRA form of a change."""
    out, fan_in = update.shape[0], math.prod(update.shape[1:])
    return update.rank_bound * (out + fan_in)


# ---------------------------------------------------------------------------------------------- LoKr through PEFT
def _factor(network: Network) -> int | None:
    """A factor with which PEFT splits all layers' widths as this network does; None if no factor does."""
    splits = [
        (site.op.shape[:2], tuple(file_tensors(update, 1.0)["lokr_w1"].shape))
        for site in network.sites
        for update in (site.updates() if is_denoiser(site.part) else ())
    ]
    largest = max((small for _, left in splits for small in left), default=1)
    return _common_factor(splits, (-1, *range(2, largest + 1)))


def infers_lokr(splits: Collection[tuple[tuple[int, ...], tuple[int, ...]]]) -> bool:
    """Whether diffusers infers PEFT's factor from LoKr's tensors: `(out, in)` of each layer and of its first factor.

    It tries the rows of the first factors, and near-square factors.
    """
    return _common_factor(splits, (*sorted({left[0] for _, left in splits}), -1)) is not None


def _common_factor(splits: Collection[tuple[tuple[int, ...], tuple[int, ...]]], factors: Sequence[int]) -> int | None:
    halves = {pair for widths, left in splits for pair in zip(widths, left, strict=True)}
    return next((f for f in factors if all(_peft_split(size, f) == small for size, small in halves)), None)


def _peft_split(size: int, factor: int) -> int:
    """The first half of a width by PEFT's rule: the factor if it divides the width, even as the larger half."""
    if factor > 0 and size % factor == 0:
        return factor
    limit = size if factor < 0 else factor
    return max(d for d in range(1, limit + 1) if size % d == 0 and d * d <= size)


def _lokr_config(network: Network) -> str:
    """PEFT's settings for the UNet's layers, in the form that diffusers reads from a file's metadata.

    The rank is high enough for full factors in all layers, and alpha equals it, so that PEFT's scale is 1.
    """
    sites = [site for site in network.sites if is_denoiser(site.part)]
    rank = 2 * max(max(site.op.shape[:2]) for site in sites)
    settings = {
        "r": rank,
        "alpha": rank,
        "target_modules": [site.path for site in sites],
        "decompose_both": False,
        "decompose_factor": _factor(network),
    }
    return json.dumps({f"unet.{name}": value for name, value in settings.items()})


def _lokr_tensors(network: Network, precision: Precision) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for site in network.sites:
        name = diffusers_name(site.part, site.path)
        if is_denoiser(site.part):
            packed = pack(file_update(site), 1.0, precision, site.name)
            tensors |= {f"{name}.{suffix}": tensor for suffix, tensor in packed.items() if suffix != "alpha"}
        else:  # diffusers reads only plain LoRA into text encoders
            tensors |= peft_lora(name, site, exact_low_rank(file_update(site)), precision)
    return tensors


# ---------------------------------------------------------------------------------------------- DoRA through PEFT
def _dora_tensors(network: Network, precision: Precision) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for site in network.sites:
        (update,) = site.updates()
        low, magnitudes = dora.write(update, site.weight())
        name = diffusers_name(site.part, site.path)
        tensors |= peft_lora(name, site, low, precision)
        tensors |= {f"{name}.{suffix}": tensor for suffix, tensor in magnitudes.items()}
    return tensors
