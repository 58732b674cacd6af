"""Arguments of optimizers: what a line may say, and that each library takes what the list allows."""

from __future__ import annotations

from inspect import signature
from typing import get_args

import pytest

from trainers.config.optimizers import ARGUMENTS, parse_arguments
from trainers.config.sections import Train
from trainers.errors import VelaturaError


def test_a_line_of_arguments():
    assert parse_arguments("adamw", "") == {}
    assert parse_arguments("adamw", "betas = 0.9, 0.99  eps=1e-8") == {"betas": (0.9, 0.99), "eps": 1e-8}
    line = "d0=1e-05 decouple=True use_bias_correction=False"
    assert parse_arguments("prodigy", line) == {"d0": 1e-5, "decouple": True, "use_bias_correction": False}


@pytest.mark.parametrize(
    ("optimizer", "line", "words"),
    [
        ("adamw", "betas=0.9", "betas=0.9' has an invalid value"),
        ("adamw", "betas=0.9,1.5", "invalid value"),
        ("adamw", "eps", "invalid value"),
        ("adamw", "eps=-1", "invalid value"),
        ("prodigy", "decouple=maybe", "invalid value"),
        ("lion", "eps=1e-8", "train.optimizer = lion takes no argument 'eps'; allowed are betas"),
        ("adamw", "__class__=1", "takes no argument '__class__'"),
    ],
)
def test_other_lines_are_refused(optimizer, line, words):
    with pytest.raises(VelaturaError, match=words):
        Train(optimizer=optimizer, optimizer_args=line)


def test_every_optimizer_has_a_list_and_its_library_takes_it():
    from bitsandbytes.optim import AdamW8bit, PagedAdamW, PagedAdamW8bit
    from lion_pytorch import Lion
    from prodigyopt import Prodigy
    from prodigyplus import ProdigyPlusScheduleFree
    from pytorch_optimizer import CAME, ScheduleFreeAdamW
    from torch.optim import AdamW
    from transformers.optimization import Adafactor

    kinds = {
        "adamw": AdamW, "adamw8bit": AdamW8bit, "paged-adamw": PagedAdamW, "paged-adamw8bit": PagedAdamW8bit,
        "adafactor": Adafactor, "lion": Lion, "prodigy": Prodigy, "came": CAME, "schedule-free": ScheduleFreeAdamW,
        "prodigy-schedule-free": ProdigyPlusScheduleFree,
    }  # fmt: skip
    assert kinds.keys() == ARGUMENTS.keys() == set(get_args(Train.model_fields["optimizer"].annotation))
    for name, kind in kinds.items():
        assert ARGUMENTS[name].keys() <= signature(kind.__init__).parameters.keys()
