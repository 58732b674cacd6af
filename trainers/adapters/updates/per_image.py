"""A separate update for each image of a batch.

    y_j += s_j ΔW_{k_j} x_j        k (n,) index of each image's change among K, −1 for none;  s (n,) its strength

Low-rank changes of small rank are stacked, zero-padded to one rank r, which leaves the products unchanged:

    U (K + 1, out, r),  D (K + 1, r, in·kh·kw);  the last pair is zero, for k = −1

    linear:        h = bmm(x, D[k]ᵀ)                              y += bmm(h, (s U[k])ᵀ)
    convolution:   h = conv(x as (1, n·in, h, w), D[k] as (n·r, in, kh, kw), groups = n)      y += s U[k] h

All other changes are applied one by one to their images. Punica (arXiv 2310.18547) and S-LoRA (2311.03285) stack in
this way for language models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from trainers.adapters.op import Op
from trainers.adapters.updates.tree import RUNTIME
from trainers.adapters.updates.update import NOT_ONE_MATRIX, LowRank, Update


@dataclass(frozen=True)
class PerImage(Update):
    """One of several changes for each image of a batch.

    `stacked` holds U and D, None if no change is stacked; `others` holds the rest by number. `index (n,)`, on the CPU,
    is k, and `strengths (n,)` is s. For a batch of m·n images both repeat m times, as under classifier-free guidance:
    [unconditional, conditional]. `rows` holds the tokens of each of the m·n images if the layer's input is `(Σ rows,
    in)` and not `(m·n, …)`.
    """

    stacked: LowRank | None
    others: Mapping[int, Update]
    shape: tuple[int, ...]
    index: Tensor = field(metadata=RUNTIME)
    strengths: Tensor | None = field(default=None, metadata=RUNTIME)
    rows: tuple[int, ...] | None = field(default=None, metadata=RUNTIME)

    shift = None

    @property
    def uses_base_output(self) -> bool:
        return any(update.uses_base_output for update in self.others.values())

    def apply(self, op: Op, x: Tensor, y0: Tensor | None = None, onto: Tensor | None = None) -> Tensor:
        if self.rows is not None:
            return self._apply_apart(op, x, y0, onto)
        times, rest = divmod(len(x), len(self.index))
        if rest:
            raise ValueError(f"a batch of {len(x)} is not a multiple of the {len(self.index)} images with styles")
        index = self.index.tolist() * times  # short, so plain Python is faster than tensors
        strengths = None if self.strengths is None else self.strengths.to(x.device).repeat(times)
        out = op(x, x.new_zeros(op.shape)) if onto is None else onto
        used = {k for k in index if k >= 0}
        if self.stacked is not None and used - self.others.keys():
            out = self._chosen(self.stacked, index, strengths).apply(op, x, None, out)
        for k in sorted(used & self.others.keys()):
            if strengths is None and len(used) == 1 and k == min(index):  # all images
                return self.others[k].apply(op, x, y0, out)
            rows = torch.tensor([row for row, number in enumerate(index) if number == k], device=x.device)
            part = self.others[k].apply(op, x[rows], None if y0 is None else y0[rows])
            if strengths is not None:
                part = part * strengths[rows].to(part.dtype).view(-1, *[1] * (part.dim() - 1))
            out = out.index_add(0, rows, part.to(out.dtype))
        return out

    def _apply_apart(self, op: Op, x: Tensor, y0: Tensor | None, onto: Tensor | None) -> Tensor:
        """The output for all images' tokens in one row, computed image by image."""
        assert self.rows is not None
        start, outputs = 0, []
        for number, tokens in enumerate(self.rows):
            image, span = [number % len(self.index)], slice(start, start + tokens)
            strengths = None if self.strengths is None else self.strengths[image]
            change = replace(self, index=self.index[image], strengths=strengths, rows=None)
            base, sums = (None if t is None else t[None, span] for t in (y0, onto))
            outputs.append(change.apply(op, x[None, span], base, sums)[0])
            start += tokens
        return torch.cat(outputs)

    def _chosen(self, stacked: LowRank, index: list[int], strengths: Tensor | None) -> LowRank:
        """Each image's factors, or one pair if all are the same."""
        if strengths is None and len(set(index)) == 1:
            return LowRank(stacked.up[index[0]], stacked.down[index[0]], self.shape)
        chosen = torch.tensor(index, device=stacked.up.device)
        up = stacked.up[chosen]  # (n, out, r)
        return LowRank(up if strengths is None else up * strengths[:, None, None], stacked.down[chosen], self.shape)

    def dense(self, W: Tensor) -> Tensor:
        raise ValueError(NOT_ONE_MATRIX)

    def scaled(self, strength: float) -> PerImage:
        strengths = torch.ones(len(self.index)) if self.strengths is None else self.strengths
        return replace(self, strengths=strengths * strength)


def stack(
    changes: Mapping[int, Update], shape: tuple[int, ...], count: int
) -> tuple[LowRank | None, dict[int, Update]]:
    """Split the changes of one layer, by number out of `count`, into those to stack and the others.

    Changes are stacked if their two products cost at most half of the layer's own product. The stack has the largest
    of their ranks.
    """
    out, fan_in = shape[0], torch.Size(shape[1:]).numel()
    lows = {number: low for number, update in changes.items() if (low := update.low_rank()) is not None}
    lows = {number: low for number, low in lows.items() if 2 * low.rank * (out + fan_in) <= out * fan_in}
    others = {number: update for number, update in changes.items() if number not in lows}
    rank = max((low.rank for low in lows.values()), default=0)
    if not rank:
        return None, others
    like = next(iter(lows.values()))
    up, down = like.up.new_zeros(count + 1, out, rank), like.down.new_zeros(count + 1, rank, fan_in)
    for number, low in lows.items():
        up[number, :, : low.rank], down[number, : low.rank] = low.up, low.down
    return LowRank(up, down, shape), others
