"""Loads a base model as frozen networks on a device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from trainers.config.sections import Base
from trainers.errors import VelaturaError, check_argument
from trainers.messages import Message as _
from trainers.models.bases.detect import family_of_file, family_of_folder
from trainers.models.bases.recognise import Recognised, licence_of, recognise, warning_of
from trainers.models.families import get_family
from trainers.models.families.family import NO_PARTS, Family, down_factor
from trainers.models.files.folder import has_weights, library_class, load_tokenizer, read_json, weight_files
from trainers.models.files.header import read_header
from trainers.models.files.hub import local_path
from trainers.models.files.other_bases import OtherBaseError
from trainers.models.files.single_file import load_single_file, shipped_tokenizer
from trainers.models.files.source import Source, find_source
from trainers.models.load_file import FileOfBase, find_own_tokenizer, load_file
from trainers.models.model import Model
from trainers.models.prediction import Prediction, prediction_of_output
from trainers.models.quiet import quietly
from trainers.models.storage.checkpoint import unread_checkpoint
from trainers.models.storage.packed import pack, packer_of
from trainers.models.storage.streaming import part_loader, read_unread
from trainers.models.storage.swap import keep_in_main_memory, waiting_layers
from trainers.randomness import generator

__all__ = ["Model", "load_model", "text_depth", "token_counter", "training_size", "why_not_trained"]

KINDS = {"epsilon": _("the noise (epsilon)"), "v_prediction": _("the velocity (v)")}
TESTED = _("The base does not say what its network predicts; a test of it has found {found}. base.prediction sets it.")
CONFIRMED = _("The base's name says v-prediction, but its files and a test of its network say {found}.")
CORRECTED = _("The base's files say that it predicts {stated}, but a test of its network found {found}, which holds.")
PROBE = 128
"""Side in pixels of the noise that probes the prediction type."""


@dataclass(frozen=True, eq=False)
class LoadedParts:
    """A base as loaded from its files; `parts` holds networks and tokenizers by name."""

    source: Source
    family: Family
    parts: Mapping[str, Any]
    prediction: Prediction | None
    scheduler: Mapping[str, Any]
    weights: Sequence[Path]
    known: Recognised


def import_libraries() -> None:
    """Import the libraries that load a base, which takes seconds the first time."""
    with quietly():
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

    assert AutoencoderKL and UNet2DConditionModel and CLIPTextModel and CLIPTokenizer


def load_model(settings: Base, dtype: torch.dtype, device: torch.device | str, sha256: str | None = None) -> Model:
    """Load the base model that `settings` names, frozen.

    Args:
        settings: The `[base]` section of a config; its `model` is `starter`, a hub id, a diffusers folder or a
            `.safetensors` file.
        dtype: The dtype of denoiser and text encoders; the VAE is always fp32. A packed base is read tensor by
            tensor onto the device, or moved there layer by layer, and quantised there from `dtype`.
        device: The device for all networks.
        sha256: The hash of the weights, if known; otherwise it is computed, which reads gigabytes.

    Returns:
        The networks in evaluation mode, tokenizers, noise schedule, and source.

    Raises:
        VelaturaError: The base does not exist, or its family is not supported.
    """
    check_argument("settings", settings, isinstance(settings, Base), 'Base(model="starter")')
    check_argument("dtype", dtype, isinstance(dtype, torch.dtype), "torch.float32")
    _check_device(device)
    source = find_source(settings.model)
    packer = packer_of(settings)
    with quietly():
        if source.kind == "file":
            loaded = _from_file(source, settings, dtype)
        else:
            loaded = _from_folder(source, settings, dtype, device)
    for name, network in loaded.parts.items():
        if isinstance(network, torch.nn.Module):
            network.requires_grad_(False).eval()
            waiting = waiting_layers(network, name, settings)
            read_unread(network, device, None if name == "vae" else packer, waiting)
            if packer is not None and name != "vae":
                pack(network, device, packer, waiting)
            keep_in_main_memory(network, name, settings, device)
            network.to(device)
    _take_any_dtype(loaded.parts["vae"])
    sha256 = sha256 or hash_files(loaded.weights)
    prediction, note = _prediction(loaded, settings, sha256)
    model = _model(loaded, prediction, settings, sha256)
    absent = [note for name, note in loaded.family.optional.items() if name not in loaded.parts]
    return replace(
        model, notes=tuple(filter(None, (note, *absent, warning_of(loaded.known), licence_of(loaded.known))))
    )


def _check_device(device: torch.device | str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise VelaturaError(
            'device = {device!r} cannot be used on this computer: {reason}; "cpu" always can',
            device=str(device),
            reason=str(error).splitlines()[0],
        ) from None


def _prediction(loaded: LoadedParts, settings: Base, sha256: str) -> tuple[Prediction, str]:
    """The prediction type from the settings, the files, or else a test of the network, and a note for the user.

    A test also decides between files that state epsilon and a name that states v: with the wrong type, a base draws
    black or grey pictures.
    """
    if settings.prediction != "auto":
        return settings.prediction, ""
    stated = loaded.prediction
    if stated is not None and not (stated == "epsilon" and loaded.known.is_called_velocity):
        return stated, ""
    probed = probe_prediction(_model(loaded, "epsilon", settings, sha256))
    if stated is None:
        return probed, TESTED.format(found=KINDS[probed])
    template = CONFIRMED if probed == stated else CORRECTED
    return probed, template.format(stated=KINDS[stated], found=KINDS[probed])


def training_size(model: str) -> tuple[int, int]:
    """Native resolution and stride in pixels of the base `model`, from its configs, without its weights.

    A single SD 2 file without prediction type counts as the 512 px variant. Raises VelaturaError as `load_model` does.
    """
    family, tree = find_configs(find_source(model).path)
    return family.sizes(*(read_json(tree / part / "config.json") for part in (family.denoiser, "vae")))


def why_not_trained(model: str) -> str:
    """Why Velatura does not train this kind of base; empty if it does, or if `model` is not on this computer."""
    path = local_path(model)
    try:
        if path is not None:
            find_configs(path)
    except OtherBaseError as error:
        return error.message
    except (VelaturaError, OSError, ValueError, KeyError):
        pass  # loading it raises the error
    return ""


def text_depth(model: str) -> int:
    """Number of layers of the shallowest trained text encoder of the base `model`, from its configs; 0 if unknown."""
    family, tree = find_configs(find_source(model).path)
    configs = (tree / name / "config.json" for name in family.trained_encoders)
    return min((read_json(path).get("num_hidden_layers", 0) for path in configs if path.is_file()), default=0)


def token_counter(model: str, sizes: Mapping[str, int] | None = None) -> Callable[[str], int]:
    """A function that counts a caption's tokens, without start and end, for the base `model`; loads no weights.

    `sizes` holds the number of tokens of each added word.
    """
    path = find_source(model).path
    family, tree = find_configs(path)
    name = family.counting_tokenizer
    if path.is_file():
        # T5's may not have been found yet; CLIP's count is close.
        tokenizer = find_own_tokenizer(family, name, path, tree) or shipped_tokenizer(
            tree, next(iter(family.tokenizers))
        )
    else:
        tokenizer = load_tokenizer(tree, name, family.tokenizers[name])
    return lambda caption: family.count_tokens(tokenizer, caption, sizes or {})


def find_configs(path: Path) -> tuple[Family, Path]:
    """A base's family, and the folder of its configs in diffusers layout; for a file, the bundled one."""
    if path.is_file():
        header = read_header(path)
        family = family_of_file(header, path.name)
        return family, family.variant_of_file(header).tree
    return family_of_folder(path), path


