"""Bases that people know by name, and distilled ones: what they are taken for, and by what."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.tiny import tiny_single_file
from trainers.config.build import build_config
from trainers.errors import VelaturaError
from trainers.models.bases.named import list_named_bases
from trainers.models.bases.recognise import (
    GUIDANCE_KEY,
    describe,
    licence_of,
    recognise,
    recognise_base,
    recognise_name,
    recommendation_of,
    settings_of_base,
    warning_of,
)

FILE = "file's name"
UNET = "model.diffusion_model."
SDXL = {
    UNET + "input_blocks.0.0.weight": (320, 4, 3, 3),
    "first_stage_model.quant_conv.weight": (8, 8, 1, 1),
    "conditioner.embedders.1.model.ln_final.weight": (1280,),
}
SD1 = {**SDXL, "cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,)}
del SD1["conditioner.embedders.1.model.ln_final.weight"]


def checkpoint(path: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Path:
    """A file with these keys and shapes, whose numbers nobody reads."""
    save_file({key: torch.zeros(shape, dtype=torch.float16) for key, shape in shapes.items()}, path, metadata)
    return path


@pytest.mark.parametrize(
    ("name", "shapes", "metadata", "title", "by"),
    [
        ("illustriousXL_v01", SDXL, {}, "Illustrious XL", "name"),
        ("waiNSFWIllustrious_v140", SDXL, {}, "Illustrious XL", "name"),
        ("noobaiXL_epsPred11", SDXL, {}, "NoobAI-XL (ε)", "name"),
        ("noobaiXL_vPred10", SDXL, {}, "NoobAI-XL (v)", "name"),
        ("noobaiXL10", SDXL | {"v_pred": (1,), "ztsnr": (1,)}, {}, "NoobAI-XL (v)", "name"),
        ("noob illustrious mix", SDXL, {}, "NoobAI-XL (ε)", "name"),
        ("ponyDiffusionV6XL", SDXL, {}, "Pony Diffusion V6 XL", "name"),
        ("animagine-xl-4.0", SDXL, {}, "Animagine XL", "name"),
        ("my own", SDXL, {"modelspec.title": "NoobAI XL V-Pred 1.0"}, "NoobAI-XL (v)", "metadata"),
        ("noobai", SDXL, {"modelspec.title": "Pony Diffusion"}, "Pony Diffusion V6 XL", "metadata"),
        ("Counterfeit-V3.0", SD1, {}, "an anime model of the NovelAI line", "name"),
        ("anything-v5", SD1, {}, "an anime model of the NovelAI line", "name"),
    ],
)
def test_a_named_base_is_recognised_and_it_is_said_by_what(tmp_path, name, shapes, metadata, title, by) -> None:
    found = recognise(checkpoint(tmp_path / f"{name}.safetensors", shapes, metadata))
    assert found.named is not None and (found.named.title, found.named_by) == (title, by)
    assert describe(found) == f"{title}, by its {'metadata' if by == 'metadata' else FILE}"
    assert not found.distilled and warning_of(found) == ""


@pytest.mark.parametrize("name", ["sd_xl_base_1.0", "juggernautXL_v9", "harmony", "dreamshaper", "anything you like"])
def test_other_bases_have_no_name(tmp_path: Path, name: str) -> None:
    for number, shapes in enumerate((SDXL, SD1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = recognise(checkpoint(folder / f"{name}.safetensors", shapes))
        assert (found.named, found.named_by, found.distilled, describe(found)) == (None, None, "", "")


def test_a_name_of_another_family_is_none(tmp_path: Path) -> None:
    assert recognise(checkpoint(tmp_path / "pony-v4.safetensors", SD1)).named is None
    assert recognise(checkpoint(tmp_path / "counterfeit.safetensors", SDXL)).named is None


@pytest.mark.parametrize(
    ("name", "shapes", "metadata", "way", "by"),
    [
        ("dreamshaperXL_lightningDPMSDE", SDXL, {}, "Lightning", "name"),
        ("sd_xl_turbo_1.0_fp16", SDXL, {}, "Turbo", "name"),
        ("Hyper-SDXL-8steps", SDXL, {}, "Hyper-SD", "name"),
        ("base_dmd2", SDXL, {}, "DMD2", "name"),
        ("some lcm", SD1, {}, "LCM", "name"),
        ("plain", SDXL, {"modelspec.merged_from": "sdxl, lightning_lora"}, "Lightning", "metadata"),
        ("plain", SD1 | {GUIDANCE_KEY: (320, 256)}, {}, "LCM", "keys"),
    ],
)
def test_a_distilled_base_is_warned_about(tmp_path, name, shapes, metadata, way, by) -> None:
    found = recognise(checkpoint(tmp_path / f"{name}.safetensors", shapes, metadata))
    assert (found.distilled, found.distilled_by) == (way, by)
    assert f"({way}, by its" in warning_of(found) and "Train on the base that it was made from" in warning_of(found)


@pytest.mark.parametrize("name", ["hyperrealism_v3", "calm", "wildcard", "admdesign"])
def test_names_that_only_sound_distilled_are_not(tmp_path: Path, name: str) -> None:
    assert recognise(checkpoint(tmp_path / f"{name}.safetensors", SDXL)).distilled == ""


def test_a_folder_is_recognised_by_its_configs(tiny_bases: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(tiny_bases["sdxl"], folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_name_or_path": "Laxhar/noobai-XL-1.1"}))
    assert recognise(folder).named_by == "metadata" and describe(recognise(folder)) == "NoobAI-XL (ε), by its metadata"
    scheduler = folder / "scheduler" / "scheduler_config.json"
    written = json.loads(scheduler.read_text())
    scheduler.write_text(json.dumps(written | {"_class_name": "LCMScheduler"}))
    assert (recognise(folder).distilled, recognise(folder).distilled_by) == ("LCM", "keys")
    scheduler.write_text(json.dumps(written | {"prediction_type": "v_prediction"}))
    assert describe(recognise(folder)) == "NoobAI-XL (v), by its metadata"
    assert recognise(folder).prediction == "v_prediction"
    unet = folder / "unet" / "config.json"
    unet.write_text(json.dumps(json.loads(unet.read_text()) | {"time_cond_proj_dim": 256}))
    assert recognise(folder).distilled == "LCM"


def test_what_the_settings_name_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    path = checkpoint(tmp_path / "illustrious.safetensors", SDXL)
    assert describe(recognise_base(str(path))) == "Illustrious XL, by its file's name"
    named = recognise_base("OnomaAIResearch/Illustrious-xl-early-release-v0").named
    assert named is not None and named.name == "illustrious"
    for model in ("starter", "", "no such file", str(tmp_path), str(tmp_path / "x.safetensors"), "\0"):
        assert recognise_base(model).named is None and recognise_base(model).distilled == ""
    (tmp_path / "noob.safetensors").write_bytes(b"no header")
    assert recognise_base(str(tmp_path / "noob.safetensors")).named is None
    with pytest.raises(VelaturaError, match=r"not a \.safetensors"):
        recognise(tmp_path / "noob.safetensors")


def test_a_style_names_its_base(tmp_path: Path) -> None:
    assert describe(recognise_name("noobaiXL_vPred10", "sdxl")) == "NoobAI-XL (v), by its file's name"
    assert describe(recognise_name("sd_xl_base_1.0", "sdxl")) == ""


def test_a_complete_file_is_recognised_too(tmp_path: Path) -> None:
    path = tiny_single_file("sdxl", tmp_path / "animagine.safetensors")
    assert describe(recognise(path)) == "Animagine XL, by its file's name"


def test_settings_of_named_bases_are_those_of_the_base_alone() -> None:
    assert [each.name for each in list_named_bases()][:2] == ["noobai-v", "noobai"]
    for named in filter(lambda named: named.patterns, list_named_bases()):
        assert set(named.settings) <= {"base", "data", "sample"} and named.settings["sample"]["prefix"]


def test_recommendations_are_whole_configs_with_a_source() -> None:
    published = [named.recommended for named in list_named_bases() if named.recommended]
    assert {each.title for each in published} == {
        *("Illustrious XL", "Pony Diffusion V6 XL", "SDXL", "Stable Diffusion 1.5", "Flux.1", "Chroma", "Z-Image")
    }
    for each in published:
        config = build_config({"name": "x", "data": {"images": "."}, "base": {"model": "b"}}, each.settings)
        assert each.source and config.method.name == "lora"
        assert any(name in each.source for name in ("civitai", "ai-toolkit"))


def test_the_recommendation_of_a_base(tmp_path: Path) -> None:
    titles = {}
    for name in ("illustriousXL", "noobai", "ponyDiffusion", "plain"):
        found = recommendation_of(str(tiny_single_file("sdxl", tmp_path / f"{name}.safetensors")))
        titles[name] = found.title if found else None
    assert titles == {
        "illustriousXL": "Illustrious XL", "noobai": None, "ponyDiffusion": "Pony Diffusion V6 XL", "plain": "SDXL",
    }  # fmt: skip
    assert recommendation_of("starter") is None
    for hub_id, title in {
        "black-forest-labs/FLUX.1-dev": "Flux.1", "stabilityai/stable-diffusion-xl-base-1.0": "SDXL",
        "stable-diffusion-v1-5/stable-diffusion-v1-5": "Stable Diffusion 1.5",
    }.items():  # fmt: skip
        assert recommendation_of(hub_id).title == title
    assert recommendation_of("stabilityai/stable-diffusion-2-1") is None


def test_a_licence_is_said_where_all_bases_of_a_kind_have_one(tmp_path: Path) -> None:
    dev, schnell, chroma, three = (
        recognise_base(model)
        for model in (
            "black-forest-labs/FLUX.1-dev",
            "black-forest-labs/FLUX.1-schnell",
            "lodestones/Chroma1-HD",
            "stabilityai/stable-diffusion-3.5-medium",
        )
    )
    assert "FLUX.1 [dev] Non-Commercial License (no commercial use" in licence_of(dev)
    assert "https://huggingface.co/black-forest-labs/FLUX.1-dev" in licence_of(dev)
    assert all("Apache-2.0 (any use" in licence_of(found) for found in (schnell, chroma))
    assert "Stability AI Community License" in licence_of(three)
    assert licence_of(recognise(checkpoint(tmp_path / "a.safetensors", SDXL))) == ""


def test_a_base_for_few_steps_is_drawn_in_few() -> None:
    dev, schnell = (settings_of_base(f"black-forest-labs/FLUX.1-{kind}")["sample"] for kind in ("dev", "schnell"))
    assert (dev["steps"], dev["guidance"], dev["sampler"]) == (28, 3.5, "euler")
    assert (schnell["steps"], schnell["guidance"], schnell["sampler"]) == (4, 1.0, "euler")
    assert recognise_base("lodestones/Chroma1-Flash").distilled == "Flash"
