"""Larger networks that begin as what a trained one does: new blocks add nothing yet, new latents say nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tools.starter.networks.autoencoder import Design, make_autoencoder
from trainers.errors import VelaturaError

QUIET = -4.0
"""Log-variance at which new latents begin: noise of a seventh of their size does not drown what they learn to say."""
AT_LATENTS = ("encoder.conv_out.", "quant_conv.", "post_quant_conv.", "decoder.conv_in.")


@torch.no_grad()
def grow_autoencoder(design: Design, trained: nn.Module) -> Any:
    """An autoencoder of this design that decodes as `trained` does, with more residual blocks or more latents.

    Raises VelaturaError if the design has other widths or fewer latents.
    """
    model = make_autoencoder(design)
    own: dict[str, Tensor] = model.state_dict()
    held = {name: value.float() for name, value in trained.state_dict().items()}
    added = {name.rsplit(".", 2)[0] for name in own.keys() - held.keys()}
    inner = {name: value for name, value in held.items() if not name.startswith(AT_LATENTS)}
    few = held["post_quant_conv.weight"].shape[0]
    fits = all(name in own and own[name].shape == value.shape for name, value in inner.items())
    if not fits or few > design.channels or not all(".resnets." in name for name in added):
        raise VelaturaError(f"An autoencoder of {design} cannot grow from the trained one; train it anew.")
    model.load_state_dict(inner, strict=False)
    for name in sorted(added):
        block = model.get_submodule(name)
        nn.init.zeros_(block.conv2.weight)
        nn.init.zeros_(block.conv2.bias)
    _place_latents(own, held, few, design.channels)
    return model


def _place_latents(own: dict[str, Tensor], held: dict[str, Tensor], few: int, many: int) -> None:
    """Fill the layers at the latents: the trained `few` come first, and the decoder hears nothing of the others yet.

    The encoder's last layers give `many` means, then `many` log-variances.
    """
    kept = [*range(few), *range(many, many + few)]
    own["encoder.conv_out.weight"][: 2 * few] = held["encoder.conv_out.weight"]
    own["encoder.conv_out.bias"][: 2 * few] = held["encoder.conv_out.bias"]
    matrix, shift = own["quant_conv.weight"], own["quant_conv.bias"]
    matrix[[*kept, *range(many + few, 2 * many)]] = 0
    matrix[kept, : 2 * few] = held["quant_conv.weight"]
    shift[many:] = QUIET
    shift[kept] = held["quant_conv.bias"]
    own["post_quant_conv.weight"].copy_(torch.eye(many)[..., None, None])
    own["post_quant_conv.weight"][:few, :few] = held["post_quant_conv.weight"]
    own["post_quant_conv.bias"].zero_()[:few] = held["post_quant_conv.bias"]
    own["decoder.conv_in.weight"].zero_()[:, :few] = held["decoder.conv_in.weight"]
    own["decoder.conv_in.bias"].copy_(held["decoder.conv_in.bias"])


@torch.no_grad()
def grow_denoiser(unet: Any, channels: int) -> Any:
    """The denoiser for so many latents: it neither hears nor predicts the new ones yet.

    Raises VelaturaError if there are fewer latents than before.
    """
    from diffusers import UNet2DConditionModel

    few = unet.config.in_channels
    if channels < few:
        raise VelaturaError(f"A denoiser of {few} latents cannot grow to {channels}; train one anew.")
    grown: Any = UNet2DConditionModel.from_config({**unet.config, "in_channels": channels, "out_channels": channels})
    held = {name: value.float() for name, value in unet.state_dict().items()}
    ends = {name: held.pop(name) for name in ("conv_in.weight", "conv_out.weight", "conv_out.bias")}
    grown.load_state_dict(held, strict=False)
    grown.conv_in.weight.zero_()[:, :few] = ends["conv_in.weight"]
    grown.conv_out.weight.zero_()[:few] = ends["conv_out.weight"]
    grown.conv_out.bias.zero_()[:few] = ends["conv_out.bias"]
    return grown
