"""`velatura models`: what is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import presets
from tests.app.command import call
from tests.tiny import tiny_single_file


def test_models(tiny_bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELATURA_MODELS", str(tiny_bases["sdxl"].parent))
    rows = {row["name"]: row for row in json.loads(call("models", "--json").out)}
    assert next(iter(rows)) == "starter"
    assert rows["starter"]["family"] == "sd1"
    assert rows[str(tiny_bases["sdxl"])] == {
        "name": str(tiny_bases["sdxl"]),
        "family": "sdxl",
        "known_as": None,
        "known_by": None,
        "distilled": None,
        "distilled_by": None,
        "kind": "folder",
        "path": str(tiny_bases["sdxl"]),
    }


def test_a_base_that_is_not_trained_is_named_wherever_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, style = tmp_path / "qwen.safetensors", tmp_path / "s.safetensors"
    save_file({"txt_norm.weight": torch.ones(8), "transformer_blocks.0.img_mod.1.weight": torch.ones(8)}, base)
    layer = "transformer.transformer_blocks.0.img_mod.1"
    save_file({f"{layer}.lora_A.weight": torch.ones(2, 8), f"{layer}.lora_B.weight": torch.ones(8, 2)}, style)
    monkeypatch.setenv("VELATURA_MODELS", str(tmp_path))
    reason = "Qwen-Image, which Velatura does not train yet; the nearest base that it trains is Z-Image"
    listed = " ".join(call("models").err.split())
    assert f"qwen.safetensors is {reason}" in listed and "s.safetensors is" not in listed
    assert call("inspect", str(base)).err == f"error: qwen.safetensors is {reason}\n"
    config, samples = tmp_path / "c.toml", next((Path(presets.__path__[0]) / "samples").iterdir())
    config.write_text(
        f'name = "x"\n[base]\nmodel = "{base}"\n[data]\nimages = "{samples}"\n[method]\nname = "lora"\n', "utf-8"
    )
    monkeypatch.chdir(tmp_path)
    assert f"qwen.safetensors is {reason}" in call("train", str(config)).err
    assert f"s.safetensors is a style for {reason}" in " ".join(call("inspect", str(style)).err.split())
    drawn = call("generate", "--style", str(style), "--base", "starter", "--prompt", "a", "--out", "a.png")
    assert f"s.safetensors is a style for {reason}" in drawn.err


def test_a_hub_id_of_an_untrained_base_is_refused_at_once(tmp_path: Path) -> None:
    model, images = "black-forest-labs/FLUX.2-dev", next((Path(presets.__path__[0]) / "samples").iterdir())
    reason = "FLUX.2 dev, which Velatura does not train; the nearest base that it trains is Flux.1"
    assert call("models", "get", model).err == f"error: {model} is {reason}\n"
    trained = call("train", "--images", images, "--name", "x", "--base", model, "--out", tmp_path)
    assert f"{model} is {reason}" in trained.err and "models get" not in trained.err


def test_a_starter_that_is_none_is_told_and_the_other_bases_are_listed(
    tiny_bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VELATURA_MODELS", str(tiny_bases["sdxl"].parent))
    monkeypatch.setenv("VELATURA_STARTER", str(tmp_path))
    told = call("models", "--json")
    names = [row["name"] for row in json.loads(told.out)]
    assert str(tiny_bases["sdxl"]) in names and "starter" not in names
    assert told.err.startswith(f"warning: VELATURA_STARTER is {tmp_path}, where there is no model_index.json")


def test_a_base_is_told_from_a_style(tiny_bases: dict[str, Path], tmp_path: Path) -> None:
    base = tiny_single_file("sdxl", tmp_path / "noobaiXL vPred turbo.safetensors")
    assert json.loads(call("inspect", str(base), "--json").out) == {
        "base": str(base),
        "family": "sdxl",
        "prediction": "epsilon",
        "known_as": "NoobAI-XL (ε)",
        "known_by": "name",
        "distilled": "Turbo",
        "distilled_by": "name",
    }
    told = call("inspect", str(base))
    assert "Stable Diffusion XL" in told.out and "NoobAI-XL (ε), by its file's name; distilled: Turbo" in told.out
    assert "looks distilled for few steps" in told.err
    told = call("inspect", str(tiny_bases["sd2"]))
    assert "Stable Diffusion 2" in told.out and "distilled" not in told.out + told.err
