"""What could have no effect where it is set is refused, in a sentence, and leaves nothing behind."""

from __future__ import annotations

import pytest

from tests.trainers.tiny_runs import ALONE, WORD, both, one
from trainers.errors import VelaturaError

TEXT = one("targets.text_encoder", "attn")
SCORED = one("sample", {"prompts": ["a fox", "an owl", "a ship", "a pear"], "every": 1})
LOKR = one("method", {"name": "lokr", "rank": 2})


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (both(SCORED, one("train.early_stop", "act"), one("sample.score", False)), "without sample.score"),
        (both(SCORED, one("train.early_stop", "advise"), one("sample.every", 0)), "without sample.score, sample.every"),
        (both(SCORED, one("train.early_stop", "advise"), one("sample.prompts", ["a"])), "four prompts or more"),
        (one("loss.huber_delta", 0.5), 'without loss.kind = "huber"'),
        (one("loss.huber_schedule", "snr"), 'without loss.kind = "huber"'),
        (one("loss.noise_offset_random", True), "without loss.noise_offset"),
        (one("loss.multires_discount", 0.5), "without loss.multires_iterations"),
        (one("loss.input_perturbation_random", True), "without loss.input_perturbation"),
        (one("loss.weighting", "debiased-v"), "is for bases that predict v, .* predicts ε; use debiased"),
        (both(one("base.prediction", "v_prediction"), one("loss.weighting", "debiased")),
         "is for bases that predict ε, .* predicts v; use debiased-v or debiased-v-root"),
        (one("train.rex_d", 0.9), 'without train.schedule = "rex"'),
        (one("train.floor", 0.1), "without a falling train.schedule"),
        (one("train.text_encoder_2_learning_rate", 1e-3), "without targets.text_encoder"),
        (one("train.optimizer_args", "lr=1"), "takes no argument 'lr'"),
        *((both(one("train.optimizer", "schedule-free"), table), f"averages all steps itself .* {words}")
          for words, table in {"train.schedule = cosine": one("train.schedule", "cosine"),
                               "train.ema": one("train.ema", 0.9), "train.max_norm": one("train.max_norm", 1.0),
                               "train.offload_optimizer": one("train.offload_optimizer", True),
                               "tokens.norm_prior": both(WORD, one("tokens.norm_prior", 0.5)),
                               "method.name = sora": one("method", {"name": "sora"})}.items()),
        (both(one("train.optimizer", "schedule-free"), one("method", {"name": "lora", "dora": True})),
         "cannot pull the parameters of lora towards their start; set train.weight_decay = 0"),
        (one("train.optimizer", "prodigy-schedule-free"), "needs a train.learning_rate near 1"),
        (both(one("train.max_norm", 1.0), one("method", {"name": "lora", "dora": True})), "method.name = lora is none"),
        (both(one("train.max_norm", 1.0), one("method", {"name": "oft"})), "method.name = oft is none"),
        (one("data.keep_tags", 2), "without data.shuffle_tags"),
        (both(one("sample.negative", "snow"), one("sample.guidance", 1.0)), "without sample.guidance above 1"),
        (one("prior.weight", 2.0), "without prior.prompt"),
        (one("prior.images", 30), "without prior.prompt"),
        (one("prior.kind", "output"), "without prior.prompt"),
        (one("prior", {"kind": "output", "prompt": "a drawing", "images": 3}), 'without prior.kind = "images"'),
        (one("prior", {"kind": "output", "prompt": "a drawing"}), "needs data.trigger, the word"),
        *((both(one("prior", {"kind": "output", "prompt": "a drawing"}), one("data.trigger", "dusk"), table),
           f"prior.kind = output does not go with {words}")
          for words, table in {"targets.text_encoder": TEXT, "tokens.word": WORD}.items()),
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
              one("train.text_encoder_learning_rate", 0.5)), "a learning rate of its own"),
        (one("train.precision", "fp16"), "fp16 does not work on a CPU"),
        *((one(f"tokens.{key}", value), f"tokens.{key} = .* has no effect without tokens.word")
          for key, value in {"vectors": 2, "initial": "fox", "learning_rate": 0.1, "stop": 0.5}.items()),
        (one("tokens.word", "a, b"), "'a, b' is not a single word"),
        (one("tokens.word", "fox"), "tokens.word = 'fox' is already in the vocabulary of sd1.*such as <fox>"),
        (both(WORD, one("tokens.initial", " ")), "tokens.initial = ' ' has no words"),
        (both(WORD, one("train.optimizer", "prodigy"), one("train.learning_rate", 1.0),
              one("tokens.learning_rate", 0.5)), "tokens.learning_rate = 0.5 is a learning rate of its own"),
        (one("targets.unet", "none"), "so nothing would be trained; set tokens.word"),
        (both(ALONE, one("tokens.stop", 0.5)), "tokens.stop = 0.5 would leave nothing to train"),
        (both(ALONE, TEXT, one("tokens.stop", 0.4), one("train.text_encoder_stop", 0.5)),
         "train.text_encoder_stop = 0.5 would leave nothing"),
        (both(ALONE, LOKR), "method.name = lokr and its settings have no effect"),
        (both(ALONE, one("tokens.learning_rate", 0.1)), "set train.learning_rate for the word"),
        (both(ALONE, one("save.precision", "bf16")), "always written in fp32"),
        (both(ALONE, one("targets.blocks", {"mid_block.*": {"rank": 2}})), "matches no trained layer"),
        (one("base.double_quantisation", False), 'without base.storage = "nf4"'),
        (both(one("base.storage", "nf4"), one("base.double_quantisation", False), one("base.scale_code", "linear")),
         "base.scale_code = 'linear' has no effect"),
        (one("targets.unread_layers", True), "without targets.text_encoder"),
        (both(one("loss.weighting", "none"), one("loss.min_snr_gamma", 3.0)), "without loss.weighting = min-snr"),
        (both(one("base", {"prediction": "v_prediction", "zero_terminal_snr": "on"}), one("loss.min_snr_gamma", 3.0)),
         "loss.min_snr_gamma = 3 has no effect on .* set that to min-snr"),
        (both(one("targets.text_encoder", ["*.layers.2.*.q_proj"]), one("base.clip_skip", 2)),
         "come after the hidden state that the UNet reads"),
        (one("method", {"name": "adalora", "budget_scope": "rank"}), "without a rank in targets.blocks"),
        (one("method", {"name": "selora", "budget_scope": "rank"}), "no effect without budget"),
        (one("method.decay_towards", "zero"), "decay_towards has no effect without dora"),
        (both(one("method", {"name": "lora", "dora": True, "decay_towards": "zero"}), one("train.weight_decay", 0.0)),
         "no effect with train.weight_decay = 0"),
        (one("method", {"name": "t-lora", "orthogonal": False, "start_std": "1/sqrt(rank)"}), "without orthogonal"),
        (one("train.optimizer", "paged-adamw"), "this run has no CUDA device"),
        (both(one("train.optimizer", "paged-adamw8bit"), one("train.offload_optimizer", True)), "pages its state"),
    ],
)  # fmt: skip
def test_what_could_have_no_effect_is_refused_and_leaves_nothing(table, words, bench):
    before = set(bench.root.iterdir())
    with pytest.raises(VelaturaError, match=words):
        bench.run(table)
    assert set(bench.root.iterdir()) == before
