"""No setting without effect: each changes weights, pictures or files, or is refused. Those of methods lie beside.

Each has one case: the settings in which it matters and the value that it changes to. A setting without a row is
changed by itself, and must show in the weights; where it cannot, write its row.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch

from tests.pairs import seldom_but
from tests.trainers.tiny_runs import WORD, both, equal, one
from tests.trainers.training.knobs.bench import METHODS, STEPS, Case, Outcome, complete, settings_of
from trainers.adapters.targets import BlockOverride
from trainers.config.config import Config
from trainers.config.sections import ImageSet
from trainers.errors import VelaturaError
from trainers.section import Section

pytestmark = pytest.mark.long

TEXT = one("targets.text_encoder", "attn")
NF4 = one("base.storage", "nf4")
PRIOR = one("prior", {"prompt": "a drawing", "images": 2})
LARGER = one("data.resolution", 64)
LONG = one("data.caption", "a fox, " * 60)


TABLES: Mapping[str, type[Section]] = {"blocks": BlockOverride, "sets": ImageSet}
"""Settings that are tables of settings, by name."""
FOLDERS = both(STEPS, one("data.images", "{folders}"))
FOLDER = both(STEPS, one("data.images", "{folder}"))
BARE_FOLDERS = both(STEPS, one("data.images", "{bare folders}"))


def refused(words: str) -> str:
    return f"refused: {words}"


def metadata(key: str, value: str) -> Callable[[Outcome, Outcome], bool]:
    return lambda before, after: before.metadata.get(key) != after.metadata[key] == value


def checkpoints(outcome: Outcome) -> set[str]:
    return {name.split("/")[1] for name in outcome.files if name.startswith("checkpoints/")}


def settings(section: type[Section] = Config, prefix: str = "") -> Iterator[str]:
    """Every setting's dotted name, but those of methods."""
    for name, info in section.model_fields.items():
        if name == "method":
            continue
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield from settings(info.annotation, f"{prefix}{name}.")
        elif name in TABLES:
            yield from (f"{prefix}{name}.{each}" for each in TABLES[name].model_fields)
        else:
            yield f"{prefix}{name}"


