"""Writes the style file of a network on a base, or on any other module."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.config.names import check_name
from trainers.errors import VelaturaError, check_argument
from trainers.formats.pack import DTYPES, Precision
from trainers.formats.write import core
from trainers.formats.write.metadata import base_metadata
from trainers.messages import Message

if TYPE_CHECKING:
    from trainers.adapters.network import Network
    from trainers.models.model import Model


def write_style(network: Network, path: Path | str, model: Model | None = None, precision: Precision = "fp16") -> None:
    """Write a network's change as a style file, for `read_style` and `apply_styles`; warn if it changes nothing.

    Args:
        network: The network from `attach`.
        path: The `.safetensors` file; an existing one is replaced.
        model: The base from `load_model`, so that other programs load the file too; None for modules of your own, whose
            file `apply_styles` takes with the family "".
        precision: The number format, `fp16`, `bf16` or `fp32`; layers for which 16 bits are too coarse are in fp32.

    Returns:
        Nothing; the file needs neither the method nor its settings to be loaded.

    Raises:
        VelaturaError: The precision is unknown, a number is not finite, the methods on one layer have no format, or the
            file cannot be written.
    """
    check_argument("network", network, hasattr(network, "sites"), "attach(…)")
    check_argument("model", model, model is None or hasattr(model, "family"), "load_model(…)")
    path = Path(path)
    if precision not in DTYPES:
        names = ", ".join(DTYPES)
        raise VelaturaError("{precision!r} is not one of {names}", precision=precision, names=names)
    if path.suffix != ".safetensors":
        raise VelaturaError("{path} is not a name for a style file; end it with .safetensors", path=path)
    try:
        metadata = {} if model is None else base_metadata(check_name(path.stem), model, time.time())
    except ValueError as error:
        raise VelaturaError(Message.of(error.args[0])) from None
    if (idle := core.describe_idle(network, precision)) is not None:
        warnings.warn(idle, stacklevel=2)
    family, config = ("", {}) if model is None else (model.family.name, model.config)
    core.write_style(path, network, family, config, metadata, precision)
