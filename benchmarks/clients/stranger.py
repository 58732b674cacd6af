"""Draws with a style as its user would, in a process that has none of Velatura's code.

python -I stranger.py ORDER       ORDER is a JSON file: what to load, on which base, what to draw
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn


def main(order_file: str) -> None:
    """Draw an order's pictures into its folder, `00.png` and so on."""
    order: dict[str, Any] = json.loads(Path(order_file).read_text(encoding="utf-8"))
    torch.set_num_threads(order["threads"])
    pipe = _pipeline(order["base"])
    os.chdir(order["style"])  # the calls name files as `how-to-load.txt` does
    if order["client"] == "diffusers":
        for call in order["calls"]:
            exec(call, {"pipe": pipe, "safetensors": safetensors, "torch": torch})
    else:
        _load_in_lycoris(pipe, order["file"])
    for number, (prompt, seed) in enumerate(order["pictures"]):
        arguments = {**order["arguments"], "generator": torch.Generator().manual_seed(seed)}
        pipe(prompt, **arguments).images[0].save(Path(order["out"]) / f"{number:02d}.png")
    assert not {"trainers", "app", "presets", "benchmarks"} & set(sys.modules)


def _pipeline(base: str) -> Any:
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _load_in_lycoris(pipe: Any, file: str) -> None:
    """Put a file on the pipeline's networks by the LyCORIS library's loader for kohya's files."""
    from lycoris.kohya import LycorisNetworkKohya, create_network_from_weights

    # It finds some layers of diffusers' UNet twice, by class and by name.
    LycorisNetworkKohya.UNET_TARGET_REPLACE_NAME = []
    # Files name text encoders' layers as transformers 4 did.
    encoder = pipe.text_encoder
    encoder = encoder if hasattr(encoder, "text_model") else nn.ModuleDict({"text_model": encoder})
    network, tensors = create_network_from_weights(1.0, file, pipe.vae, encoder, pipe.unet)
    layers = {key.split(".")[0] for key in tensors}
    network.apply_to(encoder, pipe.unet, apply_text_encoder=True, apply_unet=True)
    assert len(network.loras) == len(layers), f"{len(network.loras)} of {len(layers)} layers were found"


if __name__ == "__main__":
    main(*sys.argv[1:])
