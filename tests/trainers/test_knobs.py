"""No knob without effect: every leaf of the config changes weights, pictures or files, or is refused.

Each leaf has one case: the settings in which it matters and the value that it changes to. A new setting has none and
fails until it has one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from tests.tiny import tiny_weights
from tests.trainers.runs import equal, files_in, quick_settings, style_metadata, style_tensors, write_images
from trainers.adapters import METHODS
from trainers.config import BlockOverride, Config, Section
from trainers.config_file import overlay
from trainers.errors import VelaturaError
from trainers.train import train

pytestmark = pytest.mark.usefixtures("quick_collection")


@dataclass
class Outcome:
    """What a run left: the style's tensors and metadata, the pictures' bytes, the files' names."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    pictures: dict[str, bytes]
    files: set[str]
    saved: int
    """Numbers that autograd kept for backward."""


@dataclass(frozen=True)
class Case:
    """`changes` says what the change shows in: `weights`, `pictures`, a test of two outcomes, or words of a refusal."""

    change: Mapping[str, Any]
    changes: str | Callable[[Outcome, Outcome], bool] = "weights"
    within: Mapping[str, Any] = field(default_factory=dict)


def one(path: str, value: Any) -> dict[str, Any]:
    """A settings table with one value at a dotted path."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def both(*tables: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for table in tables:
        result = overlay(result, table)
    return result


def refused(words: str) -> str:
    return f"refused: {words}"


def metadata(key: str, value: str) -> Callable[[Outcome, Outcome], bool]:
    return lambda before, after: before.metadata.get(key) != after.metadata[key] == value


def checkpoints(outcome: Outcome) -> set[str]:
    return {name.split("/")[1] for name in outcome.files if name.startswith("checkpoints/")}


def leaves() -> Iterator[str]:
    """Every setting's dotted name; a method's come with the method's own name."""
    yield from _leaves(Config, "")
    for method, kind in METHODS.items():
        yield from (f"{method}.{each.name}" for each in fields(kind))


def _leaves(section: type[Section], prefix: str) -> Iterator[str]:
    for name, info in section.model_fields.items():
        if name == "method":
            continue
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield from _leaves(info.annotation, f"{prefix}{name}.")
        elif name == "blocks":
            yield from (f"{prefix}{name}.{each}" for each in BlockOverride.model_fields)
        else:
            yield f"{prefix}{name}"


TEXT = one("targets.text_encoder", "attn")
STEPS = one("train.steps", 4)
CONVOLUTIONS = one("targets.unet", ["mid_block.resnets.0.conv1", "mid_block.resnets.1.conv1"])
LOHA = one("method", {"name": "loha", "rank": 2})
LOKR = one("method", {"name": "lokr", "rank": 2})
THIN_LOKR = one("method", {"name": "lokr", "rank": 2, "full_matrix": False})
LARGER = one("data.resolution", 64)
LONG = one("data.caption", "a fox, " * 60)

