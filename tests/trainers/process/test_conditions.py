"""The cause of slow steps, from two readings of the machine."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from trainers.process.conditions import Conditions, likely_cause, probe_of

BEFORE = Conditions(free=8 * 10**9, total=16 * 10**9, swapped=10**9, clock=100.0, others=50.0, idle=900.0)
LATER = dataclasses.replace(BEFORE, clock=110.0, idle=920.0)


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({}, "no cause was found in memory, heat and other programs"),
        ({"swapped": 10**9 + 2**27}, "memory is short, and the system moves parts of it to the disk"),
        ({"free": 3 * 10**8}, "only 0.3 GB of memory are free"),
        ({"degrees": 84.0}, "the graphics card has 84 °C and lowers its clock"),
        ({"others": 65.0, "idle": 905.0}, "other programs use 1.5 processor cores"),
        ({"others": 65.0}, "no cause was found"),  # two cores are idle
    ],
)
def test_the_condition_that_explains_slow_steps_is_named(changed, cause):
    assert likely_cause(BEFORE, dataclasses.replace(LATER, **changed)).startswith(cause)


def test_a_probe_reads_this_machine():
    probe = probe_of(torch.device("cpu"))
    before, now = probe(), probe()
    assert 0 < now.free <= now.total and now.clock >= before.clock > 0
    assert now.idle >= before.idle >= 0 and now.degrees == 0


def test_a_machine_that_does_not_say_how_it_is_ends_no_run(monkeypatch):
    def denied() -> None:
        raise PermissionError("/proc/stat")

    monkeypatch.setattr("psutil.cpu_times", denied)
    conditions = probe_of(torch.device("cpu"))()
    assert likely_cause(conditions, conditions).startswith("no cause was found")
