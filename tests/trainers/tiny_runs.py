"""Small, quick, real runs: their images, their settings, and what they leave."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from trainers.adapters.method import LayerMethod, RankedMethod
from trainers.adapters.methods import METHODS as CLASSES
from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.config.tables import overlay
from trainers.runs.events import Event, read_events
from trainers.runs.run import Run
from trainers.training.train import Result, resume, train

CAPTIONS = {"fox": "a red fox, snow, trees, winter", "house": "a blue house", "moon": "the moon, night sky"}

SMALL: dict[str, dict[str, Any]] = {
    "lokr": {"rank": 3, "alpha": 2.0, "factor": 4},
    "krona": {"scale": 0.7},
    "vera": {"rank": 8},
    "dylora": {"rank": 4, "alpha": 3.0, "unit": 2},
    "adalora": {"rank": 3, "alpha": 20.0, "target_rank": 2, "interval": 1},
    "selora": {"rank": 3, "interval": 1, "threshold": 1.0},
    "oft": {"block_size": 4, "butterfly": True},
    "t-lora": {"rank": 4, "alpha": 3.0},
    "adapter": {"width": 3, "scale": 0.7},
    "krona-b": {"scale": 0.7, "residual": True},
    "vpt": {"tokens": 3},
}
"""Settings that make a method small and its runs quick; never α = r."""


def small_settings(name: str) -> dict[str, Any]:
    """A method's row of `SMALL`; rank 3 and alpha 2 for a method with these settings that has no row."""
    ranked = issubclass(CLASSES[name], RankedMethod)
    return {"name": name, **SMALL.get(name, {"rank": 3, "alpha": 2.0} if ranked else {})}


METHODS = {name: small_settings(name) for name in CLASSES}
"""Small settings of each method."""


def methods_without_form(forms: Iterable[object]) -> dict[str, LayerMethod]:
    """Small methods on layers, but those with a form among `forms`: so no list leaves a method out."""
    listed = {type(form) for form in forms}
    small = {name: CLASSES[name](**settings) for name, settings in METHODS.items()}
    return {
        name: method for name, method in small.items() if isinstance(method, LayerMethod) and type(method) not in listed
    }


EVERYTHING: dict[str, dict[str, Any]] = {
    "method": {"dropout": 0.2, "rank_dropout": 0.2, "module_dropout": 0.1},
    "targets": {"text_encoder": "attn"},
    "data": {"flip": True, "crop": "random", "caption_dropout": 0.2, "shuffle_tags": True},
    "train": {
        "steps": 5,
        "accumulation": 2,
        "ema": 0.9,
        "text_encoder_stop": 0.6,
        "schedule": "cosine",
        "warmup": 1,
        "gradient_checkpointing": True,
    },
    "loss": {"noise_offset": 0.1},
}
"""A run in which everything that could be drawn anew after a cut is drawn, and every kind of state is kept."""


def one(path: str, value: Any) -> dict[str, Any]:
    """A settings table with one value at a dotted path."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def both(*tables: Mapping[str, Any]) -> dict[str, Any]:
    """Settings tables laid over one another."""
    result: dict[str, Any] = {}
    for table in tables:
        result = overlay(result, table)
    return result


WORD = both(one("train.steps", 4), one("tokens.word", "<dusk>"))
ALONE = both(
    WORD,
    one("targets.unet", "none"),
    one("method", {"name": "lora", "rank": 16, "alpha": 16.0}),
    one("save.precision", "fp16"),
)
"""A word and nothing else; `method` and `save` as they are by default."""


def write_images(folder: Path, sizes: Mapping[str, tuple[int, int]] | None = None, captions: bool = True) -> Path:
    """Three pictures of different shapes and colours, no two of their halves alike, with captions."""
    folder.mkdir(parents=True)
    shapes = sizes or {"fox": (64, 64), "house": (96, 64), "moon": (64, 112)}
    for number, (name, size) in enumerate(shapes.items()):
        picture = Image.new("RGB", size, (40 + 70 * number, 200 - 60 * number, 90))
        pen = ImageDraw.Draw(picture)
        pen.ellipse((4, 6, size[0] // 2, size[1] // 2), fill=(250, 20 + 90 * number, 30))
        pen.line((0, size[1], size[0], size[1] // 3), fill=(10, 10, 60), width=3)
        picture.save(folder / f"{name}.png")
        if captions:
            (folder / f"{name}.txt").write_text(CAPTIONS[name], encoding="utf-8")
    return folder


def quick_settings(base: Path | str, images: Path, *layers: Mapping[str, Any]) -> Config:
    """A config of few and cheap steps on the CPU, with further tables laid over it."""
    quick = {
        "name": "dusk",
        "base": {"model": str(base)},
        "data": {"images": str(images), "resolution": 32, "caption_dropout": 0.0},
        "method": {"name": "lora", "rank": 3, "alpha": 2.0},
        "targets": {"unet": "cross-kv"},
        "train": {"steps": 2, "batch_size": 1, "learning_rate": 1e-2, "device": "cpu", "precision": "fp32"},
        "sample": {"prompts": ["a fox"], "every": 0, "steps": 1, "size": 16},
        "save": {"precision": "fp32"},
    }
    return build_config(quick, *layers)


def stopping_at(run: Run, step: int, seen: list[Event] | None = None) -> Callable[[Event], None]:
    """A listener that asks a run to stop once it has done `step` steps."""

    def listen(event: Event) -> None:
        if seen is not None:
            seen.append(event)
        if event["type"] == "step" and event["step"] == step:
            run.ask_to_stop()

    return listen


def cut_and_resume(config: Config, out: Path, *cuts: int) -> Result:
    """Train a config, stopping after some steps and resuming each time."""
    run = Run(out / config.name)
    result = train(config, out, listener=stopping_at(run, cuts[0]))
    assert (result.steps, result.stopped_by, result.grid) == (cuts[0], "request", None)
    for cut in cuts[1:]:
        assert resume(run, stopping_at(run, cut)).steps == cut
    return resume(run)


def style_tensors(style: Path) -> dict[str, Tensor]:
    return load_file(style)


def style_metadata(style: Path) -> dict[str, str]:
    with safe_open(style, "pt") as file:
        return dict(file.metadata())


def equal(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    """Whether the same names hold the same bits."""
    same_bits = (torch.equal(_bits(left[name]), _bits(right[name])) for name in left)
    return left.keys() == right.keys() and all(left[n].dtype == right[n].dtype for n in left) and all(same_bits)


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def state_of(run: Run, step: int) -> dict[str, Tensor]:
    """Every tensor and number of a checkpoint by name: network, optimizer and moving average."""
    folder = run.checkpoint(step)
    found = {f"network {name}": tensor for name, tensor in load_file(folder / "network.safetensors").items()}
    with contextlib.suppress(FileNotFoundError):
        found |= {f"average {name}": t for name, t in load_file(folder / "average.safetensors").items()}
    optimizer = torch.load(io.BytesIO((folder / "optimizer.pt").read_bytes()), weights_only=True)
    return found | dict(_leaves("optimizer", optimizer))


def _leaves(name: str, value: Any) -> list[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        return [(name, value.reshape(-1))]
    if isinstance(value, int | float):
        return [(name, torch.tensor([value], dtype=torch.float64))]
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [leaf for key, inner in pairs for leaf in _leaves(f"{name} {key}", inner)]


def events_of(run: Run, kind: str) -> list[Event]:
    return [event for event in read_events(run.folder) if event["type"] == kind]


def files_in(folder: Path) -> set[str]:
    """Every file below a folder, relative to it, hidden ones too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
