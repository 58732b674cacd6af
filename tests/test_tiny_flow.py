"""The tiny flow-matching bases that other tests train on."""

from __future__ import annotations

import pytest
import torch

from tests.tiny_flow import FLOWS, tiny_flow


@pytest.mark.parametrize("family", FLOWS)
def test_a_tiny_base_draws_and_every_weight_matters(family: str) -> None:
    base, again, other = tiny_flow(family), tiny_flow(family), tiny_flow(family, seed=1)
    length = {} if family == "sd3" else {"max_sequence_length": 32}
    start = {"generator": torch.Generator().manual_seed(0), "height": 32, "width": 32}
    picture = base(prompt="a cat", num_inference_steps=1, output_type="pt", **start, **length).images
    assert picture.shape == (1, 3, 32, 32) and picture.std() > 0.05
    weights, same = base.transformer.state_dict(), again.transformer.state_dict()
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert all(not torch.equal(weights[name], tensor) for name, tensor in other.transformer.named_parameters())
    assert all(parameter.std() > 0 for parameter in base.transformer.parameters() if parameter.numel() > 1)
