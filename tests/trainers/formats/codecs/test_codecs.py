"""What tensors of a file mean, by formulas written out here, and which tensors a change has in a file."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.trainers.adapters.layers import LAYERS, VARIANTS, make_site
from trainers.adapters.updates import InputRotation, LowRank, Normalised
from trainers.formats.codecs import build_update, codec_of, dora, file_tensors, portable
from trainers.formats.layout import LayoutError

OUT, IN, R, K = 12, 10, 3, 3


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def tucker(core: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """core (r, r, k, k), up (r, out), down (r, in)."""
    return torch.einsum("ijkl,ip,jq->pqkl", core, up, down)


ALPHA = torch.tensor(2.0)
UP, DOWN = draw(OUT, R), draw(R, IN)
W1A, W1B, W2A, W2B = draw(OUT, R), draw(R, IN * K * K), draw(OUT, R, seed=5), draw(R, IN * K * K, seed=5)
T1, T2, U1, U2, D1, D2 = (
    *(draw(R, R, K, K), draw(R, R, K, K, seed=5)),
    *(draw(R, OUT), draw(R, OUT, seed=5), draw(R, IN), draw(R, IN, seed=5)),
)
C, CA, CB = draw(3, 2), draw(3, R), draw(R, 2)
V, VK, VA, VB, VBK = draw(4, 5), draw(4, 5, K, K), draw(4, R), draw(R, 5), draw(R, 5 * K * K)
CORE, VT, VI = draw(R, R, K, K, seed=9), draw(R, 4), draw(R, 5, seed=9)


def kron_conv(left: Tensor, right: Tensor) -> Tensor:
    return torch.einsum("ab,cdkl->acbdkl", left, right).reshape(OUT, IN, K, K)


S = 2.0 / R
CASES: dict[str, tuple[dict[str, Tensor], Tensor]] = {
    "lora": ({"lora_up.weight": UP, "lora_down.weight": DOWN, "alpha": ALPHA}, S * UP @ DOWN),
    "lora without alpha": ({"lora_up.weight": UP, "lora_down.weight": DOWN}, UP @ DOWN),
    "locon": (
        {"lora_up.weight": UP[:, :, None, None], "lora_down.weight": W1B.view(R, IN, K, K), "alpha": ALPHA},
        (S * UP @ W1B).view(OUT, IN, K, K),
    ),
    "matrices for a 1×1 kernel": ({"lora_up.weight": UP, "lora_down.weight": DOWN}, (UP @ DOWN)[:, :, None, None]),
    "locon tucker": (
        {
            "lora_up.weight": UP[:, :, None, None],
            "lora_down.weight": DOWN[:, :, None, None],
            "lora_mid.weight": T1,
            "alpha": ALPHA,
        },
        S * torch.einsum("mnkl,om,ni->oikl", T1, UP, DOWN),
    ),
    "loha": (
        {"hada_w1_a": W1A, "hada_w1_b": W1B, "hada_w2_a": W2A, "hada_w2_b": W2B, "alpha": ALPHA},
        (S * (W1A @ W1B) * (W2A @ W2B)).view(OUT, IN, K, K),
    ),
    "loha tucker": (
        {
            "hada_w1_a": U1,
            "hada_w1_b": D1,
            "hada_w2_a": U2,
            "hada_w2_b": D2,
            "hada_t1": T1,
            "hada_t2": T2,
            "alpha": ALPHA,
        },
        S * tucker(T1, U1, D1) * tucker(T2, U2, D2),
    ),
    "lokr full ignores alpha": ({"lokr_w1": C, "lokr_w2": V, "alpha": ALPHA}, torch.kron(C, V)),
    "lokr full kernel": ({"lokr_w1": C, "lokr_w2": VK, "alpha": ALPHA}, kron_conv(C, VK)),
    "lokr low": ({"lokr_w1": C, "lokr_w2_a": VA, "lokr_w2_b": VB, "alpha": ALPHA}, S * torch.kron(C, VA @ VB)),
    "lokr low kernel": (
        {"lokr_w1": C, "lokr_w2_a": VA, "lokr_w2_b": VBK, "alpha": ALPHA},
        S * kron_conv(C, (VA @ VBK).view(4, 5, K, K)),
    ),
    "lokr both low scales once": (
        {"lokr_w1_a": CA, "lokr_w1_b": CB, "lokr_w2_a": VA, "lokr_w2_b": VB, "alpha": ALPHA},
        S * torch.kron(CA @ CB, VA @ VB),
    ),
    "lokr low first": ({"lokr_w1_a": CA, "lokr_w1_b": CB, "lokr_w2": V, "alpha": ALPHA}, S * torch.kron(CA @ CB, V)),
    "lokr tucker": (
        {"lokr_w1": C, "lokr_w2_a": VT, "lokr_w2_b": VI, "lokr_t2": CORE, "alpha": ALPHA},
        S * kron_conv(C, tucker(CORE, VT, VI)),
    ),
    "diff": ({"diff": draw(OUT, IN, K, K)}, draw(OUT, IN, K, K)),
    "diff of one number": ({"diff": torch.zeros(1)}, torch.zeros(OUT, IN)),
}


@pytest.mark.parametrize("case", CASES)
def test_formulas(case):
    tensors, expected = CASES[case]
    update = build_update(tensors, tuple(expected.shape))
    torch.testing.assert_close(update.dense(torch.empty(0)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case not in ("diff of one number", "matrices for a 1×1 kernel")]
)
def test_shape_is_read_off_the_tensors(case):
    tensors, expected = CASES[case]
    found = build_update(tensors).dense(torch.empty(0))
    torch.testing.assert_close(found.flatten(1), expected.flatten(1), rtol=1e-5, atol=1e-5)


def test_half_precision_is_read_into_fp32():
    tensors = {name: tensor.half() for name, tensor in CASES["loha"][0].items()}
    assert build_update(tensors, (OUT, IN, K, K)).dense(torch.empty(0)).dtype == torch.float32


@pytest.mark.parametrize(
    ("tensors", "shape", "words"),
    [
        ({"lora_up.weight": UP}, None, "lacks lora_down.weight"),
        ({"lora_up.weight": UP, "lora_down.weight": DOWN[:2]}, None, "do not fit"),
        ({"lora_up.weight": UP, "lora_down.weight": DOWN}, (OUT, IN + 1), r"of shape \(12, 11\)"),
        ({"lokr_w1": C, "lokr_w2": V}, (OUT, IN + 2), "do not fit"),
        ({"lokr_w1": C, "lokr_w2_a": VA, "lokr_w2_b": VB}, (OUT + 1, IN), "do not fit"),
        ({"diff": UP}, (OUT, IN), "do not fit"),
        ({"diff": torch.ones(1)}, (OUT, IN), "do not fit"),
        ({"lora_up.weight": UP[:, :0], "lora_down.weight": DOWN[:0], "alpha": ALPHA}, (OUT, IN), "has rank 0"),
        ({"lokr_w1_a": CA[:, :0], "lokr_w1_b": CB[:0], "lokr_w2": V}, (OUT, IN), "has rank 0"),
        ({"a1.weight": UP, "alpha": ALPHA}, (OUT, IN), "depends on the base"),
        ({"alpha": ALPHA}, None, "not a LoRA"),
        ({"oft_blocks": draw(3, 4, 4), "rescale": draw(IN)}, (OUT, IN), "do not fit"),
        ({"oft_blocks": torch.zeros(3, 4, 4), "rescale": draw(IN)}, (OUT, IN), "do not fit"),
        ({"oft_blocks": draw(3, 4, 4), "diff_b": draw(OUT, 1)}, (OUT, IN), "do not fit"),
        ({"oft_blocks": draw(1, 1, 3, 4, 4)}, (OUT, IN), "do not fit"),
        ({"oft_blocks": draw(2, 3, 4, 4)}, (OUT, IN), "do not fit"),  # the second would span 8 channels
        ({"oft_blocks": draw(1, 4, 3, 3)}, (OUT, IN), "do not fit"),
        ({"oft_blocks": draw(3, 4, 4)}, (OUT,), "do not fit"),
        ({"diff": torch.zeros(1), "diff_b": draw(IN)}, (OUT, IN), "do not fit"),
        ({"w_norm": draw(OUT), "b_norm": draw(1)}, (OUT,), "do not fit"),
        ({"weight": draw(IN), "on_input": torch.tensor(0)}, (OUT, IN), "do not fit"),
        ({"lora_up.weight": UP, "lora_down.weight": draw(R, 1)}, (OUT,), "do not fit"),
    ],
)
def test_nonsense_is_refused(tensors, shape, words):
    with pytest.raises(LayoutError, match=words):
        build_update(tensors, shape)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_forms_that_files_take_are_the_same_change(kind, variant):
    site = make_site(kind, VARIANTS[variant])
    update, W = site.updates()[0], site.weight()
    if codec_of(update) is None:
        with pytest.raises(TypeError, match="write its full change"):
            file_tensors(update, 1.0)
    else:
        torch.testing.assert_close(portable(update).dense(W.float()), update.dense(W).float(), rtol=1e-4, atol=1e-5)
    if isinstance(update, LowRank | Normalised):
        norms = torch.linalg.vector_norm((W + update.dense(W)).flatten(1), dim=1)
        (magnitudes,) = dora.write(update, W)[1].values()
        torch.testing.assert_close(magnitudes.flatten().abs(), norms.float())
    if isinstance(update, InputRotation) and not update.butterfly:
        one = torch.eye(update.skew.shape[-1], dtype=W.dtype)
        R = torch.block_diag(*((one + update.skew[0]) @ torch.linalg.inv(one - update.skew[0])))
        torch.testing.assert_close(W + update.dense(W), torch.einsum("oi...,ij->oj...", W, R))
