"""Detection of a base's family and prediction type from its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.errors import VelaturaError
from trainers.messages import Message
from trainers.models.family import Family, Prediction, get_family
from trainers.models.files.folder import read_json
from trainers.models.files.header import Header, read_header

if TYPE_CHECKING:
    import torch

UNET = "model.diffusion_model."
SUPPORTED = Message("supported bases are Stable Diffusion 1, 2 and XL")
STYLE_MARKS = ("lora_up", "lora_down", "lora_A", "lora_B", "hada_w1", "lokr_w", "oft_blocks", "emb_params", "lora.up")
OTHER_MODELS = {
    "joint_blocks.": Message("a Stable Diffusion 3 model"),
    "double_blocks.": Message("a Flux model"),
    "double_stream_blocks.": Message("a Flux model"),
    "conditioner.embedders.0.model.": Message("the SDXL refiner, which is not a base"),
    "control_model.": Message("a ControlNet"),
    "edm_mean": Message("a base trained on another noise schedule (EDM), which is not supported"),
    "edm_vpred.": Message("a base trained on another noise schedule (EDM), which is not supported"),
}
OTHER_PIPELINES = {
    "StableDiffusion3": Message("a Stable Diffusion 3 model"),
    "Flux": Message("a Flux model"),
    "StableDiffusionXLRefiner": Message("the SDXL refiner, which is not a base"),
    "PixArt": Message("a PixArt model"),
    "Sana": Message("a Sana model"),
    "StableCascade": Message("a Stable Cascade model"),
}


def detect_family(path: Path) -> Family:
    """The family of a diffusers folder or single `.safetensors` checkpoint.

    VelaturaError, which names the kind of model, if it is not a base of a supported family.
    """
    return family_of_folder(path) if path.is_dir() else family_of_file(read_header(path), path.name)


def family_of_file(header: Header, name: str) -> Family:
    """The family of a checkpoint in the original single-file layout, from its tensor names; VelaturaError as above."""
    shapes = header.shapes
    if any(mark in key for key in shapes for mark in STYLE_MARKS):
        raise VelaturaError(
            "{name} is a style (such as a LoRA), not a base model: {supported}; use it as `velatura generate --style`",
            name=name,
            supported=SUPPORTED,
        )
    for mark, what in OTHER_MODELS.items():
        if any(key.startswith((mark, UNET + mark)) for key in shapes):
            raise VelaturaError("{name} holds {what}; {supported}", name=name, what=what, supported=SUPPORTED)
    first = shapes.get(UNET + "input_blocks.0.0.weight")
    if first is None:
        alone = "down_blocks.0.resnets.0.conv1.weight" in shapes or "input_blocks.0.0.weight" in shapes
        where = Message("{supported}, as one complete checkpoint or a folder in diffusers layout", supported=SUPPORTED)
        if alone:
            raise VelaturaError("{name} holds only part of a base (a UNet): {where}", name=name, where=where)
        raise VelaturaError("{name} holds no Stable Diffusion checkpoint: {where}", name=name, where=where)
    _check_latents(first[1], name)
    if not any(key.startswith("first_stage_model.") for key in shapes):
        raise VelaturaError("{name} has no VAE inside (`first_stage_model`); give a complete checkpoint", name=name)
    for mark, family in (
        ("conditioner.embedders.1.", "sdxl"),
        ("cond_stage_model.model.", "sd2"),
        ("cond_stage_model.transformer.", "sd1"),
    ):
        if any(key.startswith(mark) for key in shapes):
            return get_family(family)
    raise VelaturaError("{name} has no text encoder inside; give a complete checkpoint", name=name)


def family_of_folder(folder: Path) -> Family:
    """The family of a folder in diffusers layout, from its configs; VelaturaError as above."""
    index = folder / "model_index.json"
    pipeline = str(read_json(index).get("_class_name", "")) if index.is_file() else ""
    for start, what in OTHER_PIPELINES.items():
        if pipeline.startswith(start):
            raise VelaturaError("{name} holds {what}; {supported}", name=folder.name, what=what, supported=SUPPORTED)
    if not (folder / "unet").is_dir():
        raise VelaturaError(
            "{name} has no UNet (a folder `unet` with config and weights): {supported}, in diffusers layout",
            name=folder.name,
            supported=SUPPORTED,
        )
    unet = read_json(folder / "unet" / "config.json")
    _check_latents(unet.get("in_channels", 4), folder.name)
    if unet.get("addition_embed_type") == "text_time":
        return get_family("sdxl")
    widths = {768: "sd1", 1024: "sd2"}
    width = unet.get("cross_attention_dim")
    # Networks of unusual width (the starter) belong to the family whose layers they have.
    fallback = "sd2" if unet.get("use_linear_projection") else "sd1"
    return get_family(widths.get(width, fallback) if isinstance(width, int) else fallback)


def _check_latents(channels: int, name: str) -> None:
    if channels != 4:
        raise VelaturaError(
            "{name} is an inpainting or editing model (its UNet has {channels} input channels instead of "
            "4); use a text-to-image base",
            name=name,
            channels=channels,
        )


def detect_prediction(header: Header) -> Prediction | None:
    """The prediction type of a single file, from its metadata or else from marker keys; None if it has neither."""
    stated = header.metadata.get("modelspec.prediction_type", "").strip().lower()
    if stated in ("v", "v_prediction", "v-prediction"):
        return "v_prediction"
    if stated in ("epsilon", "eps"):
        return "epsilon"
    architecture = header.metadata.get("modelspec.architecture", "")
    if "v_pred" in header.shapes or architecture.startswith("stable-diffusion-v2-768-v"):
        return "v_prediction"
    return "epsilon" if architecture.startswith("stable-diffusion-v2-512") else None


def prediction_of_config(scheduler: Mapping[str, object]) -> Prediction | None:
    """The prediction type in a scheduler config; None if it has none, VelaturaError if it is not supported."""
    stated = scheduler.get("prediction_type")
    if stated is None:
        return None
    if stated == "epsilon" or stated == "v_prediction":
        return stated
    raise VelaturaError("the base predicts {stated!r}; supported are `epsilon` and `v_prediction`", stated=stated)


def prediction_of_output(noisy: torch.Tensor, output: torch.Tensor) -> Prediction:
    """The prediction type of a network, from its `output` for `noisy` at the last timestep, both (n, c, h, w).

    The input is nearly all noise there. Epsilon networks return nearly their input; v networks nearly minus the image
    they guess, which hardly correlates with the input.
    """
    import torch

    a, b = noisy.double().flatten(), output.double().flatten()
    correlation = torch.corrcoef(torch.stack([a, b]))[0, 1].item()
    return "epsilon" if correlation > 0.5 else "v_prediction"
