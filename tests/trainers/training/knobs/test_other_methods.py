"""Every setting of the methods that rotate, scale, shift, or sit on blocks has an effect."""

from __future__ import annotations

import pytest

from tests.pairs import seldom_but
from tests.trainers.tiny_runs import both, one
from tests.trainers.training.knobs.bench import (
    DROPOUTS,
    OTHER_METHODS,
    STEPS,
    Case,
    cases,
    complete,
    settings_of,
)

WIDE, BLOCKS = one("targets.unet", "attn"), one("targets.unet", "attn-mlp")
OFT, IA3 = one("method", {"name": "oft", "block_size": 8}), both(WIDE, one("method", {"name": "ia3"}))
SSF, BITFIT = both(WIDE, one("method", {"name": "ssf"})), both(WIDE, one("method", {"name": "bitfit"}))
ADAPTER = both(BLOCKS, one("method", {"name": "adapter", "width": 3}))
KRONA_BLOCK = both(BLOCKS, one("method", {"name": "krona-b"}))
PROMPTS = both(BLOCKS, one("method", {"name": "vpt", "tokens": 3}))
FULL = one("method", {"name": "full"})

ROWS: dict[str, Case] = {
    **cases(OFT, {"block_size": 4, "butterfly": True, "constraint": 0.001, "module_dropout": 0.5, "side": "input"}),
    **cases(IA3, {"everywhere": True, "module_dropout": 0.5}),
    **cases(SSF, {"missing_biases": True, "spread": 0.1, "module_dropout": 0.5}),
    **cases(BITFIT, {"missing_biases": True, "module_dropout": 0.5}),
    **cases(ADAPTER, {"form": "parallel", "width": 4, "scale": 2.0, "norms": True, "module_dropout": 0.5}),
    **cases(KRONA_BLOCK, {"scale": 2.0, "residual": True, "bias": True, "module_dropout": 0.5}),
    **cases(PROMPTS, {"tokens": 4, "variant": "image", "deep": False, "gated": True, "module_dropout": 0.5}),
    **cases(both(PROMPTS, one("method.gated", True)), {"gate_ratio": 4.0}),
    **cases(both(PROMPTS, one("data.caption_dropout", 0.5), STEPS), {"unconditional": False}),
    **cases(FULL, {"extract_rank": 2, **DROPOUTS}),
}
CASES = complete(ROWS, settings_of(*OTHER_METHODS))
OFTEN = ("ssf.missing_biases", "vpt.unconditional")
"""What shows in the course of a run, not on a layer alone."""


def test_every_row_is_a_setting():
    assert set(ROWS) <= set(settings_of(*OTHER_METHODS))


@pytest.mark.parametrize("setting", seldom_but(OFTEN, CASES))
def test_no_setting_without_effect(setting, bench):
    bench.check(CASES[setting])
