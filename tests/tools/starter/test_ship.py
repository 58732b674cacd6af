"""Shipping: finished parts replace the bundled ones in fp16, with their logs, and nothing else is touched."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.tools.starter.small import make_small_autoencoder
from tools.starter import continuing, decoder, ship
from tools.starter.build import describe_packages
from trainers.errors import VelaturaError


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "starter"
    (folder / "logs").mkdir(parents=True)
    (folder / "unet").mkdir()
    (folder / "vae").mkdir()
    (folder / "vae" / "config.json").write_text('{"scaling_factor": 0.25}')
    (folder / "unet" / "weights").write_text("old")
    said = {
        "packages": {"torch": "1"},
        "parameters": {"vae": 1},
        "stages": {"autoencoder": {"steps": 3}},
        "notes": ["a"],
    }
    (folder / "build.json").write_text(json.dumps(said))
    monkeypatch.setattr(ship, "draw_sheet", lambda base, path: path.write_text(base.name))
    monkeypatch.setattr(ship, "write_report", lambda base, *_: (base / "metrics.json").write_text("{}"))
    return folder


def test_a_finished_decoder_is_shipped_alone(target, tmp_path):
    torch.manual_seed(0)
    model, state = make_small_autoencoder(), tmp_path / "state"
    folder = continuing.autoencoder_folder(state, "decoder")
    model.save_pretrained(folder / "vae")
    (folder / "log.jsonl").write_text('{"step": 2}\n')
    with pytest.raises(VelaturaError, match=r"Nothing is finished in .*: train with `make"):
        ship.ship(state, target)
    assert not (state / "ready").exists()
    (folder / "vae" / "figures.json").write_text("{}")
    assert ship.ship(state, target) == ["decoder"]

    found = load_file(target / "vae" / "diffusion_pytorch_model.safetensors")
    expected = model.state_dict()
    assert {tensor.dtype for tensor in found.values()} == {torch.float16} and found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name].half()) for name, tensor in found.items())
    config = json.loads((target / "vae" / "config.json").read_text())
    assert "_name_or_path" not in config and config["scaling_factor"] == 0.25, "the denoiser stays"
    assert (target / "unet" / "weights").read_text() == "old"
    assert (target / "logs" / "decoder.jsonl").read_text() == '{"step": 2}\n'
    assert (target / "samples.png").read_text() == "ready" and (target / "metrics.json").exists()
    said = json.loads((target / "build.json").read_text())
    assert said["stages"] == {"autoencoder": {"steps": 3}, "decoder": asdict(decoder.SCHEDULE)}
    assert said["packages"] == describe_packages() and said["notes"] == ["a"]


def test_a_finished_base_brings_its_denoiser_and_text_encoder(target, tmp_path):
    state = tmp_path / "state"
    folder = continuing.denoiser_folder(state)
    base = folder / continuing.result_of(continuing.CONTINUED)
    for part in ("unet", "text_encoder", "vae"):
        (base / part).mkdir(parents=True)
        (base / part / "weights").write_text("new")
    (base / "vae" / "config.json").write_text('{"scaling_factor": 0.5}')
    (base / "figures.json").write_text("{}")
    (folder / "log.jsonl").write_text('{"step": 5}\n')
    assert ship.ship(state, target) == ["continued"]
    assert [(target / part / "weights").read_text() for part in ("unet", "text_encoder")] == ["new", "new"]
    assert not (target / "vae" / "weights").exists()
    assert ship.read_scale(target) == 0.5, "the denoiser's latents are of the size that it was trained with"
    assert not (state / "ready").exists()
    assert (target / "logs" / "continued.jsonl").read_text() == '{"step": 5}\n'
    assert json.loads((target / "build.json").read_text())["stages"]["continued"] == asdict(continuing.CONTINUED)

    (folder / "log.jsonl").write_text('{"step": 6}\n')
    assert ship.ship(state, target) == ["continued-2"], "an earlier version's log and schedule stay"
    assert (target / "logs" / "continued.jsonl").read_text() == '{"step": 5}\n'
    assert (target / "logs" / "continued-2.jsonl").read_text() == '{"step": 6}\n'
    assert [*json.loads((target / "build.json").read_text())["stages"]] == ["autoencoder", "continued", "continued-2"]
    assert ship.name_continued(target) == "continued-3"


def test_what_continues_has_its_folder_by_the_weights_that_it_continues_from(tmp_path, monkeypatch):
    for name in ("one", "two"):
        for part in ("unet", "vae"):
            (tmp_path / name / part).mkdir(parents=True)
            (tmp_path / name / part / continuing.WEIGHTS).write_bytes(f"{part} {name}".encode())
        monkeypatch.setattr(continuing, "starter_folder", lambda name=name: tmp_path / name)
        unet, vae = (hashlib.sha256(f"{part} {name}".encode()).hexdigest()[:8] for part in ("unet", "vae"))
        assert continuing.denoiser_folder(Path("state")) == Path("state", f"denoiser-{unet}")
        assert continuing.autoencoder_folder(Path("state"), "lessons") == Path("state", f"lessons-{vae}")


def test_nothing_is_shipped_to_another_starter(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VELATURA_STARTER", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["ship", "--state", str(tmp_path / "state")])
    assert ship.main() == 1
    assert capsys.readouterr().err.startswith("VELATURA_STARTER names another starter than the bundled one")
    assert not [*tmp_path.iterdir()]
