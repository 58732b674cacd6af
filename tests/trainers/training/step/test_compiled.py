"""torch.compile in a run: one set of graphs for all buckets and steps, and pictures as without it."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from torch._dynamo.utils import counters

from tests.trainers.tiny_runs import METHODS, style_tensors
from trainers.adapters.methods import METHODS as CLASSES
from trainers.errors import VelaturaError
from trainers.training.step import compiled
from trainers.training.train import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_runs")]
WARM, STEPS = 4, 9
COMPILED = {
    name: {**settings, **({"butterfly": False} if name == "oft" else {})}
    for name, settings in METHODS.items()
    if CLASSES[name].compiles
}
QUICK = ("lora",)
CONFIG = {"train": {"steps": STEPS, "batch_size": 1}, "data": {"resolution": 64}, "sample": {"every": 2}}


@pytest.fixture
def graphs(monkeypatch):
    """The number of graphs after each compiled step, with a backend that needs no compiler."""
    counts: list[int] = []
    inner = compiled.compiled_pass

    @contextmanager
    def counted():
        counts.append(counters["stats"].get("unique_graphs", 0))
        with inner():
            yield

    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    monkeypatch.setattr("trainers.training.loop.compiled_pass", counted)
    counters.clear()
    return counts


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.thorough) for name in COMPILED]
)
def test_blocks_are_compiled_once_for_all_buckets_and_steps(name, quick, graphs, tmp_path):
    plain = {"method": COMPILED[name], "targets": {"unet": "attn-mlp"}}
    result = train(quick(CONFIG, plain, {"train": {"compile": True}}), tmp_path / "compiled")
    assert not counters["graph_break"]
    assert graphs[0] == 0 < graphs[1], "pictures compile nothing, steps do"
    assert graphs[WARM] == counters["stats"]["unique_graphs"], "nothing is compiled after the first steps"
    eager = train(quick(CONFIG, plain), tmp_path / "eager")
    for key, tensor in style_tensors(eager.style).items():
        torch.testing.assert_close(style_tensors(result.style)[key], tensor, rtol=0.02, atol=2e-4)


@pytest.mark.parametrize(
    "settings, key",
    [
        ({"method": {"name": "ia3"}}, "method.name = ia3"),
        ({"method": {"name": "oft", "butterfly": True}}, "method.butterfly"),
        ({"method": {"dropout": 0.1}}, "method.dropout"),
        ({"base": {"swap_blocks": 1}}, "base.swap_blocks"),
    ],
)
def test_what_would_compile_in_each_step_is_refused(settings, key, quick):
    with pytest.raises(VelaturaError, match=f"train.compile = true does not go with {key}"):
        quick(settings, {"train": {"compile": True}})


def test_a_missing_compiler_is_named(quick, tmp_path, monkeypatch):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (str(tmp_path / "no-compiler"),))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(VelaturaError, match=r"needs a C\+\+ compiler"):
        train(quick(CONFIG, {"train": {"compile": True}}), tmp_path / "run")
