"""Loads a base model as frozen networks on a device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.models.family import Family, Prediction, get_family
from trainers.models.files.detect import (
    detect_prediction,
    family_of_file,
    family_of_folder,
    prediction_of_config,
    prediction_of_output,
)
from trainers.models.files.folder import load_part, load_tokenizer, read_json, weight_files
from trainers.models.files.header import read_header
from trainers.models.files.recognise import Recognised, recognise, warning_of
from trainers.models.files.single_file import load_single_file, shipped_tokenizer
from trainers.models.files.source import Source, find_source
from trainers.models.images import predict
from trainers.models.model import Model
from trainers.models.quiet import quietly
from trainers.models.schedule import NoiseSchedule, schedule_from_config
from trainers.models.storage import store_in_nf4
from trainers.models.text import add_time_ids, count_positions, encode_captions
from trainers.models.words import token_groups
from trainers.randomness import generator

__all__ = ["Model", "load_model", "token_counter", "training_size"]

KINDS = {"epsilon": _("the noise (epsilon)"), "v_prediction": _("the velocity (v)")}
TESTED = _("The base does not say what its network predicts; a test of it has found {found}. base.prediction sets it.")
CONFIRMED = _("The base's name says v-prediction, but its files and a test of its network say {found}.")
CORRECTED = _("The base's files say that it predicts {stated}, but a test of its network found {found}, which holds.")
PROBE = 128
"""Side in pixels of the noise that probes the prediction type."""


@dataclass(frozen=True, eq=False)
class LoadedParts:
    """A base as loaded from its files: parts by name, the prediction type, scheduler config and weight files."""

    source: Source
    family: Family
    parts: Mapping[str, Any]
    prediction: Prediction | None
    scheduler: Mapping[str, Any]
    weights: Sequence[Path]
    known: Recognised
    """What it is called, and whether it was distilled."""


def import_libraries() -> None:
    """Import what loading a base needs, which takes seconds at the first time."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    assert AutoencoderKL and UNet2DConditionModel and CLIPTextModel and CLIPTokenizer


def load_model(settings: Base, dtype: torch.dtype, device: torch.device | str, sha256: str | None = None) -> Model:
    """Load the base model that `settings` names, frozen.

    Args:
        settings: The `[base]` section of a config; its `model` is `starter`, a hub id, a diffusers folder or a
            `.safetensors` file.
        dtype: The dtype of UNet and text encoders; the VAE is always fp32. With `storage = "nf4"`, weights are moved to
            the device layer by layer and quantised there from `dtype`.
        device: The device for all networks.
        sha256: The hash of the weights, if known; otherwise it is computed, which reads gigabytes.

    Returns:
        The networks in evaluation mode, tokenizers, noise schedule, and source.

    Raises:
        VelaturaError: The base does not exist, or its family is not supported.
    """
    source = find_source(settings.model)
    with quietly():
        loaded = (_from_file if source.kind == "file" else _from_folder)(source, settings, dtype)
    for name, network in loaded.parts.items():
        if isinstance(network, torch.nn.Module):
            network.requires_grad_(False).eval()
            if settings.storage == "nf4" and name != "vae":
                store_in_nf4(network, device, settings.scale_format)
            network.to(device)
    _take_any_dtype(loaded.parts["vae"])
    sha256 = sha256 or hash_files(loaded.weights)
    prediction, note = _prediction(loaded, settings, sha256)
    model = _model(loaded, prediction, settings, sha256)
    return replace(model, notes=tuple(filter(None, (note, warning_of(loaded.known)))))


def _prediction(loaded: LoadedParts, settings: Base, sha256: str) -> tuple[Prediction, str]:
    """The prediction type, and what is to be said of it: that of the settings, else of the files, else of a test.

    The network is tested, too, if its name says otherwise than its files: a base that is taken for the other type draws
    black or grey pictures.
    """
    if settings.prediction != "auto":
        return settings.prediction, ""
    stated = loaded.prediction
    if stated is not None and not (stated == "epsilon" and loaded.known.is_called_velocity):
        return stated, ""
    found = probe_prediction(_model(loaded, "epsilon", settings, sha256))
    if stated is None:
        return found, TESTED.format(found=KINDS[found])
    said = CONFIRMED if found == stated else CORRECTED
    return found, said.format(stated=KINDS[stated], found=KINDS[found])


def training_size(model: str) -> tuple[int, int]:
    """Native resolution and stride in pixels of the base `model`, from its configs, without its weights.

    A single SD 2 file without prediction type counts as the 512 px variant. Raises VelaturaError as `load_model` does.
    """
    tree = _config_tree(find_source(model).path)
    unet, vae = (read_json(tree / part / "config.json") for part in ("unet", "vae"))
    factor = _down_factor(vae)
    return unet["sample_size"] * factor, factor * _down_factor(unet)


def token_counter(model: str, sizes: Mapping[str, int] | None = None) -> Callable[[str], int]:
    """A function that counts a caption's tokens, without start and end, for the base `model`; loads no weights.

    `sizes` holds the number of tokens of each added word.
    """
    path = find_source(model).path
    tree = _config_tree(path)
    tokenizer = (shipped_tokenizer if path.is_file() else load_tokenizer)(tree, "tokenizer")
    return lambda caption: count_positions(token_groups(tokenizer, caption, sizes or {}))


def _config_tree(path: Path) -> Path:
    """The folder of a base's configs in diffusers layout: its own, or its family's for a single file."""
    if path.is_file():
        header = read_header(path)
        return family_of_file(header, path.name).variant(detect_prediction(header) or "epsilon").tree
    family_of_folder(path)
    return path


