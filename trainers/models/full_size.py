"""Builds full-size networks from bundled configs on torch's meta device."""

from __future__ import annotations

import importlib
import json
from typing import Any, Literal

import torch
from torch import nn

from trainers.errors import VelaturaError
from trainers.models.files.configs import config_tree
from trainers.models.quiet import quietly

Part = Literal["unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3"]


def build_on_meta(tree: str, part: Part) -> nn.Module:
    """The network `part` of the bundled config tree `tree`, such as `sdxl`; VelaturaError if the tree has none."""
    file = config_tree(tree) / part / "config.json"
    if not file.is_file():
        raise VelaturaError("there is no {part!r} in a {tree!r} base", part=part, tree=tree)
    return build_from_config(json.loads(file.read_text("utf-8")))


def build_from_config(config: dict[str, Any]) -> nn.Module:
    """The network of a diffusers or transformers config, on the meta device."""
    # Both replace themselves while they are imported: an `import` of another thread gets what they replace.
    diffusers, transformers = (importlib.import_module(name) for name in ("diffusers", "transformers"))
    with quietly(), torch.device("meta"):  # diffusers imports its classes on access
        if "_class_name" in config:
            return getattr(diffusers, config["_class_name"]).from_config(config)
        network = getattr(transformers, config["architectures"][0])
        return network(network.config_class(**config))