CASES: dict[str, Case] = {
    "schema_version": Case(one("schema_version", 2), refused("schema_version")),
    "name": Case(one("name", "dawn"), lambda _, after: "style/dawn.safetensors" in after.files),
    "seed": Case(one("seed", 1)),
    "base.model": Case(one("base.model", "{other base}")),
    "base.family": Case(one("base.family", "sd2"), metadata("ss_base_model_version", "sd_v2")),
    "base.prediction": Case(one("base.prediction", "v_prediction")),
    "base.zero_terminal_snr": Case(one("base.zero_terminal_snr", "on"), within=one("base.prediction", "v_prediction")),
    "base.clip_skip": Case(one("base.clip_skip", 2)),
    "data.images": Case(one("data.images", "{bare}")),
    "data.resolution": Case(one("data.resolution", 48)),
    "data.max_aspect": Case(one("data.max_aspect", 1.0), within=LARGER),
    "data.max_upscale": Case(one("data.max_upscale", 4.0), within=both(LARGER, one("data.images", "{small}"))),
    "data.crop": Case(one("data.crop", "random"), within=STEPS),
    "data.flip": Case(one("data.flip", True), within=STEPS),
    "data.repeats": Case(one("data.repeats", 2), within=STEPS),
    "data.transparency": Case(one("data.transparency", "mask"), within=one("data.images", "{transparent}")),
    "data.trigger": Case(one("data.trigger", "in dusk style")),
    "data.caption": Case(one("data.caption", "a drawing of {name}"), within=one("data.images", "{bare}")),
    "data.caption_dropout": Case(one("data.caption_dropout", 1.0)),
    "data.shuffle_tags": Case(one("data.shuffle_tags", True), within=STEPS),
    "data.keep_tags": Case(one("data.keep_tags", 4), within=both(STEPS, one("data.shuffle_tags", True))),
    "data.chunks": Case(one("data.chunks", 2), within=both(LONG, one("data.images", "{bare}"))),
    "data.cache": Case(
        one("data.cache", False),
        lambda before, after: (
            any(name.startswith("cache/latents") for name in before.files)
            and any(name.startswith("cache/text") for name in before.files)
            and not any(name.startswith("cache") for name in after.files)
            and equal(before.tensors, after.tensors)
        ),
    ),
    "targets.unet": Case(one("targets.unet", "attn")),
    "targets.text_encoder": Case(TEXT),
    "targets.blocks.rank": Case(one("targets.blocks", {"mid_block.*": {"rank": 2}})),
    "targets.blocks.learning_rate": Case(one("targets.blocks", {"mid_block.*": {"learning_rate": 0.5}})),
    "loss.kind": Case(one("loss.kind", "huber")),
    "loss.huber_delta": Case(one("loss.huber_delta", 0.5), within=one("loss.kind", "huber")),
    "loss.min_snr_gamma": Case(one("loss.min_snr_gamma", 1.0)),
    "loss.noise_offset": Case(one("loss.noise_offset", 0.1)),
    "loss.timestep_bias": Case(one("loss.timestep_bias", 1.0)),
    "train.steps": Case(one("train.steps", 3)),
    "train.batch_size": Case(one("train.batch_size", 2)),
    "train.accumulation": Case(one("train.accumulation", 2)),
    "train.learning_rate": Case(one("train.learning_rate", 2e-2)),
    "train.text_encoder_learning_rate": Case(one("train.text_encoder_learning_rate", 1e-3), within=TEXT),
    "train.text_encoder_stop": Case(one("train.text_encoder_stop", 0.5), within=TEXT),
    "train.optimizer": Case(one("train.optimizer", "lion")),
    "train.weight_decay": Case(one("train.weight_decay", 0.5)),
    "train.schedule": Case(one("train.schedule", "cosine")),
    "train.warmup": Case(one("train.warmup", 1)),
    "train.max_grad_norm": Case(one("train.max_grad_norm", 1e-6)),
    "train.gradient_checkpointing": Case(
        one("train.gradient_checkpointing", True),
        lambda before, after: after.saved < 0.5 * before.saved and equal(before.tensors, after.tensors),
    ),
    "train.precision": Case(one("train.precision", "bf16")),
    "train.device": Case(one("train.device", "cuda:99"), refused("train.device = 'cuda:99' is not available")),
    "train.ema": Case(one("train.ema", 0.9)),
    "train.tracker": Case(
        one("train.tracker", "tensorboard"),
        lambda before, after: any("tfevents" in name for name in after.files - before.files),
    ),
    "sample.prompts": Case(one("sample.prompts", ["a boat"]), "pictures"),
    "sample.negative": Case(one("sample.negative", "snow"), "pictures"),
    "sample.seeds": Case(one("sample.seeds", [2]), "pictures"),
    "sample.every": Case(one("sample.every", 1), lambda _, after: "samples/step-00000001/00.png" in after.files),
    "sample.steps": Case(one("sample.steps", 2), "pictures"),
    "sample.guidance": Case(one("sample.guidance", 1.5), "pictures"),
    "sample.size": Case(one("sample.size", 32), "pictures"),
    "sample.sampler": Case(one("sample.sampler", "euler"), "pictures", within=one("sample.steps", 2)),
    "save.precision": Case(
        one("save.precision", "fp16"),
        lambda _, after: {t.dtype for t in after.tensors.values() if t.dim()} == {torch.float16},
    ),
    "save.every": Case(
        one("save.every", 2),
        lambda before, after: (
            checkpoints(before) == {"step-00000003", "step-00000004"}
            and checkpoints(after) == {"step-00000002", "step-00000004"}
        ),
        within=STEPS,
    ),
    "save.keep": Case(one("save.keep", 1), lambda _, after: checkpoints(after) == {"step-00000002"}),
    "save.title": Case(one("save.title", "Dusk II"), metadata("modelspec.title", "Dusk II")),
    "save.author": Case(one("save.author", "A. Painter"), metadata("modelspec.author", "A. Painter")),
    "save.description": Case(one("save.description", "warm"), metadata("modelspec.description", "warm")),
    "save.licence": Case(one("save.licence", "CC0-1.0"), metadata("modelspec.license", "CC0-1.0")),
    "save.tags": Case(
        one("save.tags", False),
        lambda before, after: "ss_tag_frequency" in before.metadata and "ss_tag_frequency" not in after.metadata,
    ),
    "lora.name": Case(LOHA),
    "lora.rank": Case(one("method.rank", 4)),
    "lora.alpha": Case(one("method.alpha", 1.0)),
    "lora.dropout": Case(one("method.dropout", 0.5)),
    "lora.rank_dropout": Case(one("method.rank_dropout", 0.5)),
    "lora.module_dropout": Case(one("method.module_dropout", 0.5)),
    "lora.rslora": Case(one("method.rslora", True)),
    "lora.dora": Case(one("method.dora", True)),
    "lora.plus_ratio": Case(one("method.plus_ratio", 4.0)),
    "loha.name": Case(LOKR, within=LOHA),
    "loha.rank": Case(one("method.rank", 3), within=LOHA),
    "loha.alpha": Case(one("method.alpha", 1.0), within=LOHA),
    "loha.dropout": Case(one("method.dropout", 0.5), within=LOHA),
    "loha.rank_dropout": Case(one("method.rank_dropout", 0.5), within=LOHA),
    "loha.module_dropout": Case(one("method.module_dropout", 0.5), within=LOHA),
    "loha.tucker": Case(one("method.tucker", True), within=both(LOHA, CONVOLUTIONS)),
    "lokr.name": Case(LOHA, within=LOKR),
    "lokr.rank": Case(one("method.rank", 3), within=LOKR),
    "lokr.alpha": Case(one("method.alpha", 1.0), within=LOKR),
    "lokr.dropout": Case(one("method.dropout", 0.5), within=LOKR),
    "lokr.rank_dropout": Case(one("method.rank_dropout", 0.5), within=THIN_LOKR),
    "lokr.module_dropout": Case(one("method.module_dropout", 0.5), within=LOKR),
    "lokr.full_matrix": Case(one("method.full_matrix", False), within=LOKR),
    "lokr.factor": Case(one("method.factor", 4), within=LOKR),
    "lokr.decompose_both": Case(one("method.decompose_both", True), within=LOKR),
    "lokr.tucker": Case(one("method.tucker", True), within=both(THIN_LOKR, CONVOLUTIONS)),
}