def _down_factor(network_config: Mapping[str, Any]) -> int:
    """Downsampling factor of the innermost level of a UNet or VAE, along a side."""
    return 2 ** (len(network_config["block_out_channels"]) - 1)


def probe_prediction(model: Model) -> Prediction:
    """Detect the network's prediction type from its output for noise at the last timestep without a caption."""
    side = PROBE // model.vae_factor
    noise = torch.randn((4, 4, side, side), generator=generator("probe what a base predicts")).to(model.device)
    t = torch.full((4,), model.schedule.steps - 1, device=model.device)
    with torch.no_grad():
        text = encode_captions(model, [""] * 4)
        sizes = [(PROBE, PROBE)] * 4
        output = predict(model.unet, noise, t, text, add_time_ids(model, sizes, [(0, 0)] * 4, sizes))
    return prediction_of_output(noise, output)


def hash_files(files: Sequence[Path]) -> str:
    """SHA-256 (hex) of the concatenated files, read in pieces."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while piece := file.read(2**22):
                digest.update(piece)
    return digest.hexdigest()


def _from_folder(source: Source, settings: Base, dtype: torch.dtype) -> LoadedParts:
    import diffusers
    import transformers

    folder = source.path
    family = _agreed_family(family_of_folder(folder), settings, folder)
    parts = {
        "unet": load_part(diffusers.UNet2DConditionModel, folder, "unet", dtype),
        "vae": load_part(diffusers.AutoencoderKL, folder, "vae", torch.float32),
        "text_encoder": load_part(transformers.CLIPTextModel, folder, "text_encoder", dtype),
        "tokenizer": load_tokenizer(folder, "tokenizer"),
    }
    if family.text_encoders == 2:
        second = load_part(transformers.CLIPTextModelWithProjection, folder, "text_encoder_2", dtype)
        parts |= {"text_encoder_2": second, "tokenizer_2": load_tokenizer(folder, "tokenizer_2")}
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    files, _ = weight_files(folder / "unet")
    known = Recognised() if source.kind == "starter" else recognise(folder, source.title)
    return LoadedParts(source, family, parts, prediction_of_config(scheduler), scheduler, files, known)


def _from_file(source: Source, settings: Base, dtype: torch.dtype) -> LoadedParts:
    header = read_header(source.path)
    family = _agreed_family(family_of_file(header, source.path.name), settings, source.path)
    prediction = detect_prediction(header)
    tree = family.variant(prediction or "epsilon").tree
    parts = load_single_file(source.path, tree, dtype)
    scheduler = read_json(tree / "scheduler" / "scheduler_config.json")
    known = recognise(source.path, source.title)
    named = known.named
    scheduler["rescale_betas_zero_snr"] = "ztsnr" in header.shapes or (named is not None and named.zero_terminal_snr)
    return LoadedParts(source, family, parts, prediction, scheduler, [source.path], known)


def _agreed_family(found: Family, settings: Base, path: Path) -> Family:
    """The family in the settings if the weights allow it: only networks of unusual width leave a choice."""
    if settings.family in ("auto", found.name):
        return found
    chosen = get_family(settings.family)
    unusual = path.is_dir() and read_json(path / "unet" / "config.json").get("cross_attention_dim") not in (768, 1024)
    if unusual and chosen.text_encoders == found.text_encoders:
        return chosen
    raise VelaturaError(
        "base.family = {name}, but {file} holds {title} ({found}); leave it at `auto`",
        name=chosen.name,
        file=path.name,
        title=found.title,
        found=found.name,
    )


def _model(loaded: LoadedParts, prediction: Prediction, settings: Base, sha256: str) -> Model:
    parts, family = loaded.parts, loaded.family
    encoders = [name for name in ("text_encoder", "text_encoder_2") if name in parts]
    factor = _down_factor(parts["vae"].config)
    if loaded.source.kind == "file":
        # A single file does not contain it, and it differs between the family's variants.
        parts["unet"].register_to_config(sample_size=family.variant(prediction).resolution // factor)
    return Model(
        family=family,
        prediction=prediction,
        source=settings.model,
        title=loaded.source.title,
        sha256=sha256,
        starter=loaded.source.kind == "starter",
        resolution=parts["unet"].config.sample_size * factor,
        stride=factor * _down_factor(parts["unet"].config),
        unet=parts["unet"],
        vae=parts["vae"],
        text_encoders=tuple(parts[name] for name in encoders),
        tokenizers=tuple(parts[name.replace("text_encoder", "tokenizer")] for name in encoders),
        schedule=_schedule(loaded.scheduler, prediction, settings),
    )


def _schedule(scheduler: Mapping[str, Any], prediction: Prediction, settings: Base) -> NoiseSchedule:
    setting = settings.zero_terminal_snr
    rescale = bool(scheduler.get("rescale_betas_zero_snr")) if setting == "auto" else setting == "on"
    if rescale and prediction == "epsilon":
        if setting == "on":
            raise VelaturaError(
                "base.zero_terminal_snr = on needs a base that predicts v, since epsilon cannot be predicted from pure "
                "noise; this one predicts epsilon"
            )
        rescale = False
    return schedule_from_config({**scheduler, "rescale_betas_zero_snr": rescale}, prediction)


def _take_any_dtype(vae: Any) -> None:
    """Make the fp32 VAE accept latents and pixels in the UNet's dtype, as diffusers' pipelines pass them."""

    def cast(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[Any, ...]:
        return (args[0].to(vae.dtype), *args[1:])

    for module in (vae.encoder, vae.post_quant_conv, vae.decoder):
        if module is not None:
            module.register_forward_pre_hook(cast)