def probe_prediction(model: Model) -> Prediction:
    """The network's prediction type, from its output for noise at the last timestep without a caption."""
    side = PROBE // model.vae_factor
    shape = (4, model.latent_channels, side, side)
    noise = torch.randn(shape, generator=generator("probe what a base predicts")).to(model.device)
    t = torch.full((4,), model.schedule.steps - 1, device=model.device)
    with torch.no_grad():
        sizes = [(PROBE, PROBE)] * 4
        output = model.predict(noise, t, model.encode([""] * 4), model.time_ids(sizes, [(0, 0)] * 4, sizes))
    return prediction_of_output(noise, output)


def hash_files(files: Sequence[Path]) -> str:
    """SHA-256 (hex) of the concatenated files, read in pieces."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while piece := file.read(2**22):
                digest.update(piece)
    return digest.hexdigest()


def _from_folder(source: Source, settings: Base, dtype: torch.dtype, device: torch.device | str) -> LoadedParts:
    folder, load = source.path, part_loader(settings, device)
    family = _agreed_family(family_of_folder(folder), settings, folder)
    if settings.parts:
        raise VelaturaError("base.parts has no effect on a folder, which holds all parts; remove it")
    absent = [name for name in family.optional if not has_weights(folder / name)]
    parts = {
        name: load(library_class(kind), folder, name, torch.float32 if name == "vae" else dtype)
        for name, kind in family.networks.items()
        if name not in absent
    }
    parts |= {
        name: load_tokenizer(folder, name, family.tokenizers[name])
        for encoder, name in family.tokenizer_of.items()
        if encoder not in absent
    }
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    files, _ = weight_files(folder / family.denoiser)
    known = Recognised() if source.kind == "starter" else recognise(folder, source.title)
    return LoadedParts(source, family, parts, family.prediction_of_scheduler(scheduler), scheduler, files, known)


def _from_file(source: Source, settings: Base, dtype: torch.dtype) -> LoadedParts:
    header = read_header(source.path)
    family = _agreed_family(family_of_file(header, source.path.name), settings, source.path)
    prediction, tree = family.prediction_of_file(header), family.variant_of_file(header).tree
    if family.part_sources:
        named = [Path(part).expanduser() for part in settings.parts]
        parts = load_file(family, FileOfBase(source.path, tree, named, dtype))
    elif family.denoiser == "unet":
        if settings.parts:
            raise VelaturaError(NO_PARTS.format(title=family.title))
        unread = None if settings.storage == "full" else unread_checkpoint(source.path, family, tree, dtype)
        parts = load_single_file(source.path, tree, dtype, unread)
    else:
        raise VelaturaError(
            "{name} holds a transformer alone; give a folder in diffusers layout", name=source.path.name
        )
    scheduler = read_json(tree / "scheduler" / "scheduler_config.json")
    known = recognise(source.path, source.title)
    to_noise = known.named is not None and known.named.zero_terminal_snr
    scheduler["rescale_betas_zero_snr"] = "ztsnr" in header.shapes or to_noise
    return LoadedParts(source, family, parts, prediction, scheduler, [source.path], known)


def _agreed_family(detected: Family, settings: Base, path: Path) -> Family:
    """The family in the settings if the weights allow it: only networks of unusual width leave a choice."""
    if settings.family in ("auto", detected.name):
        return detected
    chosen = get_family(settings.family)
    if path.is_dir() and chosen.denoiser == detected.denoiser:
        config = read_json(path / chosen.denoiser / "config.json")
        if chosen.may_own(config) and detected.may_own(config):
            return chosen
    raise VelaturaError(
        "base.family = {name}, but {file} holds {title} ({found}); leave it at `auto`",
        name=chosen.name,
        file=path.name,
        title=detected.title,
        found=detected.name,
    )


def _model(loaded: LoadedParts, prediction: Prediction, settings: Base, sha256: str) -> Model:
    parts, family = loaded.parts, loaded.family
    denoiser, vae = parts[family.denoiser], parts["vae"]
    if loaded.source.kind == "file":
        # A single file lacks the resolution, which differs between variants.
        resolution = family.variant(prediction, denoiser.config).resolution
        family.note_size(denoiser, resolution, down_factor(vae.config))
    resolution, stride = family.sizes(denoiser.config, vae.config)
    return Model(
        family=family,
        prediction=prediction,
        source=settings.model,
        title=loaded.source.title,
        sha256=sha256,
        starter=loaded.source.kind == "starter",
        resolution=resolution,
        stride=stride,
        denoiser=denoiser,
        vae=vae,
        text_encoders=tuple(parts[name] for name in family.encoders if name in parts),
        tokenizers=tuple(parts[name] for name in family.tokenizers if name in parts),
        schedule=family.schedule(loaded.scheduler, prediction, settings),
        guidance=settings.guidance,
    )


def _take_any_dtype(vae: Any) -> None:
    """Make the fp32 VAE accept latents and pixels in the denoiser's dtype, which diffusers' pipelines pass."""

    def cast(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[Any, ...]:
        return (args[0].to(vae.dtype), *args[1:])

    for module in (vae.encoder, vae.post_quant_conv, vae.decoder):
        if module is not None:
            module.register_forward_pre_hook(cast)
