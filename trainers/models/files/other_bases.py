"""Recognises bases that Velatura does not train by their classes and layers: the table `presets/other_bases.toml`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from trainers.config.tables import read_toml
from trainers.errors import VelaturaError
from trainers.messages import Message
from trainers.messages import Message as _
from trainers.models.files.folder import read_json
from trainers.models.files.header import read_header

INDEXES = ("model_index.json", "modular_model_index.json")
"""Files in a base's folder that may name its pipeline; the first that exists counts."""
PREFIXES = (
    *("model.diffusion_model.", "diffusion_model.", "base_model.model.", "net.", "transformer."),
    *("lora_unet_", "lora_transformer_", "lycoris_"),
)
"""Prefixes of a denoiser's layer names in files."""
CONDITION = re.compile(r"(?P<absent>!?)(?P<name>[^\[=]+)(?:\[(?P<axis>\d)\]=(?P<sizes>[\d|]+))?")
NOT_YET = _("which Velatura does not train yet; the nearest base that it trains is {nearest}")
NOT = _("which Velatura does not train; the nearest base that it trains is {nearest}")
NO_IMAGES = _("which does not make images from text by itself, so Velatura does not train it")

Layers = Mapping[str, tuple[int, ...]]
"""Shapes of weights by layer name, as returned by `_plain`."""


class OtherBaseError(VelaturaError):
    """A base is of a kind that Velatura does not train."""


@dataclass(frozen=True)
class OtherBase:
    """A kind of base that Velatura does not train: a row of the table, where the columns are documented."""

    name: str
    nearest: str = ""
    yet: bool = False
    pipelines: Sequence[str] = ()
    networks: Sequence[str] = ()
    keys: Sequence[str] = ()
    styles: Sequence[str] = ()

    @property
    def reason(self) -> Message:
        """The end of an error sentence, which names the nearest base that Velatura trains."""
        return (NOT_YET if self.yet else NOT).format(nearest=self.nearest) if self.nearest else NO_IMAGES

    def refuse_base(self, file: str) -> OtherBaseError:
        """The error for a base of this kind in a file or folder with this name."""
        return OtherBaseError("{file} is {name}, {reason}", file=file, name=self.name, reason=self.reason)

    def refuse_style(self, file: str) -> OtherBaseError:
        """The error for a style made for a base of this kind."""
        return OtherBaseError("{file} is a style for {name}, {reason}", file=file, name=self.name, reason=self.reason)


@cache
def list_other_bases() -> tuple[OtherBase, ...]:
    """All rows of the table, in its order."""
    table = read_toml(Path(str(files("presets"))) / "other_bases.toml")
    rows: list[dict[str, Any]] = table["base"]
    return tuple(OtherBase(**row) for row in rows)


def other_by_part(part: Path) -> OtherBase | None:
    """The kind of a denoiser's folder, by its config, or by its layers if there is no config."""
    if (part / "config.json").is_file():
        config = read_json(part / "config.json")
        networks = ((base, mark) for base in list_other_bases() for mark in base.networks)
        return next((base for base, mark in networks if _is_network(mark, config, part.parent)), None)
    shapes: dict[str, tuple[int, ...]] = {}
    for file in part.glob("*.safetensors"):
        shapes |= read_header(file).shapes
    return other_in_file(shapes)


def other_by_index(folder: Path) -> OtherBase | None:
    """The kind of a base's folder, by the class of its pipeline alone."""
    pipeline = pipeline_of(folder)
    fitting = (base for base in list_other_bases() if any(fnmatchcase(pipeline, mark) for mark in base.pipelines))
    return next(fitting, None)


def pipeline_of(folder: Path) -> str:
    """The class of a folder's pipeline; empty without an index."""
    index = next((folder / name for name in INDEXES if (folder / name).is_file()), None)
    return "" if index is None else str(read_json(index).get("_class_name", ""))


def other_in_file(shapes: Mapping[str, tuple[int, ...]]) -> OtherBase | None:
    """The kind of a checkpoint with tensors of these shapes."""
    layers: dict[str, tuple[int, ...]] = {}
    for key, shape in shapes.items():
        path, _dot, kind = key.rpartition(".")
        if kind in ("weight", "bias"):
            name = _plain(path)
            layers[name] = shape if kind == "weight" else layers.get(name, shape)
        else:
            layers[_plain(key)] = shape
    return next((base for base in list_other_bases() if any(_holds(mark, layers) for mark in base.keys)), None)


def other_of_style(shapes: Mapping[str, tuple[int, ...]]) -> OtherBase | None:
    """The kind of base of a style, from the names and (outputs, inputs) of the layers that it changes."""
    layers = {_plain(name): shape for name, shape in shapes.items()}
    rows = ((base, base.styles or base.keys) for base in list_other_bases())
    return next((base for base, marks in rows if any("!" not in mark and _holds(mark, layers) for mark in marks)), None)


def other_by_name(names: Iterable[str]) -> OtherBase | None:
    """The kind of base with one of these names, such as `flux-2-klein-9b` or `qwen_image`.

    Skips kinds that share their name with a supported base, such as FLUX.1 Fill.
    """
    lower = [name.lower() for name in names]
    bases = (base for base in list_other_bases() if not _letters(base.name).startswith(_letters(base.nearest) or "-"))
    return next((base for base in bases if any(map(_beginning(base.name).match, lower))), None)


# ---------------------------------------------------------------- within
def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _beginning(name: str) -> re.Pattern[str]:
    """Matches names that begin with this one, with any separators: `flux2-dev`, but not Animagine for Anima."""
    letters = _letters(name)
    return re.compile("[^a-z0-9]*".join(letters) + ("(?![0-9])" if letters[-1].isdigit() else "(?![a-z])"))


def _plain(name: str) -> str:
    """A layer's name without the files' prefixes, with underscores like kohya's names."""
    while prefix := next(filter(name.startswith, PREFIXES), ""):
        name = name.removeprefix(prefix)
    return name.replace(".", "_")


def _is_network(mark: str, config: Mapping[str, Any], folder: Path) -> bool:
    """Whether a network has the class and meets the conditions of a mark, from its config and its base's folder."""
    name, *conditions = mark.split()
    entries = (condition.partition("=") for condition in conditions if not condition.endswith("/"))
    return (
        fnmatchcase(str(config.get("_class_name", "")), name)
        and all((folder / condition).is_dir() for condition in conditions if condition.endswith("/"))
        and all(str(config.get(key)) == value for key, _, value in entries)
    )


def _holds(mark: str, layers: Layers) -> bool:
    """Whether all conditions of a mark hold for these layers."""
    return all(_is_met(condition, layers) for condition in mark.split())


def _is_met(condition: str, layers: Layers) -> bool:
    parts = CONDITION.fullmatch(condition)
    assert parts is not None, condition
    name = parts["name"].replace(".", "_")
    if "*" in name:
        shapes = [shape for layer, shape in layers.items() if fnmatchcase(layer, name)]
    else:
        shapes = [layers[name]] if name in layers else []
    if parts["axis"] is None:
        return bool(shapes) != bool(parts["absent"])
    axis, sizes = int(parts["axis"]), set(map(int, parts["sizes"].split("|")))
    return any(axis < len(shape) and shape[axis] in sizes for shape in shapes)