ROWS: dict[str, Case] = {
    "schema_version": Case(one("schema_version", 1), refused("schema_version")),
    "name": Case(one("name", "dawn"), lambda _, after: "style/dawn.safetensors" in after.files),
    "seed": Case(one("seed", 1)),
    "base.model": Case(one("base.model", "{other base}")),
    "base.family": Case(one("base.family", "sd2"), metadata("ss_base_model_version", "sd_v2")),
    "base.prediction": Case(one("base.prediction", "v_prediction")),
    "base.zero_terminal_snr": Case(one("base.zero_terminal_snr", "on"), within=one("base.prediction", "v_prediction")),
    "base.clip_skip": Case(one("base.clip_skip", 2)),
    "base.parts": Case(one("base.parts", ["ae.safetensors"]), refused("base.parts has no effect")),
    "base.guidance": Case(one("base.guidance", 3.5), refused("base.guidance does not apply")),
    "base.storage": Case(one("base.storage", "int8")),
    "base.double_quantisation": Case(one("base.double_quantisation", False), within=NF4),
    "base.scale_code": Case(one("base.scale_code", "linear"), within=NF4),
    "base.swap_blocks": Case(one("base.swap_blocks", 1), refused("base.swap_blocks is for transformers")),
    "base.offload_encoders": Case(
        one("base.offload_encoders", True), refused("does not go with targets.text_encoder"), within=TEXT
    ),
    "data.images": Case(one("data.images", "{bare}")),
    "data.resolution": Case(one("data.resolution", 48)),
    "data.more_resolutions": Case(one("data.more_resolutions", [48]), within=STEPS),
    "data.max_aspect": Case(one("data.max_aspect", 1.0), within=LARGER),
    "data.max_upscale": Case(one("data.max_upscale", 4.0), within=both(LARGER, one("data.images", "{small}"))),
    "data.crop": Case(one("data.crop", "random"), within=STEPS),
    "data.flip": Case(one("data.flip", True), within=STEPS),
    "data.repeats": Case(one("data.repeats", 2), within=STEPS),
    "data.transparency": Case(one("data.transparency", "mask"), within=one("data.images", "{transparent}")),
    "data.trigger": Case(one("data.trigger", "in dusk style")),
    "data.read_trigger": Case(one("data.read_trigger", False), within=one("data.trigger", "in dusk style")),
    "data.caption": Case(one("data.caption", "a drawing of {name}"), within=one("data.images", "{bare}")),
    "data.caption_dropout": Case(one("data.caption_dropout", 1.0)),
    "data.wildcards": Case(
        one("data.wildcards", True),
        within=both(STEPS, one("data.caption", "a {red|blue|green} fox"), one("data.images", "{bare}")),
    ),
    "data.tag_dropout": Case(one("data.tag_dropout", 0.5), within=STEPS),
    "data.shuffle_tags": Case(one("data.shuffle_tags", True), within=STEPS),
    "data.keep_tags": Case(one("data.keep_tags", 4), within=both(STEPS, one("data.shuffle_tags", True))),
    "data.chunks": Case(one("data.chunks", 2), within=both(LONG, one("data.images", "{bare}"))),
    "data.held_out": Case(one("data.held_out", 0.3), within=STEPS),
    "data.sets.weight": Case(one("data.sets", {"2_ink": {"weight": 3.0}}), within=FOLDERS),
    "data.sets.repeats": Case(one("data.sets", {"2_ink": {"repeats": 3}}), within=FOLDERS),
    "data.sets.resolutions": Case(one("data.sets", {"2_ink": {"resolutions": [48, 32]}}), within=FOLDERS),
    "data.sets.flip": Case(one("data.sets", {"2_ink": {"flip": True}}), within=FOLDERS),
    "data.sets.crop": Case(one("data.sets", {"2_ink": {"crop": "random"}}), within=FOLDERS),
    "data.sets.caption": Case(one("data.sets", {"2_ink": {"caption": "ink"}}), within=BARE_FOLDERS),
    "data.sets.caption_dropout": Case(one("data.sets", {"2_ink": {"caption_dropout": 1.0}}), within=FOLDERS),
    "data.sets.wildcards": Case(
        one("data.sets", {"2_ink": {"wildcards": True}}),
        within=both(BARE_FOLDERS, one("data.caption", "a {red|blue|green} fox")),
    ),
    "data.sets.tag_dropout": Case(one("data.sets", {"2_ink": {"tag_dropout": 0.5}}), within=FOLDER),
    "data.sets.shuffle_tags": Case(one("data.sets", {"2_ink": {"shuffle_tags": True}}), within=FOLDER),
    "data.sets.keep_tags": Case(
        one("data.sets", {"2_ink": {"keep_tags": 4}}), within=both(FOLDER, one("data.shuffle_tags", True))
    ),
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
    "targets.transformer": Case(
        one("targets.transformer", "attn"), "refused: no effect on Stable Diffusion 1, which has a UNet"
    ),
    "targets.text_encoder": Case(TEXT),
    "targets.unread_layers": Case(
        one("targets.unread_layers", True),
        lambda before, after: after.checkpointed > before.checkpointed and before.tensors.keys() < after.tensors.keys(),
        within=both(TEXT, one("base.clip_skip", 2)),
    ),
    "targets.blocks.rank": Case(one("targets.blocks", {"mid_block.*": {"rank": 2}})),
    "targets.blocks.learning_rate": Case(one("targets.blocks", {"mid_block.*": {"learning_rate": 0.5}})),
    "tokens.word": Case(WORD, within=STEPS),
    "tokens.vectors": Case(one("tokens.vectors", 3), within=WORD),
    "tokens.initial": Case(one("tokens.initial", "a red house"), within=WORD),
    "tokens.learning_rate": Case(one("tokens.learning_rate", 1e-3), within=WORD),
    "tokens.stop": Case(one("tokens.stop", 0.3), within=WORD),
    "tokens.norm_prior": Case(one("tokens.norm_prior", 0.5), within=WORD),
    "loss.kind": Case(one("loss.kind", "huber")),
    "loss.huber_schedule": Case(one("loss.huber_schedule", "snr"), within=one("loss.kind", "huber")),
    "loss.huber_delta": Case(one("loss.huber_delta", 0.5), within=one("loss.kind", "huber")),
    "loss.weighting": Case(
        one("loss.weighting", "min-snr"),
        within=one("base", {"prediction": "v_prediction", "zero_terminal_snr": "on"}),
    ),
    "loss.min_snr_gamma": Case(one("loss.min_snr_gamma", 1.0)),
    "loss.noise_offset": Case(one("loss.noise_offset", 0.1)),
    "loss.noise_offset_random": Case(one("loss.noise_offset_random", True), within=one("loss.noise_offset", 0.1)),
    "loss.multires_iterations": Case(one("loss.multires_iterations", 2)),
    "loss.multires_discount": Case(one("loss.multires_discount", 0.8), within=one("loss.multires_iterations", 2)),
    "loss.input_perturbation": Case(one("loss.input_perturbation", 0.3)),
    "loss.input_perturbation_random": Case(
        one("loss.input_perturbation_random", True), within=one("loss.input_perturbation", 0.3)
    ),
    "loss.timesteps": Case(one("loss.timesteps", "style-friendly -2")),
    "prior.prompt": Case(one("prior", {"prompt": "a drawing", "images": 2})),
    "prior.kind": Case(
        one("prior", {"kind": "output", "images": 100}), within=both(PRIOR, one("data.trigger", "in dusk style"))
    ),
    "prior.images": Case(one("prior.images", 6), within=both(STEPS, PRIOR)),
    "prior.folder": Case(
        one("prior.folder", "{three}"), lambda before, after: not equal(before.tensors, after.tensors), within=PRIOR
    ),
    "prior.weight": Case(one("prior.weight", 0.5), within=PRIOR),
    "train.steps": Case(one("train.steps", 3)),
    "train.batch_size": Case(one("train.batch_size", 2)),
    "train.accumulation": Case(one("train.accumulation", 2)),
    "train.learning_rate": Case(one("train.learning_rate", 2e-2)),
    "train.text_encoder_learning_rate": Case(one("train.text_encoder_learning_rate", 1e-3), within=TEXT),
    "train.text_encoder_2_learning_rate": Case(
        one("train.text_encoder_2_learning_rate", 1e-3), refused("has one text encoder"), within=TEXT
    ),
    "train.text_encoder_stop": Case(one("train.text_encoder_stop", 0.3), within=TEXT),
    "train.optimizer": Case(one("train.optimizer", "lion")),
    "train.optimizer_args": Case(one("train.optimizer_args", "betas=0.5,0.9")),
    "train.d_coef": Case(
        one("train.d_coef", 100.0), within=one("train", {"optimizer": "prodigy", "learning_rate": 1.0, "steps": 12})
    ),
    "train.offload_optimizer": Case(one("train.offload_optimizer", True), refused("without a CUDA device")),
    "train.compile": Case(
        one("train.compile", True),
        refused("does not go with method.dropout"),
        within=one("method.dropout", 0.1),
    ),
    "train.fused": Case(one("train.fused", False)),
    "train.weight_decay": Case(one("train.weight_decay", 0.5)),
    "train.schedule": Case(one("train.schedule", "cosine")),
    "train.cycles": Case(one("train.cycles", 2), within=one("train.schedule", "cosine")),
    "train.rex_d": Case(one("train.rex_d", 0.9), within=one("train.schedule", "rex")),
    "train.floor": Case(one("train.floor", 0.5), within=one("train.schedule", "cosine")),
    "train.warmup": Case(one("train.warmup", 1)),
    "train.max_grad_norm": Case(one("train.max_grad_norm", 1e-6)),
    "train.max_norm": Case(one("train.max_norm", 1e-4)),
    "train.gradient_checkpointing": Case(
        one("train.gradient_checkpointing", True),
        lambda before, after: after.saved < 0.5 * before.saved and equal(before.tensors, after.tensors),
    ),
    "train.memory": Case(one("train.memory", 1), refused("and train.memory leaves 0.0")),
    "train.precision": Case(one("train.precision", "bf16")),
    "train.device": Case(one("train.device", "cuda:99"), refused("train.device = 'cuda:99' is not available")),
    "train.devices": Case(one("train.devices", 3), refused("cannot be split evenly over train.devices = 3")),
    "train.ema": Case(one("train.ema", 0.9)),
    "train.early_stop": Case(one("train.early_stop", "act"), refused("without sample.score, sample.every and four")),
    "train.start_from": Case(one("train.start_from", "lost.safetensors"), refused("no style file .*lost.safetensors")),
    "train.tracker": Case(
        one("train.tracker", "tensorboard"),
        lambda before, after: any("tfevents" in name for name in after.files - before.files),
    ),
    "sample.prompts": Case(one("sample.prompts", ["a boat"]), "pictures"),
    "sample.score": Case(
        one("sample.score", False),
        lambda before, after: before.events - after.events == {"score"} and equal(before.tensors, after.tensors),
        within=one("sample.prompts", ["a fox", "an owl", "a ship", "a pear"]),
    ),
    "sample.subjects": Case(
        one("sample.subjects", "captions"),
        lambda before, after: len(before.pictures) > len(after.pictures) > 0,  # of four subjects, and three captions
        within=one("sample.prompts", []),
    ),
    "sample.prefix": Case(one("sample.prefix", "snow"), "pictures"),
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
}
CASES = complete(ROWS, settings())
SELDOM = ("base.", "data.", "tokens.", "prior.", "sample.", "save.")
"""Sections with tests of their own, where pictures are taken in or drawn, words learned, or files written."""
OFTEN = {
    *(name for name in CASES if not name.startswith(SELDOM) or str(CASES[name].changes).startswith("refused")),
    *("data.trigger", "tokens.norm_prior", "prior.weight", "sample.guidance", "save.precision"),
} - {"train.d_coef", "train.gradient_checkpointing", "train.memory", "targets.unread_layers"}
READ_BY_PROPERTIES = {
    *("base.double_quantisation", "base.scale_code", "data.read_trigger", "train.text_encoder_learning_rate"),
    "data.sets.resolutions",
}
ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def little_room(monkeypatch):
    """No room is left of 1 GB, which would be enough for tiny bases."""
    monkeypatch.setattr("trainers.planning.plan.RESERVE", 2**30)


