"""Every setting of the methods that train a product of small matrices has an effect."""

from __future__ import annotations

import pytest

from tests.pairs import seldom_but
from tests.trainers.tiny_runs import both, one
from tests.trainers.training.knobs.bench import (
    CONVOLUTIONS,
    DECAY,
    DROPOUTS,
    LORA_DROPOUTS,
    LOW_RANK,
    STEPS,
    Case,
    cases,
    complete,
    settings_of,
)

LORA, LOHA = one("method", {"name": "lora", "rank": 3, "alpha": 2.0}), one("method", {"name": "loha", "rank": 2})
LOKR = one("method", {"name": "lokr", "rank": 2})
THIN_LOKR = one("method", {"name": "lokr", "rank": 2, "full_matrix": False})
KRONA, VERA = one("method", {"name": "krona"}), one("method", {"name": "vera", "rank": 4})
TIED = one("method", {"name": "tied", "rank": 2, "alpha": 4.0})

ROWS: dict[str, Case] = {
    "lora.name": Case(LOHA),
    **cases(LORA, {"rank": 4, "alpha": 1.0, **LORA_DROPOUTS, "rslora": True, "dora": True, "plus_ratio": 4.0}),
    **cases(LORA, {"freeze_a": True, "start": "pissa"}),
    **cases(both(LORA, CONVOLUTIONS), {"tucker": True}),
    **cases(both(LORA, STEPS, DECAY, one("method.start", "pissa")), {"decay_towards": "zero"}),
    **cases(LOHA, {"rank": 3, "alpha": 1.0, **LORA_DROPOUTS}),
    **cases(both(LOHA, CONVOLUTIONS), {"tucker": True}),
    **cases(LOKR, {"rank": 3, "alpha": 1.0, **DROPOUTS, "full_matrix": False, "factor": 4, "decompose_both": True}),
    **cases(THIN_LOKR, {"rank_dropout": 0.5}),
    **cases(both(LOKR, one("method.factor", 16)), {"paper_split": True}),
    **cases(both(THIN_LOKR, CONVOLUTIONS), {"tucker": True}),
    **cases(KRONA, {"scale": 2.0, **DROPOUTS}),
    **cases(VERA, {"rank": 5, "d_initial": 0.3, **DROPOUTS}),
    "vera.store_projections": Case(
        one("method.store_projections", True),
        lambda before, after: after.checkpointed == before.checkpointed | {"shared.0.A", "shared.0.B"},
        within=VERA,
    ),
    **cases(TIED, {"rank": 3, "alpha": 1.0, "configuration": "tl5", "tie_a": False, "tie_b": False, "train_a": False}),
    **cases(TIED, {"train_b": False, "train_u": False, "train_v": False, "group_by": "role", **LORA_DROPOUTS}),
}
CASES = complete(ROWS, settings_of(*LOW_RANK))
OFTEN = ("lora.rank", "lora.dora", "lora.decay_towards", "vera.store_projections")
"""What shows in the course of a run, not on a layer alone."""


def test_every_row_is_a_setting():
    assert set(ROWS) <= set(settings_of(*LOW_RANK))


@pytest.mark.parametrize("setting", seldom_but(OFTEN, CASES))
def test_no_setting_without_effect(setting, bench):
    bench.check(CASES[setting])
