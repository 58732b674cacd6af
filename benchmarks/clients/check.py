"""One method: train it for a few steps, draw with its files in every client that they are for, and compare."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.config.presets import STARTER, find_preset
from trainers.config.tables import overlay
from trainers.data.sample_sets import read_sets
from trainers.formats.read import OWN_FORM, Style, read_style
from trainers.models.files.source import starter_folder
from trainers.runs.run import Run
from trainers.training.train import train

Client = Literal["diffusers", "LyCORIS", "Velatura"]

ROOT = Path(__file__).parents[2]
STRANGER = Path(__file__).with_name("stranger.py")
SET = "black-line"
DRAWN = ("fox", "butterfly")
"""What is drawn; no image of the set shows it."""
STEPS = 12
FASTER = 6.0
"""Times the preset's learning rate, so that a few steps change the pictures."""
AS_FAST = ("oft",)
"""Trained at the preset's rate itself, since faster it draws noise."""
LOOKS = 12
"""Denoising steps."""
SHORT: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"selora": {"method": {"interval": 4}}, "dreambooth": {"prior": {"images": 4}}}
)
"""Settings that let so few steps show what a method is, and take no longer."""
FURTHEST = 1.0
"""The largest mean difference of a picture's channel, of 255, with which pictures are the same."""
LEAST_CHANGE = 4.0
"""The least mean change against the bare base, of 255, with which a file is not a file that does nothing."""


@dataclass(frozen=True)
class Load:
    """One way to load a style: a client, the files it reads, and the calls of diffusers."""

    client: Client
    files: tuple[str, ...]
    calls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """How far a client's pictures are from the trainer's, of 255 and at most over pictures and channels."""

    mean: float
    largest: int
    change: float
    """The mean difference between the trainer's picture and that of the bare base, at least over pictures."""

    @property
    def complaint(self) -> str:
        """What is wrong with it; empty if nothing is."""
        if self.mean > FURTHEST:
            return "other pictures"
        return "" if self.change >= LEAST_CHANGE else "too little change to tell"


def copy_base(scratch: Path) -> Path:
    """The starter as a base like any other, so that its styles say how they load elsewhere."""
    target = scratch / "base"
    shutil.rmtree(target, ignore_errors=True)
    left_out = shutil.ignore_patterns("samples.png")
    return Path(shutil.copytree(starter_folder(), target, ignore=left_out))


def train_shortly(method: str, base: Path, scratch: Path) -> Run:
    """A run of the method's preset with few, large steps."""
    table = find_preset(method).settings_for(STARTER)
    word = table.get("tokens", {}).get("word", "")
    train_table = {"steps": STEPS, "precision": "fp32", "device": "cpu"}
    if "learning_rate" in table["train"]:
        train_table["learning_rate"] = table["train"]["learning_rate"] * (1 if method in AS_FAST else FASTER)
    short = {
        "name": method,
        "base": {"model": str(base)},
        "data": {"images": str(read_sets()[SET].folder)},
        "train": train_table,
        "sample": {
            "prompts": [f"{word} {concept}".strip() for concept in DRAWN],
            "steps": LOOKS,
            "sampler": "ddim",
            "every": 0,
        },
        "save": {"every": 10_000},
    }
    config = build_config(overlay(overlay(table, short), SHORT.get(method, {})), {})
    return Run(train(config, scratch / "runs", overwrite=True).run)


def loads(style: Path, method: str) -> Iterator[Load]:
    """How a run's files are loaded: as its `how-to-load.txt` says in diffusers, else in LyCORIS, else here.

    Where diffusers has a file of its own, LyCORIS reads the other; the halves of a B-LoRA side by side are the whole.
    """
    core = style / f"{method}.safetensors"
    advice = (style / "how-to-load.txt").read_text(encoding="utf-8")
    calls = tuple(call for call in re.findall(r"`([^`]+)`", advice) if "pipe." in call)
    files = tuple(dict.fromkeys(re.findall(r'"([^"]+\.safetensors)"', " ".join(calls))))
    if calls:
        yield Load("diffusers", files, calls)
    if not calls or (core.exists() and core.name not in files):
        yield Load("LyCORIS" if in_lycoris(read_style(core)) else "Velatura", (core.name,))
    halves = [style / f"{method}-{half}.safetensors" for half in ("style", "content")]
    if halves[0].exists():
        names = [half.stem for half in halves]
        load = [f'pipe.load_lora_weights("{name}.safetensors", adapter_name="{name}")' for name in names]
        yield Load("diffusers", tuple(half.name for half in halves), (*load, f"pipe.set_adapters({names})"))


def in_lycoris(style: Style) -> bool:
    """Whether LyCORIS reads all of a file: it knows no form of our own, nor a scale and a shift of one layer."""
    layers = style.layers.values()
    shifted = any({"rescale", "diff_b"} <= set(tensors) for tensors in layers)
    return OWN_FORM not in style.metadata and not shifted


def draw(load: Load, run: Run, base: Path, out: Path) -> list[Path]:
    """The run's last pictures, drawn by a client in a process of its own; CalledProcessError says what it printed."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    config = run.config()
    pictures = [(prompt, seed) for prompt in config.sample.prompts for seed in config.sample.seeds]
    if load.client == "Velatura":
        for number, (prompt, seed) in enumerate(pictures):
            _run(_generate(config, run.style / load.files[0], prompt, seed, out / f"{number:02d}.png"))
    else:
        order = {
            "client": load.client.lower(),
            "base": str(base.resolve()),
            "style": str(run.style.resolve()),
            "file": load.files[0],
            "calls": load.calls,
            "pictures": pictures,
            "arguments": _arguments(config),
            "threads": torch.get_num_threads(),
            "out": str(out.resolve()),
        }
        (out / "order.json").write_text(json.dumps(order, indent=1), encoding="utf-8")
        _run([sys.executable, "-I", str(STRANGER), str(out / "order.json")])
    return sorted(out.glob("*.png"))


def _arguments(config: Config) -> dict[str, Any]:
    """A pipeline's arguments besides prompt and noise."""
    skipped = config.base.clip_skip - 1  # diffusers counts from none
    return {
        "negative_prompt": config.sample.negative,
        "num_inference_steps": config.sample.steps,
        "guidance_scale": config.sample.guidance,
        "clip_skip": skipped or None,
    }


def _generate(config: Config, style: Path, prompt: str, seed: int, out: Path) -> list[str]:
    drawn = {
        "style": style,
        "prompt": prompt,
        "seed": seed,
        "negative": config.sample.negative,
        "steps": config.sample.steps,
        "guidance": config.sample.guidance,
        "base": STARTER,  # in fp32, as the copy was trained on
        "out": out,
    }
    options = [text for name, value in drawn.items() for text in (f"--{name}", str(value))]
    return [sys.executable, "-m", "app.cli", "generate", *options]


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)


def compare(drawn: Sequence[Path], trainers: Sequence[Path], bare: Sequence[Path]) -> Found:
    """A client's pictures beside the trainer's, and those beside the bare base's."""
    apart = [np.abs(_pixels(a) - _pixels(b)) for a, b in zip(drawn, trainers, strict=True)]
    changes = [np.abs(_pixels(a) - _pixels(b)).mean() for a, b in zip(trainers, bare, strict=True)]
    mean = max(float(one.mean(axis=(0, 1)).max()) for one in apart)
    return Found(round(mean, 4), int(max(one.max() for one in apart)), round(float(min(changes)), 2))


def _pixels(path: Path) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.asarray(Image.open(path).convert("RGB"), np.int16)
