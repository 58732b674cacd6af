"""Model cards of published styles."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from app.studio.publishing.card import CardFacts, Shown, check_repository, write_card
from trainers.errors import VelaturaError

BASE = "stable-diffusion-v1-5/stable-diffusion-v1-5"
LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def write_style(place: Path, **metadata: str) -> Path:
    tensors = {
        f"{LAYER}.lora_up.weight": torch.ones(320, 4),
        f"{LAYER}.lora_down.weight": torch.ones(4, 768),
        f"{LAYER}.alpha": torch.tensor(4.0),
    }
    config = {"base": {"model": BASE}, "method": {"name": "lora"}}
    save_file(tensors, place, {"velatura.config": json.dumps(config), "velatura.family": "sd1", **metadata})
    return place


def test_a_card_says_how_to_load_and_prompt_a_style(tmp_path: Path) -> None:
    known = {"velatura.trigger": "dusk style", "modelspec.license": "CC BY 4.0", "ss_learning_rate": "0.001"}
    style = write_style(tmp_path / "dusk.safetensors", **known)
    card = write_card(style, CardFacts("dusk", "ann/dusk"), [Shown(0, 'an owl: "x" | y', "pictures/01.png")], "")
    _, header, body = card.split("---\n", 2)
    for line in (f"base_model: {BASE}", "base_model_relation: adapter", "instance_prompt: dusk style",
                 "license: other", "license_name: CC BY 4.0", "library_name: diffusers", "- lora"):  # fmt: skip
        assert f"{line}\n" in header, header
    assert "an owl:" in header and "url: pictures/01.png" in header
    assert "Trigger word: `dusk style`" in body and "`<lora:dusk:1>`" in body and "| learning rate | 0.001 |" in body
    assert 'pipe.load_lora_weights("ann/dusk", weight_name="dusk.safetensors")' in body
    assert f'from_pretrained("{BASE}"' in body and "image = pipe('dusk style, a lighthouse')" in body
    assert "ComfyUI" in body and "CC BY 4.0" in body
    of_base = (
        "[CreativeML OpenRAIL-M](https://huggingface.co/spaces/CompVis/stable-diffusion-license), any use is allowed"
    )
    assert f"The licence of the base applies too: {of_base}" in body


def test_a_card_without_licence_says_so(tmp_path: Path) -> None:
    card = write_card(write_style(tmp_path / "a.safetensors"), CardFacts("a", "ann/a"), [], "")
    assert "license: unknown\n" in card and "The author has named none" in card and "needs no trigger word" in card
    assert "The licence of the base applies too" in card and "widget" not in card and "<Gallery" not in card


def test_a_card_promises_nothing_of_layers_that_no_base_has(tmp_path: Path) -> None:
    style = tmp_path / "a.safetensors"
    wrong = {
        f"{LAYER.replace('attentions', 'attentionz')}.lora_{side}.weight": torch.ones(4, 4) for side in ("up", "down")
    }
    save_file(wrong, style, {"velatura.family": "sd1"})
    body = write_card(style, CardFacts("a", "ann/a"), [], "")
    assert "Layers with names that no base of Stable Diffusion 1" in body
    assert "ComfyUI" not in body and "load_lora_weights" not in body


def test_what_a_style_says_of_itself_is_text(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>\n## [Log in](https://evil.example) | `x`"
    keys = ("velatura.trigger", "modelspec.license", "modelspec.description", "ss_optimizer", "velatura.fits_only")
    card = write_card(
        write_style(tmp_path / "a.safetensors", **dict.fromkeys(keys, evil)), CardFacts("a", "a/b"), [], ""
    )
    body = card.split("---\n", 2)[2].replace("<Gallery />", "")
    literal = re.findall(r"```.*?```|``.*?``", body, re.DOTALL)
    for part in literal:
        body = body.replace(part, "")
    assert "<img" not in body and literal and body.count("\n## ") == 4  # the description's own, and the card's three
    assert r"\| optimizer" not in body and r"\[Log in\](https://evil.example) \| \`x\`" in body


def test_a_command_in_a_card_runs_nothing_else(tmp_path: Path) -> None:
    known = {"velatura.trigger": '"; touch /tmp/$(id) `id`', "velatura.fits_only": "Velatura starter"}
    card = write_card(write_style(tmp_path / "a.safetensors", **known), CardFacts("a", "a/b"), [], "")
    (line,) = re.findall(r"```sh\n(.*)\n```", card)
    assert shlex.split(line)[5] == '"; touch /tmp/$(id) `id`, a lighthouse'
    assert subprocess.run(["bash", "-c", f"set -- {line}; echo $#"], capture_output=True, text=True).stdout == "8\n"


@pytest.mark.parametrize("wrong", ["hub:", "dusk", "hub:ann/dusk/x", "ann/..", "s3://ann/dusk"])
def test_places_that_are_not_on_the_hub(wrong: str) -> None:
    with pytest.raises(VelaturaError, match="is no place on the hub"):
        check_repository(wrong)
    assert check_repository("hub:ann/dusk") == "ann/dusk"
