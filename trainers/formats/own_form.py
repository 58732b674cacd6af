"""Velatura's own style format, for methods that no other tool can load: θ and the method's settings.

A tensor is named by its layer or block as in kohya's files and its name in θ, `lora_unet_mid_block_…_attn1.D`; shared
tensors by their group, `velatura_shared_0.P`. The metadata list the groups: a method with its settings, and its sites.
Reading builds the method from its settings, so a file contains no code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from trainers.adapters.block import BlockMethod, BlockSite
from trainers.adapters.method import LayerMethod, Method, Theta
from trainers.adapters.methods import MethodSettings, table_of
from trainers.adapters.network import Network
from trainers.adapters.roles import block_kind, is_denoiser
from trainers.adapters.site import MethodTensors, Placement, Site, TensorView
from trainers.adapters.targets import PLACES, Target, sits_on_block
from trainers.errors import VelaturaError
from trainers.formats.names import file_name, layer_names, network_config
from trainers.formats.origin import FOR_ANOTHER_STARTER, origin_of
from trainers.formats.pack import DTYPES, LARGEST_ERROR, Precision, relative_error
from trainers.formats.read import OWN_FORM, Style
from trainers.wrappers import module_at, named_modules

SHARED = "velatura_shared_"


class SiteGroup(BaseModel):
    """Sites of one part with one method and its shared tensors; sites by their names in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    part: str = Field(min_length=1, max_length=100)
    method: MethodSettings
    sites: tuple[str, ...] = Field(min_length=1)


class OwnForm(BaseModel):
    """The metadata of a file in this format."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: Literal[1]
    groups: tuple[SiteGroup, ...] = Field(min_length=1)

    @property
    def methods(self) -> tuple[str, ...]:
        """Distinct names of the methods."""
        return tuple(dict.fromkeys(group.method.name for group in self.groups))


# ---------------------------------------------------------------------------------------------- out
@torch.no_grad()
def own_form(
    network: Network, family: str, denoiser: Mapping[str, Any], precision: Precision, block: str = ""
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file by key, on the CPU, and its metadata; with `block`, of that block alone.

    Raises VelaturaError if a number is not finite, or a layer or block has several methods.
    """
    tensors: dict[str, Tensor] = {}
    groups: list[dict[str, Any]] = []
    for shared in network.shared_tensors:
        stems = []
        method = shared.method
        assert isinstance(method, Method)
        written: Precision = "fp32" if method.file_form().fp32 else precision
        for site in (point for point in network.hook_points if point.path.startswith(block)):
            if len(site.placed) > 1:
                raise VelaturaError(
                    "{name} has several methods, which no file format supports; train them separately and use the "
                    "styles together",
                    name=site.name,
                )
            (placed,) = site.placed
            if (placed.method, site.part, placed.learning_rate) == (
                method, shared.part, shared.learning_rate
            ):  # fmt: skip
                stems.append(file_name(site.part, site.path, family, denoiser))
                tensors |= _of_site(stems[-1], site, placed, written)
        if stems:
            tensors |= _rounded(f"{SHARED}{len(groups)}", TensorView(shared.values), written)
            groups.append({"part": shared.part, "method": table_of(method), "sites": stems})
    return tensors, {OWN_FORM: json.dumps({"version": 1, "groups": groups})}


def _of_site(stem: str, site: Site | BlockSite, placed: Placement[Any], precision: Precision) -> dict[str, Tensor]:
    """θ of a site; in fp32 if 16 bits change ΔW too much, such as a small difference of large tensors."""
    theta, method = placed.theta, placed.method
    tensors = _rounded(stem, theta, precision)
    if precision == "fp32" or not isinstance(site, Site):
        return tensors
    read = {name: tensors[f"{stem}.{name}"].to(tensor) for name, tensor in theta.items()}
    W = site.weight()
    exact, rounded = (method.update({**placed.shared, **values}, site).dense(W) for values in (theta, read))
    near = relative_error(rounded, exact) <= LARGEST_ERROR[precision]
    return tensors if near else _rounded(stem, theta, "fp32")


def _rounded(stem: str, theta: Theta, precision: Precision) -> dict[str, Tensor]:
    """θ in a file's number format; counts, and tensors for which 16 bits are too coarse, in fp32."""
    rounded = {}
    for name, tensor in theta.items():
        exact = tensor.detach().float().cpu()
        if not torch.isfinite(exact).all():
            raise VelaturaError(
                "{stem}.{name} holds numbers that are not finite, so no style was written; use an earlier checkpoint",
                stem=stem,
                name=name,
            )
        formats = (precision, "fp32") if tensor.is_floating_point() else ("fp32",)
        casts = (exact.to(DTYPES[number_format]).contiguous().clone() for number_format in formats)
        rounded[f"{stem}.{name}"] = next(
            (cast for cast in casts if cast.dtype == torch.float32 or _near(cast, exact, precision)), exact
        )
    return rounded


