"""Layers and parameters of the real SD 1.5 UNet, built without weights, against a table counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.pairs import seldom_but
from tests.trainers.adapters.layers import attach_to
from trainers.adapters.method import LayerMethod
from trainers.adapters.methods.adalora import AdaLoRA
from trainers.adapters.methods.bitfit import BitFit
from trainers.adapters.methods.dylora import DyLoRA
from trainers.adapters.methods.full import Full
from trainers.adapters.methods.ia3 import IA3
from trainers.adapters.methods.krona import KronA
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.oft import OFT
from trainers.adapters.methods.selora import SeLoRA
from trainers.adapters.methods.sora import SoRA
from trainers.adapters.methods.ssf import SSF
from trainers.adapters.methods.tied import TiedLoRA
from trainers.adapters.methods.tlora import TLoRA
from trainers.adapters.methods.vera import VeRA
from trainers.adapters.network import attach
from trainers.adapters.targets import Targets
from trainers.config.presets import find_preset
from trainers.models.full_size import build_on_meta

pytestmark = pytest.mark.slow

LORA4, LOHA4 = LoRA(rank=4, alpha=2.0), LoHA(rank=4, alpha=2.0)
LOKR_SMALL, LOKR_LARGE = LoKr(rank=8, factor=-1, full_matrix=False), LoKr(factor=8)

KRONA, VERA256, VERA1024, TIED8, TIED32 = KronA(), VeRA(), VeRA(rank=1024), TiedLoRA(rank=8), TiedLoRA(rank=32)

# preset: number of layers, then parameters of each method
TABLE = {
    "attn": (128, {LORA4: 797_184, LOHA4: 1_594_368, LOKR_SMALL: 138_592, LOKR_LARGE: 1_469_312,
                   VERA256: 132_608, VERA1024: 230_912, TIED8: 173_056, TIED32: 392_704}),
    "attn-mlp": (192, {LORA4: 1_695_744, LOHA4: 3_391_488, LOKR_SMALL: 245_152, LOKR_LARGE: 4_183_808,
                       VERA256: 286_272, KRONA: 386_176}),
    "full": (278, {LORA4: 4_203_264, LOHA4: 8_406_528, LOKR_SMALL: 481_136, LOKR_LARGE: 13_408_512,
                   VERA256: 386_688}),
    "cross-kv": (32, {LORA4: 198_144, LOHA4: 396_288, LOKR_SMALL: 34_048, LOKR_LARGE: 301_568,
                      VERA256: 33_152}),
}  # fmt: skip
COUNTS = ((40, 320, 6), (40, 640, 7), (48, 1280, 8))
"""Layers of attention, the channels they give, and the turns of a butterfly of blocks of 10 over these."""
ROWS = [(preset, method) for preset, (_, counts) in TABLE.items() for method in counts]


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    return build_on_meta("sd1", "unet")


@pytest.mark.parametrize(
    ("preset", "method"),
    seldom_but([row for row in ROWS if row[0] == "attn" or row[1] in (LORA4, KRONA)], ROWS),
    ids=lambda v: v if isinstance(v, str) else f"{v.name}-{v.file_form().rank}",
)
def test_layers_and_parameters_of_a_preset(unet, preset, method):
    network = attach_to(unet, method, targets=Targets(unet=preset))
    network.remove()
    layers, counts = TABLE[preset]
    assert len(network.sites) == layers
    assert sum(p.numel() for p in network.parameters()) == counts[method]


@pytest.mark.parametrize(
    ("preset", "counts"),
    seldom_but(
        [("full", (8_406_528, 16_813_056))],
        [
            ("attn", (1_594_368, 3_188_736)),
            ("attn-mlp", (3_391_488, 6_782_976)),
            ("full", (8_406_528, 16_813_056)),
            ("cross-kv", (396_288, 792_576)),
        ],
    ),
)
def test_parameters_of_higher_ranks(unet, preset, counts):
    for rank, count in zip((8, 16), counts, strict=True):
        network = attach_to(unet, LoRA(rank=rank), targets=Targets(unet=preset))
        network.remove()
        assert sum(p.numel() for p in network.parameters()) == count


WEIGHTS = {"attn": 6 * 12_390_400 + 2 * 9_584_640}
WEIGHTS["attn-mlp"] = WEIGHTS["attn"] + 99_123_200 + 49_561_600 + 24_780_800
WEIGHTS["full"] = WEIGHTS["attn-mlp"] + 288_460_800 + 199_987_200 + 23_244_800 + 25_804_800 + 52_531_200
"""Of the layers of a preset: attention, feed-forward and projections, then the residual blocks and the samplers."""


@pytest.mark.parametrize("preset", WEIGHTS)
def test_all_weights_train_in_full_fine_tuning(unet, preset):
    with torch.device("meta"):
        network = attach_to(unet, Full(), targets=Targets(unet=preset))
    network.remove()
    assert sum(p.numel() for p in network.parameters()) == WEIGHTS[preset]


SAID: dict[str, tuple[LayerMethod, LayerMethod, float]] = {
    "a twentieth of LoRA's parameters": (VERA256, LoRA(), 0.05),
    "full rank with the parameters of a rank-1 LoRA": (KRONA, LoRA(rank=1), 1.0),
    "Rank r² for the price of 2r": (LOHA4, LORA4, 2.0),
}
"""What a summary says, of which method, beside which other one, and the share that this is."""


def trained_numbers(unet: nn.Module, method: LayerMethod, preset: str = "attn-mlp") -> int:
    """Of a method on the layers of a preset."""
    network = attach_to(unet, method, targets=Targets(unet=preset))
    network.remove()
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("said", SAID)
def test_a_summary_s_number_is_that_of_sd_1_5(unet, said):
    method, other, share = SAID[said]
    assert said in method.about.summary
    assert trained_numbers(unet, method) / trained_numbers(unet, other) == pytest.approx(share, rel=0.2)


def test_the_page_of_methods_and_presets_say_the_same_numbers(unet):
    page = " ".join((Path(__file__).parents[3] / "docs" / "methods.md").read_text(encoding="utf-8").split())
    assert (
        "**Tied-LoRA** has on SD 1.5 an eighth of the parameters of a LoRA of the same rank (`attn-mlp`), or a "
        "sixteenth (`attn`)."
    ) in page
    for preset, share in (("attn-mlp", 1 / 8), ("attn", 1 / 16)):
        numbers, wanted = (trained_numbers(unet, method, preset) for method in (TIED32, LoRA(rank=32)))
        assert numbers / wanted == pytest.approx(share, rel=0.05)
    assert "a twentieth of LoRA's parameters" in find_preset("vera").summary
    assert "half of the parameters" in find_preset("lora-fa").summary
    half = trained_numbers(unet, LoRA(freeze_a=True)) / trained_numbers(unet, LoRA())
    assert half == pytest.approx(0.5, rel=0.2)


def test_t_lora_adds_one_number_for_each_component(unet):
    network = attach_to(unet, TLoRA(rank=8, orthogonal=False), targets=Targets(unet="attn"))
    network.remove()
    assert sum(p.numel() for p in network.parameters()) == 1_594_368
    method, draw = TLoRA(rank=8), torch.Generator().manual_seed(0)  # whose start cannot be drawn without memory
    shared = method.share(network.sites, draw)
    trained = [v for site in network.sites for v in method.init(site, shared, draw).values()]
    assert sum(v.numel() for v in trained if isinstance(v, nn.Parameter)) == 1_594_368 + 128 * 8


@pytest.mark.parametrize(
    ("method", "targets", "count"),
    [
        (LoRA(rank=8), "attn-mlp", 1_327_104),
        (LoRA(rank=8), "attn", 12 * 4 * 8 * 2 * 768),
        (BitFit(), ("*",), 102_144 - 12 * 768),  # without the keys' shifts
        (BitFit(), "attn-mlp", 102_144 - 12 * 768 - 768),  # and without the last norm
    ],
    ids=lambda v: getattr(v, "name", v if isinstance(v, str) else ""),
)
def test_parameters_of_the_text_encoder(method, targets, count):
    encoder = build_on_meta("sd1", "text_encoder")
    network = attach({"text_encoder": encoder}, method, Targets(unet="none", text_encoder=targets), seed=0)
    assert sum(p.numel() for p in network.parameters()) == count


def test_dora_adds_one_number_for_each_output_row(unet):
    network = attach_to(unet, LoRA(rank=4, dora=True), targets=Targets(unet="attn"))
    network.remove()
    rows = sum(site.op.out for site in network.sites)
    assert rows == 40 * 320 + 40 * 640 + 48 * 1280
    assert sum(p.numel() for p in network.parameters()) == 797_184 + rows


def test_tied_matrices_by_role_are_24_groups(unet):
    network = attach_to(unet, TiedLoRA(rank=8, group_by="role"), targets=Targets(unet="attn"))
    network.remove()
    (shared,) = network.shared
    assert len({name.partition("-")[2] for name, _ in shared.named_parameters()}) == 24
    assert sum(p.numel() for p in shared.parameters()) == 35_968 * 8
    assert sum(p.numel() for p in network.parameters()) == 35_968 * 8 + 128 * 8 + 99_840


@pytest.mark.parametrize(
    ("configuration", "count"),
    [
        ("lora", 1_594_368),  # that of a LoRA of rank 8
        ("vera", 128 * 8 + 99_840),
        ("tl5", 173_056 - 128 * 8 - 99_840),
        ("tl6", 173_056),
    ],
)
def test_numbers_of_the_named_ways_to_tie(unet, configuration, count):
    network = attach_to(unet, TiedLoRA(rank=8, configuration=configuration), targets=Targets(unet="attn"))
    network.remove()
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize(
    ("method", "more"),
    [(DyLoRA(rank=4), 0), (SeLoRA(rank=4), 0), (AdaLoRA(rank=4, target_rank=2), 4), (SoRA(rank=4), 4)],
    ids=lambda v: getattr(v, "name", ""),
)
def test_lora_of_another_way_has_its_parameters_and_those_of_the_gate(unet, method, more):
    network = attach_to(unet, method, targets=Targets(unet="attn"))
    network.remove()
    assert sum(p.numel() for p in network.parameters()) == 797_184 + 128 * more


@pytest.mark.parametrize(
    ("method", "targets", "count"),
    [
        (BitFit(), ("*",), 343_684),
        (
            SSF(missing_biases=True),
            "full",
            831_360 - 2 * 320 - 2 * 12_480,
        ),  # without conv_norm_out and the keys' shifts
        (IA3(), "attn-mlp", 4 * 12_480 + 4 * 12_480),
        (
            OFT(block_size=32),
            "attn",
            sum(n * w * (b - 1) // 2 for (n, w, _), b in zip(COUNTS, (16, 20, 32), strict=True)),
        ),
        (OFT(block_size=2, butterfly=True), "attn", sum(n * w * 9 // 2 * m for n, w, m in COUNTS)),
    ],
    ids=lambda v: getattr(v, "name", ""),
)
def test_numbers_on_the_outputs_of_layers_and_norms(unet, method, targets, count):
    """The widths of the 16 transformer blocks add up to 12,480; a block's hidden activations are four times as wide."""
    network = attach_to(unet, method, targets=Targets(unet=targets))
    network.remove()
    assert sum(p.numel() for p in network.parameters()) == count


def test_every_layer_is_all_that_can_be_named(unet):
    network = attach_to(unet, LoRA(rank=1), targets=Targets(unet=("*",)))
    network.remove()
    assert len(network.sites) == 282
