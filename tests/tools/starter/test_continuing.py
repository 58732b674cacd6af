"""The denoiser goes on from what ships, is measured on the way, cut off and taken up again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.tools.starter.small import PowerCutError, make_small_autoencoder, read_log, shorten
from tools.starter import continuing
from tools.starter.continuing import continue_denoiser, result_of, start_pair
from tools.starter.decoder import Workshop
from tools.starter.networks.lessons import Lessons, prepare_lessons
from tools.starter.networks.perceptual import PerceptualDistance
from tools.starter.networks.stage import Stage, go_on
from trainers.models.files.source import starter_folder

CPU = torch.device("cpu")
SMALL = replace(shorten(4, 2), batch=2)
FOUND = {"top-1": 0.5, "style followed": 0.25}


@pytest.fixture
def lessons(tmp_path: Path, drawings: Path) -> Lessons:
    return prepare_lessons(tmp_path / "lessons", drawings, make_small_autoencoder().eval(), CPU)


@pytest.fixture
def workshop(drawings: Path, every_step_is_logged: None, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    truth = SimpleNamespace(write_prompts=lambda: [], match=lambda _: FOUND)
    monkeypatch.setattr(continuing, "Truths", lambda *_: truth)
    monkeypatch.setattr(continuing, "draw_all", lambda *_: None)
    monkeypatch.setattr(continuing, "load_perception", lambda *_: None)
    monkeypatch.setattr(continuing, "draw_sheet", lambda _, path: path.write_bytes(b"drawn"))
    monkeypatch.setattr(continuing, "MEASURE_EVERY", 2)
    return Workshop(drawings, torch.nn.Identity(), PerceptualDistance(), {}, go_on, CPU)


def test_it_begins_with_what_ships():
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    pair = start_pair(0)
    for part, kind in (("unet", UNet2DConditionModel), ("text_encoder", CLIPTextModel)):
        shipped = kind.from_pretrained(starter_folder() / part, torch_dtype=torch.float32).state_dict()
        found = getattr(pair, part).state_dict()
        assert found.keys() == shipped.keys() and all(torch.equal(found[name], shipped[name]) for name in shipped)


@pytest.mark.slow
def test_a_base_is_written_with_its_figures_and_draws(workshop, lessons, tmp_path):
    from tools.starter.measure import open_base
    from trainers.sampling.sample import SamplingParams, draw

    folder = tmp_path / "small"
    make_small_autoencoder().save_pretrained(tmp_path / "vae")

    def cut(stage: Stage | None) -> None:
        if stage is not None and stage.step == 3:
            stage.save()
            raise PowerCutError

    with pytest.raises(PowerCutError):
        continue_denoiser(folder, lessons, tmp_path / "vae", replace(workshop, between=cut), SMALL)
    assert not (folder / result_of(SMALL)).exists()
    assert continue_denoiser(folder, lessons, tmp_path / "vae", workshop, SMALL) == FOUND
    measured = [line for line in read_log(folder) if "fixed noise" in line]
    assert [line["step"] for line in measured] == [2, 4] and [line.get("top-1") for line in measured] == [0.5, None]
    base = folder / result_of(SMALL)
    assert {"model_index.json", "unet", "vae", "text_encoder", "samples.png"} <= {path.name for path in base.iterdir()}
    assert json.loads((base / "figures.json").read_text(encoding="utf-8")) == FOUND
    model = open_base(base)
    assert model.denoiser.config.in_channels == model.vae.config.latent_channels == 4
    (picture,) = draw(model, SamplingParams(("fox",), (1,), steps=2, size=(128, 128)))
    assert picture.size == (128, 128)
