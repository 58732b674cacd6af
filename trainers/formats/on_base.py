"""Changes in files that depend on the layer's base weight W.

    DoRA        W' = m (W + ΔW) / ‖W + ΔW‖, by row or by column
    GLoRA       W' = W + W A + B,           A = A₁ A₂ (in × in) and B = B₁ B₂ (out × in) of rank r, both times α / r
    IA³         W' = W diag(l) on inputs; W' = diag(l) W and b' = l ⊙ b on outputs
    OFT (PEFT)  W' = W R,                   R block-diagonal and orthogonal

Liu et al. 2024 (arXiv 2402.09353), Chavan et al. 2023 (2306.07967), Liu et al. 2022 (2205.05638), Qiu et al. 2023
(2306.07280). On a convolution A mixes the input channels alike at every position of the kernel, as in LyCORIS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from trainers.adapters.methods.oft import skew
from trainers.adapters.updates import Affine, Dense, LowRank, Update
from trainers.formats.layout import GLORA, LayoutError, build_update, scale_of, sizes_of
from trainers.formats.peft_settings import CAYLEY_TERMS, INPUTS, LIMIT

DECOMPOSED = ("dora_scale", "lora_magnitude_vector")


def needs_base(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a layer's change depends on its weight; True for IA³ of unknown direction in an outline."""
    on_input = tensors.get("on_input")
    if on_input is not None and (on_input.is_meta or bool(on_input.any())):
        return True
    return bool({*DECOMPOSED, *GLORA, "ia3_l", "oft_R.weight"} & set(tensors))


def update_on(tensors: Mapping[str, Tensor], W: Tensor, bias: Tensor | None) -> Update:
    """The change of a layer with this weight and bias, in fp32; LayoutError if the tensors do not fit them."""
    try:
        if "oft_R.weight" in tensors:
            return read_peft_oft(tensors, W)
        if "ia3_l" in tensors:
            return read_peft_ia3(tensors, W, bias)
        if "a1.weight" in tensors:
            return read_glora(tensors, W)
        if "on_input" in tensors:
            return read_ia3(tensors, W)
        return read_dora(build_update(tensors, tuple(W.shape)), tensors, W)
    except LayoutError:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError, KeyError) as error:  # untrusted tensors may have any shape
        raise LayoutError(
            "has tensors that do not fit a layer of shape {shape}: {sizes}",
            shape=tuple(W.shape),
            sizes=sizes_of(tensors),
        ) from error


def read_dora(update: Update, tensors: Mapping[str, Tensor], W: Tensor) -> Dense:
    """DoRA: the norm by row or, for a `dora_scale (1, in)`, by column."""
    changed = W.float() + update.dense(W)
    by_row = tensors.get("lora_magnitude_vector")  # PEFT: `(out,)`, convolutions `(1, out, 1, 1)`
    magnitude = by_row if by_row is not None else tensors["dora_scale"]
    axis = int(by_row is None and magnitude.shape[:1] == (1,) != W.shape[:1])
    if magnitude.numel() != W.shape[axis]:
        raise LayoutError(
            "has {magnitudes} magnitudes for a layer of shape {shape}",
            magnitudes=magnitude.numel(),
            shape=tuple(W.shape),
        )
    others = tuple(d for d in range(W.dim()) if d != axis)
    norm = torch.linalg.vector_norm(changed, dim=others, keepdim=True)
    return Dense(magnitude.float().reshape(norm.shape) * changed / norm - W.float())


def read_glora(tensors: Mapping[str, Tensor], W: Tensor) -> Update:
    """GLoRA: A₁ (in, r), A₂ (r, in), B₁ (out, r), B₂ (r, in·kh·kw); older files have both pairs swapped."""
    if W.dim() < 2:
        raise LayoutError("has GLoRA matrices, but a norm has no matrix")
    a1, a2, b1, b2 = (tensors[name].float().flatten(1) for name in GLORA)
    out, fan_in, inputs = W.shape[0], math.prod(W.shape[1:]), W.shape[1]
    if not _are(a1, a2, b1, b2, out, inputs, fan_in):
        a1, a2, b1, b2 = a2, a1, b2, b1
        if not _are(a1, a2, b1, b2, out, inputs, fan_in):
            sizes = ", ".join(str(tuple(tensors[name].shape)) for name in GLORA)
            raise LayoutError(
                "has GLoRA matrices {sizes} for a layer of shape {shape}", sizes=sizes, shape=tuple(W.shape)
            )
    scale, weight = scale_of(tensors, len(a2)), W.float()
    if fan_in == inputs:
        up = torch.cat([weight.reshape(out, inputs) @ a1, b1], 1) * scale
        return LowRank(up, torch.cat([a2, b2]), tuple(W.shape))
    between = (a1, a2) if len(a2) <= inputs else (a1 @ a2, torch.eye(inputs))  # no intermediate larger than W
    mixed = torch.einsum("oikl,ir,rj->ojkl", weight, *between)
    return Dense(scale * (mixed + (b1 @ b2).view(W.shape)))


