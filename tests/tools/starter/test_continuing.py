"""A denoiser that goes on with other latents: from what ships, measured on the way, cut off and taken up again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.tools.starter.small import PowerCutError, read_log, shorten
from tools.starter import continuing
from tools.starter.continuing import Continuation, continue_denoiser, start_pair
from tools.starter.networks.autoencoder import Design, make_autoencoder
from tools.starter.networks.perceptual import PerceptualDistance
from tools.starter.networks.stage import Stage, go_on
from tools.starter.tries import Workshop
from trainers.models.files.source import starter_folder

CPU = torch.device("cpu")
SMALL = Continuation("small", "thin", replace(shorten(4, 2), batch=2))
FOUND = {"top-1": 0.5, "style followed": 0.25}


@pytest.fixture
def autoencoder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    make_autoencoder(Design(widths=(8, 8, 16, 16), channels=6)).save_pretrained(tmp_path / "vae")
    return tmp_path / "vae"


@pytest.fixture
def workshop(drawings: Path, every_step_is_logged: None, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setattr(continuing, "measure_drawing", lambda *_: {"guided": FOUND})
    monkeypatch.setattr(continuing, "load_perception", lambda *_: None)
    monkeypatch.setattr(continuing, "draw_sheet", lambda _, path: path.write_bytes(b"drawn"))
    monkeypatch.setattr(continuing, "MEASURE_EVERY", 2)
    return Workshop(drawings, torch.nn.Identity(), PerceptualDistance(), {}, go_on, CPU)


def test_it_begins_with_what_ships_or_anew():
    from diffusers import UNet2DConditionModel

    shipped = UNet2DConditionModel.from_pretrained(starter_folder() / "unet", torch_dtype=torch.float32)
    for anew in (False, True):
        pair = start_pair(replace(SMALL, anew=anew), 8)
        assert pair.unet.config.in_channels == 8
        middle = "mid_block.resnets.0.conv1.weight"
        assert torch.equal(pair.unet.state_dict()[middle], shipped.state_dict()[middle]) == (not anew)


@pytest.mark.slow
def test_a_base_is_written_with_its_figures_and_draws(workshop, autoencoder, tmp_path):
    from tools.starter.measure import open_base
    from trainers.sampling.sample import SamplingParams, draw

    folder = tmp_path / "small"

    def cut(stage: Stage | None) -> None:
        if stage is not None and stage.step == 3:
            stage.save()
            raise PowerCutError

    with pytest.raises(PowerCutError):
        continue_denoiser(folder, SMALL, autoencoder, replace(workshop, between=cut))
    assert not (folder / SMALL.result).exists()
    assert continue_denoiser(folder, SMALL, autoencoder, workshop) == FOUND
    measured = [line for line in read_log(folder) if "fixed noise" in line]
    assert [line["step"] for line in measured] == [2, 4] and all(line["top-1"] == 0.5 for line in measured)
    base = folder / SMALL.result
    assert {"model_index.json", "unet", "vae", "text_encoder", "samples.png"} <= {path.name for path in base.iterdir()}
    assert json.loads((base / "figures.json").read_text(encoding="utf-8")) == FOUND
    model = open_base(base)
    assert model.denoiser.config.in_channels == model.vae.config.latent_channels == 6
    (picture,) = draw(model, SamplingParams(("fox",), (1,), steps=2, size=(128, 128)))
    assert picture.size == (128, 128)
