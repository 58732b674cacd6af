"""The discriminator: what it sees, whom each loss moves, and how strongly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.tools.starter.small import noise
from tools.starter.networks.discriminator import PatchDiscriminator, adversarial_loss, balance, discriminator_loss


@pytest.fixture
def discriminator() -> PatchDiscriminator:
    torch.manual_seed(0)
    return PatchDiscriminator()


def test_a_score_sees_a_patch_of_34_pixels(discriminator):
    discriminator.eval()
    images = noise(1, 3, 64, 64).requires_grad_()
    scores = discriminator(images)
    assert scores.shape == (1, 1, 14, 14)
    scores[0, 0, 7, 7].backward()
    seen = images.grad.abs().sum((0, 1)).nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [34, 34]


class Brightness(nn.Module):
    """Scores each pixel by its value times a weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, images: Tensor) -> Tensor:
        return self.weight * images


def test_the_losses_are_those_of_the_hinge():
    true, drawn = torch.tensor([0.5, 2.0]), torch.tensor([-0.25, -3.0])
    # max(0, 1 − s(true)) and max(0, 1 + s(drawn)), half each
    expected = ((0.5 + 0) / 2 + (0.75 + 0) / 2) / 2
    assert discriminator_loss(Brightness(1.0), drawn, true).item() == pytest.approx(expected)
    assert adversarial_loss(Brightness(2.0), drawn).item() == pytest.approx(3.25)


def test_each_loss_moves_one_side_alone(discriminator):
    drawn, true = noise(2, 3, 32, 32).requires_grad_(), noise(2, 3, 32, 32, seed=1)
    discriminator_loss(discriminator, drawn, true).backward()
    assert drawn.grad is None
    # The last bias moves both scores alike, so within the hinge's reach nothing pulls at it.
    still = [name for name, p in discriminator.named_parameters() if not p.grad.any()]
    assert still in ([], ["layers.6.bias"])
    discriminator.zero_grad(set_to_none=True)
    adversarial_loss(discriminator, drawn).backward()
    assert drawn.grad.any() and all(p.grad is None for p in discriminator.parameters())


def test_the_adversarial_loss_is_weighed_against_the_others():
    drawn = noise(2, 3, 8, 8).requires_grad_()
    loss, adversarial = drawn.square().mean(), 50 * drawn.sin().mean()
    weight = balance(loss, adversarial, drawn, share=0.2)
    ours, theirs = (torch.autograd.grad(value, drawn, retain_graph=True)[0] for value in (loss, adversarial))
    assert float((weight * theirs).norm() / ours.norm()) == pytest.approx(0.2, rel=1e-3)
    assert not weight.requires_grad
