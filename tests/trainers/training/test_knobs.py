"""No knob without effect: every leaf of the config changes weights, pictures or files, or is refused.

Each leaf has one case: the settings in which it matters and the value that it changes to. A new setting has none and
fails until it has one.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from tests.tiny import tiny_weights
from tests.trainers.tiny_runs import (
    equal,
    files_in,
    quick_settings,
    state_of,
    stopping_at,
    style_metadata,
    style_tensors,
    write_images,
)
from tests.trainers.training.knobs import ALONE, CASES, LOKR, TEXT, WORD, Outcome, both, leaves, one
from trainers.errors import VelaturaError
from trainers.runs.run import Run
from trainers.training.train import train

pytestmark = pytest.mark.usefixtures("quick_runs")


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

    def outcome(self, *tables: Mapping[str, Any], draws: bool = True) -> Outcome:
        settings = both(*tables)
        key = f"{settings} {draws}"
        if key not in self._done:
            self._done[key] = self.run(settings, draws)
        return self._done[key]

    def run(self, settings: Mapping[str, Any], draws: bool = True) -> Outcome:
        """Train; without `draws` for a step more, stopped before it, so that nothing is drawn in the end."""
        named = {section: dict(value) if isinstance(value, Mapping) else value for section, value in settings.items()}
        for section, key in (("base", "model"), ("data", "images")):
            if section in named and key in named[section]:
                named[section][key] = str(self._places[named[section][key]])
        config = quick_settings(self._base, self._places["{three}"], named)
        steps = config.train.steps
        if not draws:
            config = quick_settings(self._base, self._places["{three}"], named, one("train.steps", steps + 1))
        counts: list[int] = []

        def keep(tensor: Tensor) -> Tensor:
            counts.append(tensor.numel())
            return tensor

        out = self._root / f"run-{len(self._done)}-{torch.randint(10**9, ()).item()}"
        listener = None if draws else stopping_at(Run(out / config.name), steps)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            result = train(config, out, listener=listener)
        drawn = {str(p.relative_to(result.run)): p.read_bytes() for p in (result.run / "samples").glob("*/*.png")}
        style, state = result.style, state_of(Run(result.run), result.steps)
        kept = {name.removeprefix("network ") for name in state if name.startswith("network ")}
        return Outcome(style_tensors(style), style_metadata(style), drawn, files_in(result.run), sum(counts), kept)


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
    draws = case.changes != "weights"
    before, after = bench.outcome(case.within, draws=draws), bench.outcome(case.within, case.change, draws=draws)
    if case.changes == "weights":
        assert not equal(before.tensors, after.tensors)
    elif case.changes == "pictures":
        assert before.pictures.keys() == after.pictures.keys()
        assert all(before.pictures[name] != after.pictures[name] for name in before.pictures)
        assert equal(before.tensors, after.tensors)
    else:
        assert case.changes(before, after)


def test_the_same_settings_give_the_same_bits(bench):
    first, second = bench.outcome(), bench.run({})
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
        (one("prior.weight", 2.0), "without prior.prompt"),
        (one("prior.images", 30), "without prior.prompt"),
        (one("prior", {"prompt": "a drawing", "images": 0}), "prior.images = 0: it should be greater"),
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
        *((one(f"tokens.{key}", value), f"tokens.{key} = .* has no effect without tokens.word")
          for key, value in {"vectors": 2, "initial": "fox", "learning_rate": 0.1, "stop": 0.5}.items()),
        (one("tokens.word", "a, b"), "'a, b' is no single word"),
        (one("tokens.word", "fox"), "tokens.word = 'fox' is a word that sd1 knows already.*such as <fox>"),
        (both(WORD, one("tokens.initial", " ")), "tokens.initial = ' ' is no word"),
        (both(WORD, one("train.optimizer", "prodigy"), one("train.learning_rate", 1.0),
              one("tokens.learning_rate", 0.5)), "one learning rate for everything"),
        (one("targets.unet", "none"), "nothing would be trained; tokens.word would learn a word alone"),
        (both(ALONE, one("tokens.stop", 0.5)), "tokens.stop = 0.5 would leave nothing to train"),
        (both(ALONE, TEXT, one("tokens.stop", 0.4), one("train.text_encoder_stop", 0.5)),
         "train.text_encoder_stop = 0.5 would leave nothing"),
        (both(ALONE, LOKR), "method.name = lokr and its settings have no effect"),
        (both(ALONE, one("tokens.learning_rate", 0.1)), "then train.learning_rate is the word's"),
        (both(ALONE, one("save.precision", "bf16")), "always written in fp32"),
        (both(ALONE, one("targets.blocks", {"mid_block.*": {"rank": 2}})), "matches none of the layers"),
        (one("base.double_quantisation", False), 'without base.storage = "nf4"'),
        (both(one("base.storage", "nf4"), one("base.double_quantisation", False), one("base.scale_code", "linear")),
         "base.scale_code = 'linear' has no effect"),
        (one("targets.unread_layers", True), "without targets.text_encoder"),
        (both(one("loss.weighting", "none"), one("loss.min_snr_gamma", 3.0)), "without loss.weighting = min-snr"),
        (both(one("base", {"prediction": "v_prediction", "zero_terminal_snr": "on"}), one("loss.min_snr_gamma", 3.0)),
         "loss.min_snr_gamma = 3 has no effect on .* set it to min-snr"),
        (both(one("targets.text_encoder", ["*.layers.2.*.q_proj"]), one("base.clip_skip", 2)),
         "come after the hidden state that the UNet reads"),
        (one("method", {"name": "adalora", "budget_scope": "rank"}), "without a rank in targets.blocks"),
        (one("method", {"name": "selora", "budget_scope": "rank"}), "no effect without budget"),
        (one("method.decay_towards", "zero"), "decay_towards has no effect without dora"),
        (both(one("method", {"name": "lora", "dora": True, "decay_towards": "zero"}), one("train.weight_decay", 0.0)),
         "no effect with train.weight_decay = 0"),
        (one("method", {"name": "t-lora", "orthogonal": False, "start_std": "1/sqrt(rank)"}), "without orthogonal"),
        (one("train.optimizer", "paged-adamw"), "this run has no such card"),
        (both(one("train.optimizer", "paged-adamw8bit"), one("train.offload_optimizer", True)), "by itself"),
    ],
)  # fmt: skip
def test_what_could_have_no_effect_is_refused_and_leaves_nothing(table, words, bench):
    before = set(bench._root.iterdir())
    with pytest.raises(VelaturaError, match=words):
        bench.run(table)
    assert set(bench._root.iterdir()) == before
