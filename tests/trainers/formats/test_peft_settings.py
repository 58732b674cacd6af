"""PEFT's settings: patterns of layers, and settings in a header."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from trainers.formats.peft_settings import fits
from trainers.formats.read import read_style

IN, OUT = 8, 6


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("to_q", "a.attn1.to_q", True),
        ("to_q", "a.attn1.to_qq", False),
        ("attn1.to_q", "a.attn1.to_q", True),
        (r"attn1\.to_q", "a.attn1.to_q", True),
        ("^a.attn1.to_q$", "a.attn1.to_q", True),
        ("^attn1.to_q", "a.attn1.to_q", False),
        (".*attn1.*", "a.attn1.to_q", True),
        ("down_blocks.*.to_q", "down_blocks.0.a.to_q", True),
    ],
)
def test_patterns(pattern, path, found):
    assert fits(pattern, path) is found


@pytest.mark.parametrize("pattern", ["(a+)+$", "[ab]", "a|b", "a{2}", "a+", "a?"])
def test_patterns_that_may_take_for_ever_are_not_tried(pattern):
    with pytest.raises(ValueError, match="unsupported"):
        fits(pattern, "a")


def test_settings_in_the_header_need_not_name_a_part(tmp_path):
    """As `save_lora_adapter` of diffusers writes them, with keys that do not name one either."""
    path = "mid_block.attentions.0.proj_in"
    tensors = {f"{path}.lora_A.weight": torch.ones(4, IN), f"{path}.lora_B.weight": torch.ones(OUT, 4)}
    settings = {"lora_alpha": 2, "r": 4, "alpha_pattern": {"proj_in": 1}}
    save_file(tensors, tmp_path / "a.safetensors", {"lora_adapter_metadata": json.dumps(settings)})
    change = read_style(tmp_path / "a.safetensors").update(path).dense(torch.empty(0))
    torch.testing.assert_close(change, torch.full((OUT, IN), 4 * 0.25))
