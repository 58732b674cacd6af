"""On a base that matches flows, too, each setting of the loss has an effect or is refused by its name."""

from __future__ import annotations

import pytest

from tests.tiny_flow import tiny_flow_folder
from tests.trainers.tiny_runs import both, equal, one
from tests.trainers.training.knobs.bench import Bench
from tests.trainers.training.knobs.test_settings import CASES
from trainers.errors import VelaturaError

FLOW = both(one("targets.unet", "attn"), one("sample.sampler", "euler"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, quick_runs: None) -> Bench:
    root = tmp_path_factory.mktemp("flow")
    return Bench(root, tiny_flow_folder("z-image", root / "z-image"))


@pytest.mark.parametrize("setting", [name for name in CASES if name.startswith("loss.")])
def test_a_setting_of_the_loss_shows_or_is_refused(setting: str, bench: Bench) -> None:
    case = CASES[setting]
    within = both(FLOW, {section: table for section, table in case.within.items() if section != "base"})
    before = bench.style(within)
    try:
        after = bench.style(within, case.change)
    except VelaturaError as error:
        assert setting in str(error)
    else:
        nothing = f"{setting} changes nothing on a base that matches flows: refuse it in FlowFamily.config_problems"
        assert not equal(before, after), nothing
