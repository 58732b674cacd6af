"""Every setting of the methods that choose ranks while they train has an effect."""

from __future__ import annotations

import pytest

from tests.pairs import seldom_but
from tests.trainers.tiny_runs import both, one
from tests.trainers.training.knobs.bench import (
    DECAY,
    LORA_DROPOUTS,
    RANK_CHOOSING,
    STEPS,
    Case,
    cases,
    complete,
    settings_of,
)

pytestmark = pytest.mark.long

DYLORA = both(STEPS, one("method", {"name": "dylora", "rank": 4, "alpha": 3.0}))
ADALORA = both(
    one("train.steps", 6), one("method", {"name": "adalora", "rank": 4, "alpha": 40.0, "target_rank": 2, "interval": 1})
)
SORA = both(STEPS, one("method", {"name": "sora", "rank": 2, "alpha": 4.0}))
SELORA = both(STEPS, one("method", {"name": "selora", "rank": 3, "interval": 1, "threshold": 1.0}))
TLORA = one("method", {"name": "t-lora", "rank": 8})
UNEVEN = one("targets.blocks", {"mid_block.*": {"rank": 2}})

ROWS: dict[str, Case] = {
    **cases(DYLORA, {"rank": 8, "alpha": 1.0, "unit": 2, "frozen": False, "kept_rank": 2, **LORA_DROPOUTS}),
    **cases(ADALORA, {"rank": 5, "alpha": 5.0, "target_rank": 1, "begin": 0.3, "settle": 0.5, "interval": 2}),
    **cases(ADALORA, {"orthogonality": 5.0, "importance": "magnitude", "beta1": 0.0, "beta2": 0.0, **LORA_DROPOUTS}),
    **cases(both(ADALORA, UNEVEN), {"budget_scope": "rank"}),
    **cases(SORA, {"rank": 3, "alpha": 1.0, "shrink": 0.2, "ramp": 0.0, "gate_ratio": 2.0, "levels": 3}),
    **cases(SORA, {"gate_initial": "one", **LORA_DROPOUTS}),
    **cases(SELORA, {"rank": 2, "alpha": 1.0, "threshold": 100.0, "interval": 2, "budget": 30}),
    **cases(SELORA, {"start_bound": "sqrt(1/in)", **LORA_DROPOUTS}),
    **cases(both(SELORA, one("method.budget", 19), UNEVEN), {"budget_scope": "rank"}),
    **cases(both(SELORA, one("method", {"interval": 2, "threshold": 1.05})), {"trial": 2}),
    **cases(TLORA, {"rank": 3, "alpha": 1.0, "lowest": 0.0, "curve": 4.0, "orthogonal": False}),
    **cases(TLORA, {"start_std": "1/sqrt(rank)", **LORA_DROPOUTS}),
    **cases(both(TLORA, STEPS, DECAY), {"decay_towards": "zero"}),
}
CASES = complete(ROWS, settings_of(*RANK_CHOOSING))
OFTEN = ("adalora.budget_scope", "t-lora.decay_towards")
"""What shows in the course of a run, not on a layer alone."""


def test_every_row_is_a_setting():
    assert set(ROWS) <= set(settings_of(*RANK_CHOOSING))


@pytest.mark.parametrize("setting", seldom_but(OFTEN, CASES))
def test_no_setting_without_effect(setting, bench):
    bench.check(CASES[setting])
