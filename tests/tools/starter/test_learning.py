"""How much of a style is left to learn: distances before and after, and their quotient."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from tests.tools.starter.small import TAUGHT
from tools.starter import learning
from tools.starter.drawings.sets import read_icon_sets, trained_sets
from tools.starter.learning import CONCEPTS, METHODS, compare, measure_longer, measure_taught, settings_of
from tools.starter.measure import read_truth
from tools.starter.networks.perception import Perception, make_network
from trainers.config.build import build_config
from trainers.config.presets import STARTER, find_preset
from trainers.data.dataset import CENTRE, Draw, load_dataset, pixels


@pytest.fixture(scope="module")
def looking() -> Perception:
    torch.manual_seed(0)
    return Perception(make_network(), torch.device("cpu"))


@pytest.fixture(scope="module")
def images(drawings) -> dict[str, torch.Tensor]:
    return {icon_set.name: read_truth(drawings, icon_set, TAUGHT[:4]).images for icon_set in read_icon_sets()}


@pytest.mark.slow
@pytest.mark.thorough
def test_nothing_is_left_of_a_style_that_was_learned_and_all_of_one_that_was_not(looking, images):
    before, truth = images["noto"], images["noto-v1"]
    learned, idle = (compare(looking, before, after, truth, truth) for after in (truth, before))
    assert learned["style left"] == learned["content left"] == learned["style after"] == learned["content after"] == 0
    assert idle["style left"] == idle["style left to learn"] == idle["content left"] == 1
    assert learned["style left to learn"] == 0
    assert idle["style before"] == idle["style after"] == learned["style before"] > 0


@pytest.mark.slow
@pytest.mark.thorough
def test_the_figures_are_the_measures_of_the_pictures(looking, images):
    before, after, truth, decoded = (images[name] for name in ("noto", "emojione", "noto-v1", "twemoji"))
    found = compare(looking, before, after, truth, decoded)
    style = [looking.style_distance(part, truth) for part in (before, after, decoded)]
    content = [looking.content_distance(part, truth).mean().item() for part in (before, after)]
    assert found == {
        "style before": pytest.approx(style[0], abs=1e-4),
        "style after": pytest.approx(style[1], abs=1e-4),
        "style of the truth, decoded": pytest.approx(style[2], abs=1e-4),
        "style left to learn": pytest.approx((style[1] - style[2]) / (style[0] - style[2]), abs=1e-4),
        "style left": pytest.approx(style[1] / style[0], abs=1e-4),
        "content before": pytest.approx(content[0], abs=1e-4),
        "content after": pytest.approx(content[1], abs=1e-4),
        "content left": pytest.approx(content[1] / content[0], abs=1e-4),
    }
    assert found["style left"] != found["content left"] and CONCEPTS >= 12


@pytest.mark.parametrize("method", METHODS)
def test_each_method_takes_the_place_of_the_presets_own_at_a_rate_in_proportion(method):
    balanced, own, lora = (find_preset(name).settings_for(STARTER) for name in ("balanced", method, "lora"))
    config, found = build_config(settings_of(method), {"name": "row"}), settings_of(method)
    assert (config.method.name, config.train.steps, config.train.batch_size) == (method, balanced["train"]["steps"], 4)
    assert {key: value for key, value in found.items() if key not in ("method", "train")} == {
        key: value for key, value in balanced.items() if key not in ("method", "train")
    }
    assert found["method"] == own["method"] and config.targets.unet == "full"
    rate, *others = (each["train"]["learning_rate"] for each in (balanced, own, lora))
    assert config.train.learning_rate == pytest.approx(rate * others[0] / others[1])


@pytest.mark.slow
@pytest.mark.thorough
def test_a_taught_style_is_as_far_as_what_is_drawn_in_it_from_its_truth(looking, images, drawings, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(learning, "pick_concepts", lambda _: TAUGHT[:4])
    monkeypatch.setattr(learning, "draw_all", lambda _, prompts: asked.extend(prompts) or images["noto"])
    monkeypatch.setattr(learning, "reconstruct", lambda _, truth: truth)
    found = measure_taught(SimpleNamespace(vae=None), looking, drawings)
    distances = {one.style: looking.style_distance(images["noto"], images[one.name]) for one in trained_sets()}
    assert {style: one["drawn"] for style, one in found.items()} == pytest.approx(distances, abs=1e-4)
    assert all(one["decoded"] == 0 for one in found.values()) and max(distances.values()) > 0.05
    assert asked == [f"{concept}, {one.style}" for one in trained_sets() for concept in TAUGHT[:4]]


def test_the_originals_are_learned_too_and_what_is_known_is_not_learned_again(drawings, looking, monkeypatch, tmp_path):
    usual = find_preset("balanced").settings_for(STARTER)["train"]["steps"]
    trained = []

    def draw(base, images, concepts, method, seed, steps):
        dataset = load_dataset(images, build_config({}, {"name": "x"}).data, 0, 128, 8)
        seen = {item.caption: pixels(item, Draw(0, False, CENTRE, "")) for item in dataset.items}
        assert (base, method, seed) == (tmp_path, "lora", 0)
        trained.append((images.name, steps))
        if not set(seen) & set(concepts):  # the images of the set, after which what is drawn is as before
            return (torch.zeros(len(concepts), 3, 128, 128),) * 2
        assert set(seen) == set(concepts)
        truth = torch.stack([seen[concept] for concept in concepts])
        return torch.zeros_like(truth), truth

    monkeypatch.setattr(learning, "draw_before_and_after", draw)
    monkeypatch.setattr(learning, "pick_concepts", lambda _: TAUGHT[:2])
    monkeypatch.setattr(learning, "open_base", lambda _: SimpleNamespace(vae=None))
    monkeypatch.setattr(learning, "reconstruct", lambda _, truth: truth)
    known = {"black-line": {f"the images, {6 * usual} steps": {"style left": 0.5}}}
    *_, found = measure_longer(tmp_path, looking, drawings, known)
    assert list(found) == ["black-line", "blob"] and [steps for _, steps in trained] == [
        *(usual, 6 * usual),
        *(6 * usual, usual, 6 * usual),
    ]
    assert [name for name, _ in trained if name in found] == ["blob"] and len({*trained}) == 5
    for style, figures in found.items():
        images, *originals = figures
        assert images == f"the images, {6 * usual} steps"
        assert originals == [f"the originals, {steps} steps" for steps in (usual, 6 * usual)]
        assert figures[images]["style left"] == {"black-line": 0.5, "blob": 1}[style]
        assert all(0 <= figures[name]["style left"] < 0.05 for name in originals)
