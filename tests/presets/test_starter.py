"""The weights that ship: their figures are theirs, reach what is aimed at, and can be found again."""

from __future__ import annotations

import json
import statistics
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.styles.report import spread
from tools.starter.drawings.captions import describe
from tools.starter.drawings.sets import held_out_sets, trained_sets
from tools.starter.measure import as_tensor, open_base, sampling_of
from tools.starter.networks.autoencoder import psnr, reconstruct
from tools.starter.report import PROMPTS, hash_weights
from tools.starter.unseen import read_photographs
from trainers.models.model import Model
from trainers.sampling.grid import make_grid
from trainers.sampling.sample import draw

STARTER = Path(str(files("presets"))) / "starter"
FIGURES = json.loads((STARTER / "metrics.json").read_text(encoding="utf-8"))
BUILD = json.loads((STARTER / "build.json").read_text(encoding="utf-8"))
HELD_OUT = [icon_set.name for icon_set in held_out_sets()]
STYLES = [icon_set.style for icon_set in trained_sets()]
LARGEST = 60_000_000  # bytes of all weights together
DRAWN_AGAIN = 2  # pictures of the sheet's first row


@pytest.fixture(scope="module")
def model() -> Model:
    return open_base(STARTER)


def test_the_figures_belong_to_these_weights() -> None:
    assert FIGURES["weights"] == hash_weights(STARTER) and len(FIGURES["weights"]) == 3
    assert sum(path.stat().st_size for path in STARTER.glob("*/*.safetensors")) <= LARGEST


def test_the_build_says_with_what_it_was_made(model: Model) -> None:
    counted = {name: sum(each.numel() for each in part.parameters()) for name, part in model_parts(model).items()}
    assert BUILD["numbers"] == counted
    assert {"torch", "diffusers", "transformers"} <= set(BUILD["packages"])
    assert all(isinstance(stage["seed"], int) and stage["steps"] > 0 for stage in BUILD["stages"].values())
    for stage, schedule in BUILD["stages"].items():
        last = (STARTER / "logs" / f"{stage}.jsonl").read_text(encoding="utf-8").splitlines()[-1]
        assert json.loads(last)["step"] == schedule["steps"]


def model_parts(model: Model) -> dict[str, Any]:
    return {"vae": model.vae, "text_encoder": model.parts["text_encoder"], "unet": model.parts["unet"]}


def test_what_was_reached_is_kept() -> None:
    reconstruction = FIGURES["reconstruction"]
    assert all(reconstruction[name] >= 26 for name in HELD_OUT) and len(HELD_OUT) == 2
    assert FIGURES["drawing"]["guided"]["top-1"] >= 0.92
    assert FIGURES["drawing"]["guided"]["top-1"] > FIGURES["drawing"]["unguided"]["top-1"]
    assert FIGURES["drawing"]["guided"]["style followed"] > 3 / len(STYLES)
    assert FIGURES["seconds a step"] <= 0.1


def test_what_is_learned_of_a_new_style_is_said_as_it_is() -> None:
    """Half of the distance is aimed at and not reached: the page on the starter says so for as long as that holds."""
    said = (STARTER.parents[1] / "docs" / "starter.md").read_text(encoding="utf-8")
    assert set(FIGURES["learning"]) == {"black-line", "blob"}
    for style, by_method in FIGURES["learning"].items():
        for method, seeds in by_method.items():
            left, learnable = ([one[name] for one in seeds] for name in ("style left", "style left to learn"))
            for one in seeds:
                assert one["style left"] == pytest.approx(one["style after"] / one["style before"], abs=1e-3)
                assert f"{one['style of the truth, decoded']:.2f}" in said
            row = (
                f"*{style.replace('-', ' ')}*, `{method}`",
                *(spread(each, "{:.2f}".format) for each in (left, learnable)),
            )
            assert f"| {' | '.join(row)} |" in said
    for style, by_steps in FIGURES["learning from the truth"].items():
        name = style.replace("-", " ")
        for steps, one in by_steps.items():
            shares = (one["style left"], one["style left to learn"])
            assert f"| *{name}*, the originals, {int(steps):,} steps | {shares[0]:.2f} | {shares[1]:.2f} |" in said
        decoded = one["style of the truth, decoded"] / one["style before"]
        assert f"| *{name}*, the originals, decoded | {decoded:.2f} | 0 |" in said
    assert statistics.median(one["style left to learn"] for one in FIGURES["learning"]["black-line"]["lora"]) < 0.6


def test_photographs_are_reconstructed_as_it_says(model: Model) -> None:
    photographs = read_photographs()
    found = float(psnr(reconstruct(model.vae, photographs), photographs).mean())
    assert found == pytest.approx(FIGURES["reconstruction"]["photographs"], abs=0.05)


@pytest.mark.thorough
def test_the_sheet_is_drawn_by_these_weights(model: Model) -> None:
    prompts = PROMPTS[:DRAWN_AGAIN]
    params = sampling_of([describe(prompt) for prompt in prompts])
    drawn = make_grid([("no style word", list(draw(model, params)))], prompts)
    with Image.open(STARTER / "samples.png") as sheet:
        kept = as_tensor([sheet.crop((0, 0, drawn.width - 8, drawn.height - 12))])
    again = as_tensor([drawn.crop((0, 0, drawn.width - 8, drawn.height - 12))])
    assert float((kept - again).abs().mean()) < 0.02
    assert float((kept - again.flip(3)).abs().mean()) > 0.1
