"""A layer's operation, without its weight."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.trainers.adapters.layers import LAYERS, input_for
from trainers.adapters.op import Op


@pytest.mark.parametrize("kind", LAYERS)
def test_it_computes_and_counts_as_its_layer_does(kind):
    layer = LAYERS[kind]().double()
    op = Op.of(layer)
    x = input_for(kind) if kind == "linear" else input_for(kind)[..., :6, :6]  # even sides: no half position
    y = layer(x)
    bias = 0 if layer.bias is None else op.over_channels(layer.bias)
    torch.testing.assert_close(op(x, layer.weight) + bias, y)
    assert op.shape == tuple(layer.weight.shape)
    assert op.tokens(x) == y.numel() // op.out
    assert op.fan_in == layer.weight[0].numel()


@pytest.mark.parametrize("n", [1, 3])
def test_pointwise_is_a_1x1_convolution(n):
    hidden, weight = torch.randn(n, 4, 5, 6, dtype=torch.float64), torch.randn(7, 4, dtype=torch.float64)
    op = Op.of(LAYERS["strided"]())
    torch.testing.assert_close(op.pointwise(hidden, weight), F.conv2d(hidden, weight[:, :, None, None]))
    channels_last = hidden.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(op.pointwise(channels_last, weight), op.pointwise(hidden, weight))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 8, 3, groups=2),
        nn.Conv2d(4, 8, 3, padding="same"),
        nn.Conv2d(4, 8, 3, padding=1, padding_mode="circular"),
        nn.GroupNorm(2, 4, affine=False),
        nn.LayerNorm((2, 3)),
        nn.BatchNorm2d(4),
    ],
)
def test_layers_that_it_cannot_describe_are_refused(layer):
    with pytest.raises(TypeError, match="is not a linear layer, a norm or an ungrouped"):
        Op.of(layer)
