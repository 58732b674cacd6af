"""The figures: ranks and shares by hand, the true drawings they are taken against."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from tests.tools.starter.small import HELD_OUT, TAUGHT
from tools.starter.drawings.render import open_drawings
from tools.starter.drawings.sets import read_icon_sets, trained_sets
from tools.starter.measure import (
    Truths,
    as_tensor,
    match,
    pick_concepts,
    rank_of_truth,
    read_photographs,
    read_truth,
    shares,
)
from tools.starter.networks.autoencoder import on_white
from tools.starter.networks.perception import Perception, make_network

SETS = read_icon_sets()


def test_the_rank_counts_the_true_ones_that_are_nearer_than_the_own():
    truth = torch.eye(4)
    found = torch.tensor([[0.9, 0.3, 0.2, 0.1], [0.9, 0.3, 0.2, 0.1], [0.5, 0.5, 0.5, 0.5]])
    assert rank_of_truth(found, truth, [0, 3, 2]).tolist() == [0, 3, 0]
    assert rank_of_truth(found, truth.flip(0), [0, 3, 2]).tolist() == [3, 0, 0]
    assert shares(torch.tensor([0, 0, 1, 4, 5, 9, 100, 0])) == {"top-1": 0.375, "top-5": 0.625}


def test_styles_are_followed_where_the_asked_set_is_nearest():
    known = torch.eye(6).unflatten(0, (3, 2))  # three sets of two concepts
    own = torch.stack([known[2, 0], known[1, 1]])
    assert match(own, known, [2, 1]) == {"top-1": 1, "top-5": 1, "style followed": 1}
    swapped = torch.stack([known[0, 0], known[2, 1]])
    assert match(swapped, known, [2, 1])["style followed"] == 0
    other = torch.stack([known[2, 1], known[1, 1]])
    assert match(other, known, [2, 1])["top-1"] == 0.5


@pytest.mark.slow
@pytest.mark.thorough
def test_true_drawings_are_found_in_their_styles_and_those_of_the_next_set_are_not(drawings):
    torch.manual_seed(0)
    truth = Truths(Perception(make_network(), torch.device("cpu")), drawings)
    names = [icon_set.style for icon_set in trained_sets()]
    assert truth.write_prompts() == [
        f"{concept}, {names[index % 5]}" for index, concept in enumerate(pick_concepts(drawings))
    ]
    assert truth.write_prompts("{1} {0}".format)[1].startswith(names[1])
    own, others = (
        torch.stack([truth.sets[(style + step) % 5].images[place] for place, style in enumerate(truth.asked)])
        for step in (0, 1)
    )
    assert truth.match(own) == {"top-1": 1, "top-5": 1, "style followed": 1, "style nearest": 1}
    assert truth.match(others)["style nearest"] == truth.match(others)["style followed"] == 0


def test_the_bundled_photographs_are_read_at_the_starter_s_size():
    found = read_photographs()
    assert found.shape == (12, 3, 128, 128) and found.dtype == torch.float32
    assert found.min() >= -1 and found.max() <= 1 and found.flatten(1).std(1).min() > 0.1
    assert len(found.flatten(1).mean(1).unique()) == 12


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