class Bench:
    """Runs settings and remembers what came of them, so that a context's own run is made once."""

    def __init__(self, root: Path, base: Path):
        self._root, self._base = root, base
        self._done: dict[str, Outcome] = {}
        self._places = {
            "{other base}": _other_base(base, root / "other"),
            "{bare}": write_images(root / "bare", captions=False),
            "{small}": write_images(root / "small", {"fox": (32, 32), "house": (40, 36)}),
            "{transparent}": _transparent(write_images(root / "transparent")),
            "{three}": write_images(root / "three"),
        }

    def outcome(self, *tables: Mapping[str, Any]) -> Outcome:
        settings = both(*tables)
        if str(settings) not in self._done:
            self._done[str(settings)] = self._run(settings)
        return self._done[str(settings)]

    def _run(self, settings: Mapping[str, Any]) -> Outcome:
        named = {section: dict(value) if isinstance(value, Mapping) else value for section, value in settings.items()}
        for section, key in (("base", "model"), ("data", "images")):
            if section in named and key in named[section]:
                named[section][key] = str(self._places[named[section][key]])
        config = quick_settings(self._base, self._places["{three}"], named)
        counts: list[int] = []

        def keep(tensor: Tensor) -> Tensor:
            counts.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            result = train(config, self._root / f"run-{len(self._done)}-{torch.randint(10**9, ()).item()}")
        drawn = {str(p.relative_to(result.run)): p.read_bytes() for p in (result.run / "samples").glob("*/*.png")}
        style = result.style
        return Outcome(style_tensors(style), style_metadata(style), drawn, files_in(result.run), sum(counts))


