"""The families, their names in files, and the configs that ship with them."""

from __future__ import annotations

import json

import pytest

from trainers.errors import VelaturaError
from trainers.models.families import FAMILIES, get_family
from trainers.models.files.configs import CONFIGS
from trainers.models.files.download import PARTS
from trainers.models.files.hub import OPTIONAL
from trainers.models.files.single_file import shipped_tokenizer

NAMES = {
    ("sd1", "epsilon"): (512, "sd_v1", "stable-diffusion-v1", "sd1"),
    ("sd1", "v_prediction"): (512, "sd_v1", "stable-diffusion-v1", "sd1"),
    ("sd2", "epsilon"): (512, "sd_v2", "stable-diffusion-v2-512", "sd2"),
    ("sd2", "v_prediction"): (768, "sd_v2_v", "stable-diffusion-v2-768-v", "sd2-v"),
    ("sdxl", "epsilon"): (1024, "sdxl_base_v1-0", "stable-diffusion-xl-v1-base", "sdxl"),
    ("sdxl", "v_prediction"): (1024, "sdxl_base_v1-0", "stable-diffusion-xl-v1-base", "sdxl"),
}


@pytest.mark.parametrize(("family", "prediction"), NAMES)
def test_names_in_style_files(family, prediction):
    variant = get_family(family).variant(prediction, {})
    assert variant.prediction == prediction
    found = (variant.resolution, variant.base_model_version, variant.architecture, variant.configs)
    assert found == NAMES[family, prediction]


@pytest.mark.parametrize("family", [each for each in FAMILIES if each.denoiser == "unet"], ids=lambda each: each.name)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_shipped_configs_agree_with_the_family(family, prediction):
    variant = family.variant(prediction, {})
    unet, vae = (json.loads((variant.tree / part / "config.json").read_text()) for part in ("unet", "vae"))
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    assert unet["cross_attention_dim"] == family.context_width
    assert unet["sample_size"] * factor == variant.resolution
    encoders = [json.loads(file.read_text()) for file in sorted(variant.tree.glob("text_encoder*/config.json"))]
    assert len(encoders) == len(family.encoders)
    assert sum(encoder["hidden_size"] for encoder in encoders) == family.context_width
    scheduler = json.loads((variant.tree / "scheduler" / "scheduler_config.json").read_text())
    # SD 1 and SDXL networks that predict v share the tree of the ordinary ones; SD 2 has a tree of its own.
    assert scheduler["prediction_type"] == (prediction if family.name == "sd2" else "epsilon")


def test_unknown_family():
    with pytest.raises(VelaturaError, match="'sd9'; available are sd1, sd2, sdxl, sd3"):
        get_family("sd9")


def test_tokenizer_is_clips():
    tokenizer = shipped_tokenizer(CONFIGS / "sd1", "tokenizer")
    assert len(tokenizer) == 49408
    # Published ids of these words in CLIP's vocabulary.
    ids = tokenizer("a photo of a cat", padding="max_length").input_ids
    assert ids[:7] == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert ids[7:] == [49407] * 70


def test_each_tokenizer_pads_as_its_encoder_was_trained():
    pads = {
        (tree, part): shipped_tokenizer(CONFIGS / tree, part).pad_token_id
        for tree, part in [("sd1", "tokenizer"), ("sd2", "tokenizer"), ("sd2-v", "tokenizer"), ("sdxl", "tokenizer")]
    }
    assert list(pads.values()) == [49407, 0, 0, 49407]
    assert shipped_tokenizer(CONFIGS / "sdxl", "tokenizer_2").pad_token_id == 0


def test_what_downloads_leave_out_is_what_families_can_do_without():
    optional = {part for family in FAMILIES for name in family.optional for part in (name, family.tokenizer_of[name])}
    assert optional == {*OPTIONAL}
    assert {part for family in FAMILIES for part in (*family.networks, *family.tokenizers)} <= {*PARTS}
