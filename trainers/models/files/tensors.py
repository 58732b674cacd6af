"""Reads tensors of safetensors and GGUF files one after the other, completely or the rows that a layer needs.

ComfyUI's 8-bit files have a factor for each weight, which is multiplied in. A weight without one is read as it is:
plain 8-bit files have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.errors import VelaturaError
from trainers.messages import Message
from trainers.models.files.folder import first_line
from trainers.models.files.gguf import PIECE, Packed, is_gguf, read_gguf
from trainers.models.files.header import Header, read_header
from trainers.models.files.mapping import mapped
from trainers.models.quiet import quietly

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainers.models.families.family import OriginalLayer

CUT = Message("it is damaged, or its architecture is a reduced version of its family's")
FACTORS = (".scale_weight", ".weight_scale")
"""Suffixes of the names of weights' factors."""
PARAMETERS: Mapping[str, tuple[str, ...]] = {"weight": ("weight", "scale"), "bias": ("bias",)}
"""Names in the original layout of a layer's parameters in diffusers."""
BEFORE = ("text_model.", "transformer.", "model.")
"""Prefixes that an encoder's tensor names may have."""


@dataclass(frozen=True)
class Unread:
    """The tensors of an empty network that are still to be read, by name, and their dtype in memory."""

    tensors: Mapping[str, StoredTensor]
    dtype: torch.dtype


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file, or a range of its rows."""

    path: Path
    name: str
    shape: tuple[int, ...]
    rows: tuple[int, int] | None = None
    """Start and end; None for all."""
    swapped: bool = False
    """Whether `read` swaps its two halves."""
    transposed: bool = False
    """Whether `read` transposes it; `shape` is the resulting one."""
    factor: str = ""
    """Name of the tensor by which it is multiplied, if any."""
    packed: Packed | None = None
    """The tensor in a GGUF file; None in other files."""

    def read(self, dtype: torch.dtype | None = None) -> Tensor:
        """Read the tensor in the file's dtype; in `dtype`, by default fp32, if it is multiplied or unpacked.

        VelaturaError if the file is damaged, or changed since its header was read.
        """
        import torch
        from safetensors import SafetensorError

        try:
            tensor = self._rows(dtype)
        except (SafetensorError, OSError, RuntimeError, ValueError) as error:
            raise VelaturaError("cannot load {name}: {error}", name=self.path.name, error=first_line(error)) from error
        if self.transposed:
            return tensor.T.contiguous()
        if not self.swapped:
            return tensor
        half = len(tensor) // 2
        return torch.cat([tensor[half:], tensor[:half]])

    def _rows(self, dtype: torch.dtype | None) -> Tensor:
        if self.packed is not None:
            return self.packed.read(self.rows, dtype)
        from safetensors import safe_open

        with safe_open(self.path, "pt") as file:
            if self.rows is None:
                tensor: Tensor = file.get_tensor(self.name)
            else:
                tensor = file.get_slice(self.name)[slice(*self.rows)]
            factor = file.get_tensor(self.factor).float() if self.factor else None
        if factor is None:
            return tensor
        if factor.numel() > 1 and self.rows is not None:  # one for each row
            factor = factor[slice(*self.rows)]
        if factor.numel() not in (1, len(tensor)):
            raise ValueError(f"{self.factor} has {factor.numel()} numbers for {len(tensor)} rows")
        return self._multiplied(tensor, factor.flatten(), dtype)

    def _multiplied(self, tensor: Tensor, factor: Tensor, dtype: torch.dtype | None) -> Tensor:
        """A weight times its factor or its rows' factors, computed in fp32 piece by piece and rounded to `dtype`."""
        import torch

        product = mapped(tensor.shape, dtype or torch.float32)
        count = max(1, PIECE * len(tensor) // max(1, tensor.numel()))
        for first in range(0, len(tensor), count):
            rows = slice(first, first + count)
            factors = factor if factor.numel() == 1 else factor[rows]
            numbers, factors = tensor[rows].float(), factors.view(-1, *(1,) * (tensor.dim() - 1))
            if not factors.all() and ((factors == 0) & (numbers != 0)).any():
                raise ValueError(f"{self.factor} is 0, which would erase {self.name}")
            product[rows] = numbers * factors
        return product

    def part(self, start: int, count: int) -> StoredTensor:
        """`count` rows from `start`."""
        return replace(self, shape=(count, *self.shape[1:]), rows=(start, start + count))


def stored_tensors(path: Path, prefix: str = "", header: Header | None = None) -> dict[str, StoredTensor]:
    """The tensors of a file whose names begin with `prefix`, by the rest of it; VelaturaError if it is damaged."""
    if is_gguf(path):
        return {
            name.removeprefix(prefix): StoredTensor(path, name, packed.shape, packed=packed)
            for name, packed in read_gguf(path)[0].items()
            if name.startswith(prefix)
        }
    shapes = (header or read_header(path)).shapes
    tensors = {}
    for name, shape in shapes.items():
        if name.startswith(prefix) and not name.endswith(FACTORS):
            stem = name.removesuffix(".weight")
            factor = next((stem + end for end in FACTORS if stem != name and stem + end in shapes), "")
            tensors[name.removeprefix(prefix)] = StoredTensor(path, name, shape, factor=factor)
    return tensors


def by_layers(
    stored: Mapping[str, StoredTensor], layers: Iterable[OriginalLayer], tensors: Mapping[str, str] | None = None
) -> dict[str, StoredTensor]:
    """The tensors of diffusers' layers by name, from those of the original layout.

    `tensors` maps the original names of parameters outside of layers to diffusers' names.
    """
    converted = {ours: stored[theirs] for theirs, ours in (tensors or {}).items() if theirs in stored}
    for layer in layers:
        for kind, names in PARAMETERS.items():
            tensor = next(filter(None, (stored.get(f"{layer.name}.{name}") for name in names)), None)
            if tensor is not None:
                converted |= {f"{path}.{kind}": part for path, part in _parts(tensor, layer)}
    return converted


def _parts(tensor: StoredTensor, layer: OriginalLayer) -> Iterator[tuple[str, StoredTensor]]:
    if len(layer.paths) == 1:
        yield layer.paths[0], replace(tensor, swapped=layer.swapped)
        return
    start = 0
    for path, rows in zip(layer.paths, layer.rows, strict=True):
        yield path, tensor.part(start, rows)
        start += rows


def named_as(network: Any, stored: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Tensors by their names in a network of transformers or diffusers; unknown ones keep theirs."""
    tensors = dict(stored)
    for name in network.state_dict():
        others = (*(f"{prefix}{name}" for prefix in BEFORE), *(name.removeprefix(prefix) for prefix in BEFORE))
        other = next((variant for variant in (name, *others) if variant in stored), None)
        if other is not None:
            tensors[name] = stored[other]
    return tensors


def build_empty(kind: Any, config: Mapping[str, Any]) -> Any:
    """A network of diffusers or transformers from its config, on the meta device except for computed buffers."""
    import torch
    from accelerate import init_empty_weights

    with quietly(), torch.device("meta"):
        network = _build(kind, config)
    computed = [name for name, _ in network.named_buffers() if name not in network.state_dict()]
    if computed:
        with quietly(), init_empty_weights():
            buffers = dict(_build(kind, config).named_buffers())
        for name in computed:
            path, _, last = name.rpartition(".")
            network.get_submodule(path)._buffers[last] = buffers[name]
    return network.requires_grad_(False).eval()


def _build(kind: Any, config: Mapping[str, Any]) -> Any:
    return kind.from_config(dict(config)) if hasattr(kind, "from_config") else kind(kind.config_class(**config))


def missing_tensors(name: str, part: str, missing: Sequence[str]) -> VelaturaError:
    """The error for a file that lacks tensors of a part."""
    return VelaturaError(
        "{name} lacks {count} tensors of the {part} such as {empty}: {cut}",
        name=name,
        count=len(missing),
        part=part,
        empty=missing[0],
        cut=CUT,
    )


def fill(network: Any, tensors: Mapping[str, StoredTensor | Tensor], dtype: torch.dtype, part: str, name: str) -> Any:
    """Give an empty network these tensors in `dtype`; stored ones become its `unread`, to be read one by one.

    Raises VelaturaError, with the network's name `part` and the file's `name`, if tensors are missing or do not fit.
    """
    expected = network.state_dict()
    tied = set(getattr(network, "_tied_weights_keys", None) or ())
    missing = [key for key in expected if key not in tensors and key not in tied]
    if missing:
        raise missing_tensors(name, part, missing)
    for key, tensor in expected.items():
        if key in tensors and tuple(tensors[key].shape) != tuple(tensor.shape):
            raise VelaturaError(
                "cannot load {name}: {tensor} of the {part} has the shape {found} instead of {expected}",
                name=name,
                tensor=key,
                part=part,
                found=tuple(tensors[key].shape),
                expected=tuple(tensor.shape),
            )
    fitting = {key: tensors[key] for key in expected if key in tensors}
    stored = {key: tensor for key, tensor in fitting.items() if isinstance(tensor, StoredTensor)}
    if stored:
        _check_factors(stored.values())
        network.unread = Unread(stored, dtype)
    loaded = {key: tensor.to(dtype) for key, tensor in fitting.items() if not isinstance(tensor, StoredTensor)}
    network.load_state_dict(loaded, False, assign=True)
    return network


def _check_factors(stored: Iterable[StoredTensor]) -> None:
    """Raise VelaturaError if a factor of these tensors is not finite."""
    from safetensors import SafetensorError, safe_open

    factors: dict[Path, list[str]] = {}
    for tensor in stored:
        if tensor.factor:
            factors.setdefault(tensor.path, []).append(tensor.factor)
    for path, names in factors.items():
        try:
            with safe_open(path, "pt") as file:
                wrong = next((name for name in names if not file.get_tensor(name).float().isfinite().all()), None)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise VelaturaError("cannot load {name}: {error}", name=path.name, error=first_line(error)) from error
        if wrong is not None:
            raise VelaturaError(
                "{name} is damaged: {factor}, by which a weight is multiplied, is not a finite number; copy or "
                "download it again",
                name=path.name,
                factor=wrong,
            )
