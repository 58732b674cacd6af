"""The networks of a style's base, of the variant whose sizes it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.pairs import seldom_but
from trainers.errors import VelaturaError
from trainers.formats.origin import origin_of
from trainers.formats.read import Style
from trainers.formats.write.outline import build_outline

pytestmark = pytest.mark.slow


def style(tensors: dict[str, Tensor]) -> Style:
    return Style(Path("dusk.safetensors"), tensors, {"velatura.family": "sd3"})


def lora(name: str, rows: int) -> dict[str, Tensor]:
    return {f"{name}.lora_down.weight": torch.ones(2, 8), f"{name}.lora_up.weight": torch.ones(rows, 2)}


QUERY, JOINT = "transformer.transformer_blocks.0.attn.to_q", "lora_unet_joint_blocks_0_x_block_attn_qkv"
LOKR = "lora_unet_joint_blocks_0_x_block_attn_proj"


@pytest.mark.parametrize(
    "tensors",
    [
        pytest.param(lora(QUERY, 2432), marks=pytest.mark.thorough),
        lora(JOINT, 3 * 2432),
        {f"{LOKR}.lokr_w1": torch.ones(4, 2), f"{LOKR}.lokr_w2_a": torch.ones(608, 2)},
        {f"{LOKR}.diff_b": torch.ones(2432)},
    ],
)
def test_sizes_say_which_variant_it_is(tensors: dict[str, Tensor]) -> None:
    """Other programs do not write whether a style is for SD 3.5 medium or large."""
    found: Any = build_outline(origin_of(style(tensors)), [style(tensors)])["transformer"]
    assert found.config.num_layers == 38


def test_styles_for_two_sizes_are_not_for_one_base() -> None:
    both = [style(lora(QUERY, 2432)), style(lora(QUERY, 1536))]
    said = "for Stable Diffusion 3.5 large and dusk.* for Stable Diffusion 3.5 medium; only styles for the same kind"
    with pytest.raises(VelaturaError, match=said):
        build_outline(origin_of(both[0]), both)


@pytest.mark.parametrize(
    ("name", "rows", "expected"), seldom_but([(JOINT, 96, 4608)], [(QUERY, 32, 1536), (JOINT, 96, 4608)])
)
def test_another_size_is_said(name: str, rows: int, expected: int) -> None:
    sentence = (
        rf"of another size than Stable.*: its layer {name} has {rows} outputs instead of {expected}; use it on its"
    )
    with pytest.raises(VelaturaError, match=sentence):
        build_outline(origin_of(style(lora(name, rows))), [style(lora(name, rows))])