def test_every_row_is_a_setting():
    assert ROWS.keys() <= set(settings())


def test_every_setting_is_read_where_it_acts():
    """Outside of `trainers/config`, which declares and checks it."""
    files = [path for path in (ROOT / "trainers").rglob("*.py") if "config" not in path.parts]
    nodes = (node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    names = {name for name in (*settings(), *settings_of(*METHODS)) if name.rpartition(".")[2] not in read}
    assert names == {"schema_version", *READ_BY_PROPERTIES}


@pytest.mark.parametrize("setting", seldom_but(OFTEN, CASES))
def test_no_setting_without_effect(setting, bench):
    bench.check(CASES[setting])


def test_the_same_settings_give_the_same_bits(bench):
    first, second = bench.outcome(), bench.run()
    assert equal(first.tensors, second.tensors) and first.pictures == second.pictures and first.files == second.files


@pytest.mark.parametrize("optimizer", ["adafactor", "prodigy", "adamw8bit"])
def test_the_other_optimizers_have_an_effect_or_say_what_they_lack(optimizer, bench):
    table = both(one("train.optimizer", optimizer), one("train.learning_rate", 0.5))
    try:
        import bitsandbytes

        missing = not bitsandbytes
    except ImportError:
        missing = optimizer == "adamw8bit"
    if missing:
        with pytest.raises(VelaturaError, match="pip install"):
            bench.style(table)
        return
    tensors = bench.style(table)
    assert not equal(tensors, bench.style(one("train.learning_rate", 0.5)))
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
