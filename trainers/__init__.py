"""Train LoRA-family styles for diffusion models and generate images with them: the public API.

    from trainers import build_config, layers, train

Names are imported lazily, so importing this package is cheap. docs/library.md has examples; all other names in the
modules below may move.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.adapters.methods import METHODS as METHODS
    from trainers.adapters.network import attach as attach
    from trainers.adapters.targets import Targets as Targets
    from trainers.composition.apply import apply_styles as apply_styles
    from trainers.config.build import build_config as build_config
    from trainers.config.build import read_config as read_config
    from trainers.config.config import Config as Config
    from trainers.config.layers import layers as layers
    from trainers.config.presets import list_presets as list_presets
    from trainers.config.sections import Base as Base
    from trainers.errors import VelaturaError as VelaturaError
    from trainers.formats.inspect import describe_style as describe_style
    from trainers.formats.read import read_style as read_style
    from trainers.formats.write.style_file import write_style as write_style
    from trainers.models.load import load_model as load_model
    from trainers.runs.run import open_run as open_run
    from trainers.sampling.sample import SamplingParams as SamplingParams
    from trainers.sampling.sample import draw as draw
    from trainers.training.train import Result as Result
    from trainers.training.train import resume as resume
    from trainers.training.train import train as train

MODULES: Mapping[str, str] = MappingProxyType(
    {
        "METHODS": "trainers.adapters.methods",
        "Base": "trainers.config.sections",
        "Config": "trainers.config.config",
        "Result": "trainers.training.train",
        "SamplingParams": "trainers.sampling.sample",
        "Targets": "trainers.adapters.targets",
        "VelaturaError": "trainers.errors",
        "apply_styles": "trainers.composition.apply",
        "attach": "trainers.adapters.network",
        "build_config": "trainers.config.build",
        "describe_style": "trainers.formats.inspect",
        "draw": "trainers.sampling.sample",
        "layers": "trainers.config.layers",
        "list_presets": "trainers.config.presets",
        "load_model": "trainers.models.load",
        "open_run": "trainers.runs.run",
        "read_config": "trainers.config.build",
        "read_style": "trainers.formats.read",
        "resume": "trainers.training.train",
        "train": "trainers.training.train",
        "write_style": "trainers.formats.write.style_file",
    }
)
"""The module of each public name."""

__all__ = [*MODULES]


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