def _other_base(base: Path, target: Path) -> Path:
    shutil.copytree(base, target)
    weights = tiny_weights("sd1", seed=1)["unet"]
    save_file(weights, target / "unet" / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    return target


def _transparent(folder: Path) -> Path:
    """The left third of every image becomes transparent."""
    for path in folder.glob("*.png"):
        picture = Image.open(path).convert("RGBA")
        picture.paste((0, 0, 0, 0), (0, 0, picture.width // 3, picture.height))
        picture.save(path)
    return folder


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_bases: dict[str, Path]) -> Bench:
    return Bench(tmp_path_factory.mktemp("knobs"), tiny_bases["sd1"])


def test_every_case_is_a_setting():
    assert set(CASES) <= set(leaves())


@pytest.mark.parametrize("leaf", leaves())
def test_no_knob_without_effect(leaf, bench):
    case = CASES.get(leaf)
    assert case is not None, f"{leaf} has no case: say in CASES what it changes"
    if isinstance(case.changes, str) and case.changes.startswith("refused"):
        with pytest.raises(VelaturaError, match=case.changes.removeprefix("refused: ")):
            bench.outcome(case.within, case.change)
        return
    before, after = bench.outcome(case.within), bench.outcome(case.within, case.change)
    if case.changes == "weights":
        assert not equal(before.tensors, after.tensors)
    elif case.changes == "pictures":
        assert before.pictures.keys() == after.pictures.keys()
        assert all(before.pictures[name] != after.pictures[name] for name in before.pictures)
        assert equal(before.tensors, after.tensors)
    else:
        assert case.changes(before, after)


def test_the_same_settings_give_the_same_bits(bench):
    first, second = bench.outcome(), bench._run({})
    assert equal(first.tensors, second.tensors) and first.pictures == second.pictures and first.files == second.files


@pytest.mark.parametrize("optimizer", ["adafactor", "prodigy", "adamw8bit"])
def test_the_other_optimizers_have_an_effect_or_say_what_they_lack(optimizer, bench):
    settings = both(one("train.optimizer", optimizer), one("train.learning_rate", 0.5))
    try:
        import bitsandbytes

        missing = not bitsandbytes
    except ImportError:
        missing = optimizer == "adamw8bit"
    if missing:
        with pytest.raises(VelaturaError, match="pip install"):
            bench.outcome(settings)
        return
    tensors = bench.outcome(settings).tensors
    assert not equal(tensors, bench.outcome(one("train.learning_rate", 0.5)).tensors)
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (one("loss.huber_delta", 0.5), 'without loss.kind = "huber"'),
        (one("data.keep_tags", 2), "without data.shuffle_tags"),
        (both(one("sample.negative", "snow"), one("sample.guidance", 1.0)), "without sample.guidance above 1"),
        (one("train.text_encoder_stop", 0.5), "without targets.text_encoder"),
        (one("train.text_encoder_learning_rate", 1e-3), "without targets.text_encoder"),
        (both(LOKR, one("method.tucker", True)), "full_matrix = false"),
        (one("base.zero_terminal_snr", "on"), "needs a base that predicts v"),
        (one("base.clip_skip", 4), "base.clip_skip = 4 does not fit"),
        (one("base.family", "sdxl"), "leave it at `auto`"),
        (one("data.resolution", 8), "data.resolution = 8 is too small"),
        (one("sample.size", 24), "must be a multiple of 16"),
        (both(one("targets.unet", "none"), TEXT, one("train.text_encoder_stop", 0.5)), "leave nothing to train"),
        (both(TEXT, one("train.optimizer", "prodigy"), one("train.learning_rate", 1.0),
              one("train.text_encoder_learning_rate", 0.5)), "one learning rate for everything"),
        (one("train.precision", "fp16"), "fp16 does not work on a CPU"),
    ],
)  # fmt: skip
def test_what_could_have_no_effect_is_refused_and_leaves_nothing(table, words, bench):
    before = files_in(bench._root)
    with pytest.raises(VelaturaError, match=words):
        bench._run(table)
    assert files_in(bench._root) == before
