"""IA³ in others' files: `weight` with `on_input` in LyCORIS', `ia3_l` in PEFT's; ours hold it as OFT or in full."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from trainers.adapters.updates import Affine, Dense, Update
from trainers.formats.layout import LayoutError
from trainers.formats.peft_settings import INPUTS


def read(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> Affine:
    if tensors["on_input"].any():
        raise LayoutError("scales its inputs (IA³), which depends on the base model")
    gain = tensors["weight"].flatten()
    return Affine(gain, None, shape or (len(gain), 1))


def scale_inputs(gain: Tensor, W: Tensor) -> Dense:
    """ΔW = W diag(gain) of a layer with inputs for each gain; 0 is no change."""
    if W.dim() < 2 or len(gain) != W.shape[1]:
        raise LayoutError("scales {inputs} inputs of a layer of shape {shape}", inputs=len(gain), shape=tuple(W.shape))
    return Dense(W.float() * gain.view(1, -1, *[1] * (W.dim() - 2)))


def read_peft(tensors: Mapping[str, Tensor], W: Tensor, bias: Tensor | None) -> Update:
    """PEFT's IA³: a scale l, 1 for no change, of a layer's outputs with their bias, or of its inputs.

    A linear layer's l has the shape `(out, 1)` or `(1, in)`. A convolution's is `(1, n, 1, 1)`: n decides if the
    two widths differ; otherwise PEFT's settings do.
    """
    stored = tensors["ia3_l"].float()
    gain = stored.flatten() - 1
    if W.dim() < 2:
        raise LayoutError("has IA³ scales, but a norm has no matrix")
    stated = tensors.get(INPUTS)
    if stored.dim() == 2:
        on_inputs = stored.shape[0] == 1 != stored.shape[1]
    elif stated is not None:
        on_inputs = bool(stated)
    elif W.shape[0] != W.shape[1]:
        on_inputs = len(gain) == W.shape[1]
    else:
        raise LayoutError(
            "scales inputs or outputs (IA³); PEFT's adapter_config.json says which: put it into the same folder"
        )
    if on_inputs:
        return scale_inputs(gain, W)
    if len(gain) != W.shape[0]:
        raise LayoutError(
            "scales {outputs} outputs of a layer of shape {shape}", outputs=len(gain), shape=tuple(W.shape)
        )
    return Affine(gain, None if bias is None else gain * bias.float(), tuple(W.shape))
