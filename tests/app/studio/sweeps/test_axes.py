from __future__ import annotations

import pytest

from app.studio.sweeps.axes import Axis, name_part, read_axes, text_of
from trainers.errors import VelaturaError


def test_values_are_those_that_set_reads() -> None:
    grid = ("train.learning_rate=1e-4, 3e-4", "data.flip=true,false", "sample.seeds=[1,2],[3]", 'base.model="a,b",c')
    rate, flip, seeds, base = (axis.values for axis in read_axes(grid))
    assert rate == (1e-4, 3e-4) and flip == (True, False) and seeds == ([1, 2], [3]) and base == ("a,b", "c")


def test_methods_come_first_and_seeds_last() -> None:
    axes = read_axes(["method.rank+method.alpha=4,8"], "lora,loha", "2", seed=7)
    assert [axis.title for axis in axes] == ["method.name", "method.rank+method.alpha", "seed"]
    assert axes[-1].values == (7, 8) and read_axes(seeds="7,")[0].values == (7,)
    assert read_axes(["train.steps=1,2", "method.name=lora,loha"])[0].keys == ("method.name",)


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("method.name", "t-lora", "t-lora"),
        ("method.rank", 4, "r4"),
        ("seed", 1, "s1"),
        ("train.learning_rate", 1e-4, "lr0.0001"),
        ("train.learning_rate", 1e-5, "lr1e-05"),
        ("loss.offset", -1, "offset-1"),
        ("data.flip", True, "flip-on"),
        ("train.optimizer", "prodigy", "optimizer-prodigy"),
        ("base.model", "/a b/<c>.safetensors", "model-a-b-c-.safetensors"),
        ("sample.seeds", [1, 2], "seeds1-2"),
    ],
)
def test_names_are_short_and_valid(key: str, value: object, part: str) -> None:
    assert name_part(Axis((key,), (value,)), value) == part


def test_a_value_in_words() -> None:
    assert [text_of(value) for value in (True, 0.0001, [1, 2], "a")] == ["on", "0.0001", "1 2", "a"]


@pytest.mark.parametrize("grid", ["=1,2", "method.rank=", "method.rank=,", "+method.rank=1,2"])
def test_what_is_no_axis_is_refused(grid: str) -> None:
    with pytest.raises(VelaturaError, match=r"no values|not an axis"):
        read_axes([grid])
