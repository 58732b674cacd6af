"""Pictures that nothing was trained on: which they are, and the figures of what is decoded."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.tools.packages import make_table, pack_icons
from tests.tools.starter.small import HELD_OUT, TAUGHT, pack_few
from tools.starter import unseen
from tools.starter.drawings import sets
from tools.starter.drawings.sets import read_concepts
from tools.starter.networks.autoencoder import psnr, turn
from tools.starter.unseen import (
    HALF_TURN,
    LEFT_OUT,
    OPENMOJI,
    PHOTOGRAPHS,
    draw_by_turns,
    draw_even,
    draw_icon,
    gradient_energy,
    measure_unseen,
    read_unseen,
    sharpness,
)
from trainers.randomness import generator


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=generator("noise", *shape)) * 2 - 1


def test_nothing_that_is_measured_was_trained_on(tmp_path, monkeypatch):
    packed = pack_few(tmp_path)
    archive = tmp_path / "packages" / f"iconify-json-openmoji-{OPENMOJI.version}.tgz"
    table = make_table(TAUGHT[:3], "hsl(20,80%,50%)")
    monkeypatch.setattr(unseen, "OPENMOJI", replace(OPENMOJI, integrity=pack_icons(archive, table)))
    monkeypatch.setattr(sets, "read_icon_sets", lambda: packed)
    found = read_unseen(tmp_path)
    held_out = [icon_set.name for icon_set in packed if not icon_set.trained]
    assert list(found) == [*held_out, "openmoji", LEFT_OUT, PHOTOGRAPHS]
    assert {name: len(images) for name, images in found.items()} == {
        **dict.fromkeys(held_out, len(TAUGHT)),
        "openmoji": 3,
        LEFT_OUT: len(HELD_OUT),
        PHOTOGRAPHS: 12,
    }
    assert all(images.shape[1:] == (3, 128, 128) and images.abs().max() <= 1 for images in found.values())
    assert not set(HELD_OUT) & set(read_concepts().taught)


def test_evenly_chosen_icons_are_those_that_the_set_has():
    table = make_table([f"thing {index}" for index in range(7)], "red")
    concepts = [f"thing {index}" for index in range(-2, 9)]
    drawn = draw_even(table, concepts, count=4)
    expected = [draw_icon(table, f"thing {index}") for index in (0, 2, 4, 6)]
    assert [image.tobytes() for image in drawn] == [image.tobytes() for image in expected]
    assert len(draw_even(table, concepts, count=48)) == 7 and draw_even(table, ["nothing"]) == []


def test_each_left_out_concept_is_drawn_once_by_the_sets_in_turn():
    names = ["ant", "bee", "cow", "doe"]
    tables = [make_table(names, "red"), make_table(["ant", "cow"], "green"), make_table([*names, "elk"], "blue")]
    drawn = draw_by_turns(tables, [*names, "elk", "yak"])
    # The second set has no bee, so the third draws it; elk is only in the third; nobody has a yak.
    expected = [(0, "ant"), (2, "bee"), (2, "cow"), (0, "doe"), (2, "elk")]
    assert [image.tobytes() for image in drawn] == [draw_icon(tables[i], name).tobytes() for i, name in expected]


def test_gradient_energy_adds_up_squared_differences():
    image = torch.zeros(1, 3, 4, 4)
    image[:, 0, :, 2:] = 0.5  # an edge of four pixels in one channel
    assert gradient_energy(image).tolist() == [pytest.approx(4 * 0.25)]


def test_a_smeared_picture_is_less_sharp_and_one_out_of_range_no_sharper():
    true = torch.where(noise(3, 3, 32, 32) > 0, 1.0, -1.0)
    assert sharpness(true, true) == pytest.approx(1)
    assert sharpness(F.avg_pool2d(true, 3, 1, 1), true) < 0.5
    assert sharpness(5 * true, true) == pytest.approx(1)


class Pooling(nn.Module):
    """Encodes by averaging squares of `side` pixels and decodes by repeating them; `lopsided` turns nothing back."""

    def __init__(self, side: int, lopsided: bool = False) -> None:
        super().__init__()
        self.side, self.lopsided = side, lopsided

    def encode(self, images: Tensor) -> SimpleNamespace:
        latents = F.avg_pool2d(images, self.side)
        if self.lopsided:
            latents = latents + torch.linspace(-0.5, 0.5, latents.shape[-1])
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))

    def decode(self, latents: Tensor) -> SimpleNamespace:
        if self.lopsided:
            latents = latents - torch.linspace(-0.5, 0.5, latents.shape[-1])
        return SimpleNamespace(sample=F.interpolate(latents, scale_factor=self.side))


def test_the_figures_are_those_of_each_set_and_of_turned_latents():
    images = {"noto-v1": noise(3, 3, 16, 16), "photographs": F.interpolate(noise(2, 3, 4, 4), scale_factor=4)}
    figures = measure_unseen(Pooling(4), images)
    assert list(figures) == [
        *("psnr noto-v1", "sharpness noto-v1", "psnr photographs", "sharpness photographs", "psnr turned noto-v1"),
    ]
    pooled = F.interpolate(F.avg_pool2d(images["noto-v1"], 4), scale_factor=4)
    assert figures["psnr noto-v1"] == pytest.approx(float(psnr(pooled, images["noto-v1"]).mean()), abs=0.01)
    assert figures["psnr photographs"] > 90 and figures["sharpness photographs"] == 1
    assert figures["psnr turned noto-v1"] == figures["psnr noto-v1"]
    lopsided = measure_unseen(Pooling(4, lopsided=True), images)
    assert lopsided["psnr noto-v1"] == figures["psnr noto-v1"]
    assert lopsided["psnr turned noto-v1"] < figures["psnr noto-v1"] - 1
    assert torch.equal(turn(images["noto-v1"], HALF_TURN), torch.rot90(images["noto-v1"], 2, (2, 3)))
