"""The same questions every time, and the error of their answers against a closed form."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.tiny_runs import write_images
from trainers.data.dataset import load_dataset
from trainers.models.load import load_model
from trainers.training.step.denoising import denoising_errors, make_probes


@pytest.fixture(scope="module", params=["sd2-v", "sdxl"])
def asked(request, tiny_bases, images):
    from tests.trainers.tiny_runs import quick_settings

    config = quick_settings(tiny_bases[request.param], images, {"data": {"trigger": "dusk"}})
    model = load_model(config.base, torch.float32, "cpu")
    dataset = load_dataset(images, config.data, 0, 32, model.stride)
    return config, model, dataset.items


def test_a_question_is_a_function_of_its_image_alone(asked, tmp_path):
    config, model, items = asked
    questions = make_probes(model, items, config, times=4)
    again = make_probes(model, items[1:], config, times=4)
    assert [q.caption for q in questions] == [f"dusk, {item.caption}" for item in items]
    for one, other in zip(questions[1:], again, strict=True):
        assert torch.equal(one.noisy, other.noisy) and torch.equal(one.target, other.target)
    assert all(q.timesteps.tolist() == [125, 375, 625, 875] for q in questions)
    noises = {row.sum().item() for q in questions for row in q.target}
    assert len(noises) == 4 * len(items)


def test_the_error_is_the_mean_square_of_what_is_wrong(asked, monkeypatch):
    config, model, items = asked
    questions = make_probes(model, items, config, times=4)
    errors = denoising_errors(model, None, questions, config)
    assert errors.shape == (len(items), 4) and len(errors.unique()) == errors.numel()
    assert torch.equal(errors, denoising_errors(model, None, questions, config))
    given = iter(questions)

    def off_by(model, noisy, t, text, time_ids):
        question = next(given)
        assert torch.equal(t, question.timesteps) and len(text.context) == 4
        return question.target + t.view(-1, 1, 1, 1) / 1000

    monkeypatch.setattr("trainers.models.model.Model.predict", off_by)
    expected = (torch.tensor([125.0, 375.0, 625.0, 875.0]) / 1000) ** 2
    torch.testing.assert_close(denoising_errors(model, None, questions, config), expected.expand(len(items), 4))


def test_what_is_transparent_is_not_asked_for(tiny_bases, tmp_path, monkeypatch):
    from PIL import Image

    from tests.trainers.tiny_runs import quick_settings

    folder = write_images(tmp_path / "one", {"fox": (64, 64)})
    picture = Image.open(folder / "fox.png").convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 32, 64))
    picture.save(folder / "fox.png")
    config = quick_settings(tiny_bases["sd1"], folder, {"data": {"transparency": "mask"}})
    model = load_model(config.base, torch.float32, "cpu")
    questions = make_probes(model, load_dataset(folder, config.data, 0, 32, model.stride).items, config, times=2)
    monkeypatch.setattr("trainers.models.model.Model.predict", lambda *_: _partly_wrong(questions[0].target))
    assert denoising_errors(model, None, questions, config).abs().max() == 0


def _partly_wrong(target):
    """Right where the picture is opaque, wrong at its left border."""
    wrong = target.clone()
    wrong[..., : target.shape[-1] // 4] += 1
    return wrong
