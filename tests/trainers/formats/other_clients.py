"""Networks to export, and the tools that load what was exported, on tiny bases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.trainers.hurry import copy_networks
from tests.trainers.models.ldm_names import unet_name
from trainers.adapters.method import LayerMethod
from trainers.adapters.network import Network, attach
from trainers.adapters.targets import BlockOverride, Targets
from trainers.errors import VelaturaError
from trainers.formats.write.core import write_style
from trainers.models.model import Model

# Every kind of layer, ranks of two sizes, and text encoders of which only some projections are trained.
MIXED = Targets(
    unet="full",
    text_encoder=("*.q_proj", "*.layers.1.*.v_proj", "*.fc2"),
    blocks={"mid_block.*": BlockOverride(rank=5)},
)
MIXED_WITHOUT_RANKS = MIXED.model_copy(update={"blocks": {}, "text_encoder": ("*.v_proj", "*.fc2")})


def mixed_for(method: LayerMethod) -> Targets:
    """Mixed targets with an override of the rank that the method takes, if it takes any."""
    if not hasattr(method, "rank"):
        return MIXED_WITHOUT_RANKS
    try:
        method.with_rank(5)
    except VelaturaError:  # of a method that wants even ranks
        return MIXED.model_copy(update={"blocks": {"mid_block.*": BlockOverride(rank=6)}})
    return MIXED


def parts_of(model: Model) -> dict[str, nn.Module]:
    """The parts that a style may change, by name."""
    encoders = dict(zip(("text_encoder", "text_encoder_2"), model.text_encoders, strict=False))
    return {"unet": model.denoiser, **encoders}


def own(model: Model) -> Model:
    """A copy whose layers a client may change."""
    unet, text_encoders = copy_networks((model.denoiser, model.text_encoders))
    return replace(model, denoiser=unet, text_encoders=text_encoders)


def trained(model: Model, method: LayerMethod, targets: Targets = MIXED) -> Network:
    """A network on the model's parts with every factor moved off its start."""
    network = attach(parts_of(model), method, targets, seed=7)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    return network


def write_trained(
    file: Path, model: Model, method: LayerMethod, targets: Targets = MIXED, metadata: Mapping[str, str] | None = None
) -> Path:
    """Write the style of a `trained` network, which does not stay on the model; the file."""
    network = trained(model, method, targets)
    network.remove()
    write_style(file, network, model.family.name, model.denoiser.config, metadata or {}, "fp32")
    return file


@torch.no_grad()
def cut(network: Network) -> None:
    """Give layers of methods that change their ranks ranks of every size, and some of them none at all."""
    for number, site in enumerate(network.sites):
        theta = site.placed[0].theta
        for name in ("lam", "g"):
            if name in theta:
                theta[name][: number % 4] = 0
        if "grown" in theta:
            theta["grown"].fill_(1 + number % 3)


@torch.no_grad()
def output(model: Model) -> Tensor:
    """What the text encoders say of fixed tokens, and the UNet of fixed noise with that as its text, `(n,)`."""
    ids = torch.randint(0, 8000, (2, 77), generator=torch.Generator().manual_seed(3))
    text = torch.cat([net(ids, output_hidden_states=True).hidden_states[-1] for net in model.text_encoders], -1)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(4))
    size = {"text_embeds": torch.full((2, 48), 0.3), "time_ids": torch.ones(2, 6)}
    added = {"added_cond_kwargs": size} if model.family.name == "sdxl" else {}
    picture = model.denoiser(latents, torch.tensor([300, 800]), text, **added).sample
    return torch.cat([text.flatten(), picture.flatten()])


def in_diffusers(model: Model, file: Path) -> Tensor:
    """The output of a diffusers pipeline with the file loaded as its documentation says."""
    from tests.pipelines import make_pipeline

    model = own(model)
    pipeline = make_pipeline(model)
    tensors = load_file(file)
    if any(".lokr_" in key for key in tensors):
        pipeline.unet.load_lora_adapter(str(file), prefix="unet", use_safetensors=True)
        pipeline.load_lora_weights({key: t for key, t in tensors.items() if key.startswith("text_encoder")})
    else:
        pipeline.load_lora_weights(str(file))
    for network in (model.denoiser, *model.text_encoders):
        network.eval()  # PEFT adds a training LoKr, which leaves out a layer once in 2²⁴ draws even if it drops none
    return output(model)


def in_lycoris(model: Model, file: Path) -> tuple[Tensor, int]:
    """The output with the file loaded by the LyCORIS library's kohya module, and how many layers it found."""
    from lycoris.kohya import create_network_from_weights

    model = own(model)
    unet = original_tree(model) if model.family.name == "sdxl" else model.denoiser
    # That library takes its names from `named_modules`, and its files' names still have transformers 4's `text_model`.
    encoders = [
        net if hasattr(net, "text_model") else nn.ModuleDict({"text_model": net}) for net in model.text_encoders
    ]
    with no_target_names():
        network, _ = create_network_from_weights(
            1.0, None, None, encoders if len(encoders) > 1 else encoders[0], unet, weights_sd=load_file(file)
        )
    layers = network.unet_loras + network.text_encoder_loras
    for layer in layers:
        layer.apply_to()
    return output(model), len(layers)


@contextmanager
def no_target_names() -> Iterator[None]:
    """LyCORIS finds some layers of diffusers' UNet twice, by class and by name, unless the names are taken away."""
    from lycoris.kohya import LycorisNetworkKohya

    before = LycorisNetworkKohya.UNET_TARGET_REPLACE_NAME
    LycorisNetworkKohya.UNET_TARGET_REPLACE_NAME = []
    try:
        yield
    finally:
        LycorisNetworkKohya.UNET_TARGET_REPLACE_NAME = before


def original_tree(model: Model) -> nn.Module:
    """The UNet's own layers under the module paths of the original (SGM) layout."""
    attentive = {i for i, kind in enumerate(model.denoiser.config["up_block_types"]) if "CrossAttn" in kind}
    root = nn.Module()
    for path, layer in model.denoiser.named_modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d | nn.GroupNorm | nn.LayerNorm):
            continue
        *parents, last = unet_name(f"{path}.weight", attentive).removesuffix(".weight").split(".")
        place = root
        for name in parents:
            if not hasattr(place, name):
                place.add_module(name, nn.Module())
            place = getattr(place, name)
        place.add_module(last, layer)
    return root