def _near(rounded: Tensor, exact: Tensor, precision: Precision) -> bool:
    return not exact.numel() or relative_error(rounded.float(), exact) <= LARGEST_ERROR[precision]


# ---------------------------------------------------------------------------------------------- in
def read_form(style: Style) -> OwnForm:
    """Parse the metadata of a file in Velatura's own format, which is untrusted; VelaturaError if it is invalid."""
    try:
        return OwnForm.model_validate_json(style.metadata.get(OWN_FORM, ""))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or OWN_FORM
        raise VelaturaError(
            "{name} has an unknown method or setting ({place}: {first}); it is damaged, or was made with a "
            "newer Velatura",
            name=style.name,
            place=place,
            first=first["msg"],
        ) from None


def place_own(
    network: Network, parts: Mapping[str, nn.Module], family: str, style: Style, strength: float
) -> tuple[str, ...]:
    """Put the methods of a file in this format on a base at a strength; return the names of sites the base lacks.

    Raises VelaturaError if the base lacks all of them, or if shapes differ.
    """
    names = dict(_names(parts, family))
    missing: list[str] = []
    stems: list[str] = []
    for index, group in enumerate(read_form(style).groups):
        present = [stem for stem in dict.fromkeys(group.sites) if _has_place(names.get(stem), group)]
        missing += [stem for stem in group.sites if stem not in present]
        stems += present
        if present:
            _place_group(network, [names[stem] for stem in present], present, group.method, (style, index, strength))
    if not stems:
        raise VelaturaError(
            "{name} does not match this base, which lacks {missing}; use the base it was trained on",
            name=style.name,
            missing=missing[0],
        )
    return tuple(missing)


def _place_group(
    network: Network,
    places: Sequence[tuple[str, str, nn.Module]],
    stems: Sequence[str],
    method: LayerMethod | BlockMethod,
    source: tuple[Style, int, float],
) -> None:
    style, index, strength = source
    sites: list[Any] = [network.site_of(Target(part, path, module, method, 1.0)) for part, path, module in places]
    draw = torch.Generator().manual_seed(0)  # for names and shapes; the file replaces the numbers
    start = method.share(sites, draw)
    thetas = [_filled(method.init(site, start, draw), style, stem) for stem, site in zip(stems, sites, strict=True)]
    shared = MethodTensors(_filled(start, style, f"{SHARED}{index}")).to(sites[0].device)
    network.share(method, sites[0].part, shared)
    for site, theta in zip(sites, thetas, strict=True):
        site.attach(method, MethodTensors(theta).to(site.device), TensorView(shared), strength=strength)


def _filled(start: Theta, style: Style, stem: str) -> dict[str, Tensor]:
    """A method's tensors with the numbers of a file; all frozen."""
    filled = {}
    for name, tensor in start.items():
        stored = style.tensors.get(f"{stem}.{name}")
        if stored is None:
            raise VelaturaError(
                "{name} is damaged: {stem} lacks {tensor}; copy or download it again",
                name=style.name,
                stem=stem,
                tensor=name,
            )
        if stored.shape != tensor.shape and origin_of(style).starter:
            raise VelaturaError(FOR_ANOTHER_STARTER.format(name=style.name))
        if stored.shape != tensor.shape:
            raise VelaturaError(
                "{name} does not fit this base: {stem}.{tensor} has shape {shape} instead of {expected}",
                name=style.name,
                stem=stem,
                tensor=name,
                shape=tuple(stored.shape),
                expected=tuple(tensor.shape),
            )
        filled[name] = stored.to(tensor.dtype)
    return filled


def _has_place(place: tuple[str, str, nn.Module] | None, group: SiteGroup) -> bool:
    """Whether the base has this site, and the method can change it."""
    if place is None or place[0] != group.part:
        return False
    method, (part, path, module) = group.method, place
    if isinstance(method, BlockMethod):
        return sits_on_block(method, path)
    types = tuple(kind for name in method.places for kind in PLACES[name])
    return isinstance(module, types) and bool(method.sits_on(part, path, module))


def _names(parts: Mapping[str, nn.Module], family: str) -> Iterator[tuple[str, tuple[str, str, nn.Module]]]:
    """All names that files in this format may use for layers and blocks, with part, path and module."""
    for stem, (part, path) in layer_names(parts, family).items():
        yield stem, (part, path, module_at(parts[part], path))
    for part, net in parts.items():
        config = network_config(net) if family and is_denoiser(part) else {}
        for path, module in named_modules(net):
            if block_kind(path) is not None:
                yield file_name(part, path, family, config), (part, path, module)
