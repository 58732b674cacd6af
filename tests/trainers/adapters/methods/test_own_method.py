"""The documentation's method, defined here alone: it attaches, trains and resumes; without it, its class is named."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import nn

from tests.trainers.tiny_runs import equal, state_of, style_tensors
from trainers import Targets, VelaturaError, attach, build_config, open_run, resume, train
from trainers.config.build import as_table
from trainers.config.config import Config
from trainers.runs.run import Run

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def method() -> Iterator[Any]:
    """The class in docs/own-method.md, as a notebook's cell defines it."""
    page = (ROOT / "docs" / "own-method.md").read_text(encoding="utf-8")
    (cell,) = re.findall(r"^```python\n(\"\"\"LoRA-XS.*?)^```", page, re.MULTILINE | re.DOTALL)
    notebook = ModuleType("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "notebook", notebook)
        exec(cell, vars(notebook))
        yield vars(notebook)["LoRAXS"]


def test_it_attaches(method: Any) -> None:
    network = attach({"model": nn.Sequential(nn.Linear(8, 6))}, method(rank=2), Targets(unet=("*",)), seed=0)
    assert {name.rpartition(".")[2]: p.shape for name, p in network.named_parameters()} == {"R": (2, 2)}


def test_it_is_read_from_settings_and_its_errors_are_sentences(method: Any) -> None:
    config = build_config({"name": "dusk", "method": method(rank=2, alpha=3.0)})
    table = as_table(config)
    assert table["method"]["class"] == "notebook.LoRAXS" and build_config(table) == config
    with pytest.raises(VelaturaError, match=r"lora is the class notebook\.Other, which this process lacks"):
        build_config({"name": "dusk", "method": {"name": "lora", "class": "notebook.Other"}})
    with pytest.raises(VelaturaError, match=r"^method\.rank: Input should be greater than or equal to 1"):
        build_config({"name": "dusk", "method": {"name": "lora-xs", "rank": 0}})
    with pytest.raises(VelaturaError, match=r"^there is no method 'lora-xy'; available are lora, "):
        build_config({"name": "dusk", "method": {"name": "lora-xy"}})


@pytest.mark.slow
def test_it_trains_and_resumes_and_what_lacks_the_class_names_it(
    method: Any, quick: Callable[..., Config], no_pictures: None, tmp_path: Path
) -> None:
    config = quick({"train": {"steps": 3}, "save": {"every": 1}, "method": method(rank=2, alpha=3.0)})
    whole = train(config, tmp_path / "whole")
    run = Run(tmp_path / "cut" / "dusk")
    train(config, run.folder.parent, listener=lambda e: e.get("step") == 2 and run.ask_to_stop("pause"))
    sentence = "method.name = lora-xs is the class notebook.LoRAXS, which this process lacks; import or define it first"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(VelaturaError, match=f"^{sentence}$"):
        patch.setattr(method, "name", "lora-xy")  # as if its cell had not been run
        resume(open_run(run.folder))
    again = resume(open_run(run.folder))
    assert equal(state_of(Run(whole.run), 3), state_of(run, 3))
    assert whole.style is not None and again.style is not None
    tensors = style_tensors(again.style)
    assert equal(style_tensors(whole.style), tensors) and any(bool(t.any()) for t in tensors.values())
