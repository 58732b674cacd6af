"""The figures: ranks and shares by hand, the true drawings they are taken against."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from tests.tools.starter.small import HELD_OUT, TAUGHT
from tools.starter.drawings.render import open_drawings
from tools.starter.drawings.sets import read_icon_sets
from tools.starter.measure import as_tensor, pick_concepts, rank_of_truth, read_truth, shares
from tools.starter.networks.autoencoder import on_white

SETS = read_icon_sets()


def test_the_rank_counts_the_true_ones_that_are_nearer_than_the_own():
    truth = torch.eye(4)
    found = torch.tensor([[0.9, 0.3, 0.2, 0.1], [0.9, 0.3, 0.2, 0.1], [0.5, 0.5, 0.5, 0.5]])
    assert rank_of_truth(found, truth, [0, 3, 2]).tolist() == [0, 3, 0]
    assert rank_of_truth(found, truth.flip(0), [0, 3, 2]).tolist() == [3, 0, 0]


def test_shares_are_of_first_ranks_and_of_the_first_five():
    assert shares(torch.tensor([0, 0, 1, 4, 5, 9, 100, 0])) == {"top-1": 0.375, "top-5": 0.625}
    assert shares(torch.tensor([0, 0, 1])) == {"top-1": 0.667, "top-5": 1.0}


def test_pictures_become_numbers_from_minus_one_to_one():
    red, grey = Image.new("RGB", (3, 2), (255, 0, 51)), Image.new("L", (3, 2), 255)
    found = as_tensor([red, grey])
    assert found.shape == (2, 3, 2, 3) and found.dtype == torch.float32
    assert found[0, :, 1, 2].tolist() == pytest.approx([1, -1, -0.6]) and (found[1] == 1).all()


@pytest.mark.parametrize("icon_set", [SETS[0], SETS[-1]], ids=["trained", "held out"])
def test_the_truth_is_what_a_set_has_on_white(icon_set, drawings):
    truth = read_truth(drawings, icon_set, [TAUGHT[5], HELD_OUT[0], "unheard of", TAUGHT[2]])
    expected = (TAUGHT[5], TAUGHT[2]) if icon_set.trained else (TAUGHT[5], HELD_OUT[0], TAUGHT[2])
    assert truth.concepts == expected and truth.icon_set is icon_set
    drawn = open_drawings(drawings, icon_set.name)
    places = [drawn.names.index(concept.replace(" ", "-")) for concept in expected]
    assert torch.equal(truth.images, on_white(drawn.pixels[places]))


def test_measured_concepts_are_taught_and_in_every_set_by_a_fixed_seed(drawings, tmp_path):
    found = pick_concepts(drawings)
    assert sorted(found) == sorted(TAUGHT) and found != TAUGHT
    assert pick_concepts(drawings, 5) == found[:5] and pick_concepts(drawings) == found
    for path in drawings.glob("*.*"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "noto-v1.json").unlink()
    kept = open_drawings(drawings, "noto-v1").names
    gone = [name if name != TAUGHT[1].replace(" ", "-") else "gone" for name in kept]
    (tmp_path / "noto-v1.json").write_text(str(gone).replace("'", '"'), encoding="utf-8")
    assert set(pick_concepts(tmp_path)) == set(TAUGHT) - {TAUGHT[1]}
