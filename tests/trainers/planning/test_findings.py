"""What is known of a run before it starts, and its repairs."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.errors import REFUSED, VelaturaError
from trainers.planning.findings import changes_of, check_ahead, find_ahead

NO_CARD = pytest.mark.skipif(torch.cuda.is_available(), reason="a card has what these lack")
ON_A_CPU = {
    "train.precision=fp16": ("does not work on a CPU", "fp16 → auto on this computer"),
    "train.optimizer=paged-adamw": ("this run has no CUDA device", "paged-adamw → adamw on this computer"),
    "train.offload_optimizer=true": ("no effect without a CUDA device", "on → off on this computer"),
    "train.device=cuda:7": ("not available on this machine", "cuda:7 → auto on this computer"),
}


def config(*assignments: str, **more: Any) -> Config:
    table: dict[str, Any] = {"name": "x", **more}
    for each in assignments:
        key, value = each.split("=")
        section, name = key.split(".")
        table.setdefault(section, {})[name] = value
    return build_config(table)


def with_changes(before: Config, changes: dict[str, Any]) -> Config:
    tables: list[dict[str, Any]] = [before.model_dump(mode="json")]
    for key, value in changes.items():
        section, name = key.split(".")
        tables.append({section: {name: value}})
    return build_config(*tables)


@NO_CARD
@pytest.mark.parametrize("setting", ON_A_CPU)
def test_what_this_computer_lacks_is_found_with_its_repair(setting: str) -> None:
    (finding,) = find_ahead(config(setting))
    problem, repair = ON_A_CPU[setting]
    assert problem in finding.problem and (finding.repair, finding.stops) == (repair, True)
    assert find_ahead(config(setting), is_here=False) == (), "another computer may have it"
    assert find_ahead(with_changes(config(setting), changes_of([finding]))) == ()


def test_a_package_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    found = find_ahead(config("train.optimizer=adamw8bit", "train.tracker=wandb"))
    assert [one.repair for one in found] == ["adamw8bit → adamw on this computer", "wandb → none on this computer"]
    assert "pip install bitsandbytes" in found[0].problem


def test_sizes_far_from_the_bases_own_are_found(tiny_bases: dict[str, Path]) -> None:
    large, previews = find_ahead(config("data.resolution=512", "sample.size=512"))
    far = "data.resolution = 512 is far above the 128 pixels of Velatura starter"
    assert large.problem == f"{far}; a picture takes about 16 times as long and looks worse"
    assert large.repair == previews.repair == "512 → 128 on the starter" and not large.stops
    assert find_ahead(with_changes(config("data.resolution=512"), changes_of([large]))) == ()
    assert find_ahead(config("data.resolution=192")) == ()
    (small,) = find_ahead(config("data.resolution=32", "sample.size=128"))
    assert "far below the 128 pixels of Velatura starter" in small.problem and not small.stops
    base = {"base": {"model": str(tiny_bases["sd1"])}}
    (other,) = find_ahead(config("data.resolution=512", **base))
    assert other.repair == "512 → 64 on sd1"
    assert find_ahead(config("data.resolution=512", base={"model": "nobody/nothing"})) == (), "nothing is downloaded"


def test_sizes_that_the_base_cannot_have_stop_the_run() -> None:
    found = find_ahead(config("data.resolution=4", "sample.size=100"))
    assert [(one.key, one.stops) for one in found] == [("data.resolution", True), ("sample.size", True)]
    with pytest.raises(
        VelaturaError, match=r"too small for Velatura starter.*repair it with --set data.resolution=0"
    ) as error:
        check_ahead(config("data.resolution=4"))
    assert error.value.code == REFUSED
    check_ahead(config("data.resolution=512"))


def test_a_skip_of_a_shallow_encoders_layers_is_found_and_repaired() -> None:
    (skip,) = find_ahead(config("base.clip_skip=2"))
    assert "skips a layer of the 3 that the text encoder of Velatura starter has" in skip.problem
    assert (skip.repair, skip.stops) == ("2 → 1 on the starter", False)
    assert find_ahead(with_changes(config("base.clip_skip=2"), changes_of([skip]))) == ()


def test_a_skip_of_a_deep_encoders_layers_is_no_finding(tmp_path: Path, tiny_bases: dict[str, Path]) -> None:
    base = shutil.copytree(tiny_bases["sd1"], tmp_path / "deep")
    of_encoder = base / "text_encoder" / "config.json"
    of_encoder.write_text(json.dumps({**json.loads(of_encoder.read_text()), "num_hidden_layers": 12}))
    assert find_ahead(config("base.clip_skip=2", base={"model": str(base)})) == ()