def _are(a1: Tensor, a2: Tensor, b1: Tensor, b2: Tensor, out: int, inputs: int, fan_in: int) -> bool:
    rank = a1.shape[1]
    return (*a1.shape, *a2.shape, *b1.shape, *b2.shape) == (inputs, rank, rank, inputs, out, rank, rank, fan_in)


def read_ia3(tensors: Mapping[str, Tensor], W: Tensor) -> Dense:
    """IA³ on a layer's inputs: ΔW = W diag(l) with LyCORIS' l, which is 0 for no change."""
    if "weight" not in tensors:
        raise LayoutError("lacks weight")
    return _scaled_inputs(tensors["weight"].float().flatten(), W)


def _scaled_inputs(gain: Tensor, W: Tensor) -> Dense:
    if W.dim() < 2 or len(gain) != W.shape[1]:
        raise LayoutError("scales {inputs} inputs of a layer of shape {shape}", inputs=len(gain), shape=tuple(W.shape))
    return Dense(W.float() * gain.view(1, -1, *[1] * (W.dim() - 2)))


def read_peft_ia3(tensors: Mapping[str, Tensor], W: Tensor, bias: Tensor | None) -> Update:
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
        return _scaled_inputs(gain, W)
    if len(gain) != W.shape[0]:
        raise LayoutError(
            "scales {outputs} outputs of a layer of shape {shape}", outputs=len(gain), shape=tuple(W.shape)
        )
    return Affine(gain, None if bias is None else gain * bias.float(), tuple(W.shape))


def read_peft_oft(tensors: Mapping[str, Tensor], W: Tensor) -> Dense:
    """PEFT's OFT: W' = W R over the inputs of a linear layer or a 1×1 convolution.

    Larger kernels raise LayoutError: PEFT 0.21 merges W R over channels and positions, but its forward pass also sums
    overlaps, even at R = I, so such a file is ambiguous.
    """
    if W.dim() < 2:
        raise LayoutError("rotates its inputs (OFT), but a norm has no matrix")
    if math.prod(W.shape[2:]) > 1:
        raise LayoutError("rotates a convolution's inputs (OFT), where PEFT trains another change than it merges")
    if CAYLEY_TERMS not in tensors:
        raise LayoutError("rotates its inputs (OFT) as PEFT's adapter_config.json says: put it into the same folder")
    flat, theta = W.float().flatten(1), tensors["oft_R.weight"].float()
    if LIMIT in tensors:
        theta = project(theta, tensors[LIMIT].item())
    R = rotation_of(theta, flat.shape[1], int(tensors[CAYLEY_TERMS]))
    blocks = flat.unflatten(1, R.shape[:2])  # (out, in/b, b)
    rotated = torch.einsum("okb,kbc->okc", blocks, R - torch.eye(R.shape[-1]))
    return Dense(rotated.reshape(W.shape))


def project(theta: Tensor, limit: float) -> Tensor:
    """COFT's θ: each block's Q shortened to at most ε / √blocks, as in each forward pass of PEFT."""
    norms = math.sqrt(2) * torch.linalg.vector_norm(theta, dim=-1, keepdim=True)  # of Q, which holds θ twice
    most = limit / math.sqrt(max(1, len(theta)))
    return torch.where(norms <= most, theta, theta * (most / norms))


def rotation_of(theta: Tensor, width: int, terms: int) -> Tensor:
    """Blocks `(width/b, b, b)` of R in W' = W R from PEFT's `oft_R`, `(width/b, b·(b − 1)/2)` or one row for all.

    θ holds the entries above the diagonal of a skew Q, row by row. With `terms` 0, R = (I + Q)(I − Q)⁻¹. With n terms R
    is the series of its transpose, I − 2 Q + 2 Q² − … ± Qⁿ⁻¹, whose last term has no factor 2, as in PEFT since 0.18.
    Raises LayoutError if θ does not fit.
    """
    b = math.isqrt(2 * theta.shape[-1]) + 1 if theta.dim() == 2 else 0
    if b * (b - 1) // 2 != theta.shape[-1] or b < 2 or width % b or len(theta) not in (1, width // b):
        raise LayoutError(
            "rotates its inputs (OFT) with a tensor of {shape}, but has {width} inputs",
            shape=tuple(theta.shape),
            width=width,
        )
    Q = skew(theta, b).expand(width // b, b, b)
    identity = torch.eye(b, dtype=Q.dtype)
    if terms <= 0:
        return torch.linalg.solve(identity - Q, identity + Q)
    R, power = identity.expand_as(Q).clone(), identity.expand_as(Q)
    last = 1 if terms == 2 else max(terms, 4) - 1 if terms > 2 else 0
    for n in range(1, last + 1):
        power = power @ -Q
        R = R + power * (1 if n == last and n > 1 else 2)
    return R
