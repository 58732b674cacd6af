"""The discriminator between decoded and true patches, which sharpens the decoder's edges."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

WIDTHS = (32, 64, 128)
SHARE = 0.3
"""Its gradient on a picture relative to that of the other losses."""


class PatchDiscriminator(nn.Module):
    """One score for each patch of 34 px, four px apart (Isola et al. 2017), of spectrally normalised convolutions.

    Pictures `(B, 3, H, W)` from −1 to 1 give `(B, 1, H / 4 − 2, W / 4 − 2)`; high scores mean true, low ones decoded.
    """

    def __init__(self) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv2d(3, first, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(first, second, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(second, third, 4, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(third, 1, 4, padding=1)),
        )

    def forward(self, images: Tensor) -> Tensor:
        """The scores of all patches."""
        return self.layers(images)


def discriminator_loss(discriminator: nn.Module, drawn: Tensor, true: Tensor) -> Tensor:
    """The hinge loss (Lim & Ye 2017), with gradients to the discriminator alone."""
    scores = [discriminator(images.detach()).float() for images in (true, drawn)]
    return (F.relu(1 - scores[0]).mean() + F.relu(1 + scores[1]).mean()) / 2


def adversarial_loss(discriminator: nn.Module, drawn: Tensor) -> Tensor:
    """The negative mean score of decoded pictures, with gradients to them alone."""
    frozen: Mapping[str, Tensor] = {name: value.detach() for name, value in discriminator.named_parameters()}
    return -functional_call(discriminator, dict(frozen), (drawn,)).float().mean()


def balance(loss: Tensor, adversarial: Tensor, drawn: Tensor, share: float) -> Tensor:
    """The weight at which the adversarial gradient on `drawn` is `share` of that of the other losses (VQGAN, 2021)."""
    ours, theirs = (torch.autograd.grad(value, drawn, retain_graph=True)[0].norm() for value in (loss, adversarial))
    return (share * ours / (theirs + 1e-8)).clamp(max=1e4).detach()
