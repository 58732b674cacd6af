"""OFT in files: `oft_blocks` and `rescale` of rotated outputs in LyCORIS' files, PEFT's `oft_R` of rotated inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from trainers.adapters.methods.oft import skew
from trainers.adapters.updates import Affine, Dense, Rotation, Update
from trainers.adapters.updates.rotation import butterfly_block
from trainers.formats.layout import LayoutError
from trainers.formats.peft_settings import CAYLEY_TERMS, LIMIT


def read(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> Update:
    blocks = tensors["oft_blocks"]  # OFT (out/b, b, b), BOFT (m, out/b, b, b)
    out, b = blocks.shape[-3] * blocks.shape[-1], blocks.shape[-1]
    shape = shape or (out, 1)
    if out != shape[0] or blocks.dim() not in (3, 4) or not blocks.numel() or blocks.shape[-2] != b:
        raise ValueError("another layer's shape")
    if blocks.dim() == 4 and (b % 2 or out % (b * 2 ** (len(blocks) - 1))):  # the last factor's channels
        raise ValueError("a butterfly that does not fit the number of channels")
    shift = tensors.get("diff_b")
    gain = tensors["rescale"].flatten() - 1 if "rescale" in tensors else None
    if gain is not None and not blocks.any():
        return Affine(gain, shift, shape)
    Q = blocks - blocks.mT
    limit = tensors["alpha"].item() * out if "alpha" in tensors else 0.0
    if limit > 0:  # a constraint on the norm of all blocks together
        Q = Q * min(1.0, limit / (Q.norm().item() + 1e-8))
    if Q.dim() == 4:
        return Rotation(Q, shape, True, gain, shift)
    return Rotation(Q.mT[None], shape, False, gain, shift)  # files hold a single rotation's inverse


def write(update: Rotation | Affine, alpha: float) -> dict[str, Tensor]:
    """Blocks above the diagonal, from which readers subtract the transpose; alpha 0 means no constraint.

    An output scale alone has the identity rotation (BOFT), which needs no base.
    """
    if isinstance(update, Rotation):
        if update.strength != 1:
            raise ValueError("a rotation at another strength is not a rotation")
        # Files hold a single rotation's inverse: readers multiply by its transpose.
        blocks = (update.skew if update.butterfly else update.skew[0].mT).triu(1)
    else:
        b = butterfly_block(update.shape[0], 2)
        blocks = torch.zeros(1, update.shape[0] // b, b, b)
    tensors = {"oft_blocks": blocks, "alpha": torch.tensor(0.0)}
    if update.gain is not None:
        tensors["rescale"] = (1 + update.gain).view(-1, *[1] * (len(update.shape) - 1))
    return tensors if update.shift is None else {**tensors, "diff_b": update.shift}


def read_peft(tensors: Mapping[str, Tensor], W: Tensor) -> Dense:
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


def write_peft(Q: Tensor) -> Tensor:
    """PEFT's `oft_R` of an R with these skew blocks `(in/b, b, b)`: their entries above the diagonal, in fp32."""
    rows, columns = torch.triu_indices(Q.shape[-1], Q.shape[-1], 1)
    return Q.detach().float().cpu()[:, rows, columns].contiguous()


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
