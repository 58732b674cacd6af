"""Threads of a training: chosen by what else trains, asleep soon when they have nothing to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import pytest
import torch

from trainers.process.threads import (
    SPINS,
    choose_threads,
    computing_with,
    limit_spinning,
    passing_threads,
)

pytestmark = pytest.mark.usefixtures("nothing_else_trains")

APART = get_context("fork")  # a new process would import torch for two seconds


def hold_threads(connection: Connection) -> None:
    with passing_threads():
        connection.send("training")
        connection.recv()


@contextmanager
def another_training() -> Iterator[BaseProcess]:
    here, there = APART.Pipe()
    process = APART.Process(target=hold_threads, args=(there,))
    process.start()
    try:
        assert here.recv() == "training"
        yield process
    finally:
        process.kill()
        process.join()


def threads_beside() -> int:
    with passing_threads():
        return torch.get_num_threads()


@pytest.mark.thorough  # `test_priority.py` in tests/app/jobs/processes looks at a job, the next one at the variables
@pytest.mark.process
@pytest.mark.parametrize("own", ["", "77"])
def test_the_openmp_library_is_told_to_sleep_soon_where_the_user_has_not_told_it_otherwise(own):
    code = "from trainers.process.threads import limit_spinning; limit_spinning(); import torch"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP", "GOMP"))}

    env = environment | {"OMP_DISPLAY_ENV": "verbose"} | ({"GOMP_SPINCOUNT": own} if own else {})
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stderr
    found = re.search(r"GOMP_SPINCOUNT = '(\d+)'", said)
    if found is None:
        pytest.skip("torch's OpenMP library here is another one than GNU's")
    assert found[1] == (own or str(SPINS))


def test_a_setting_of_the_user_s_own_stays():
    chosen = {"KMP_BLOCKTIME": "0"}
    limit_spinning(chosen)
    assert chosen == {"KMP_BLOCKTIME": "0", "GOMP_SPINCOUNT": str(SPINS)}
    counted = {"GOMP_SPINCOUNT": "77"}
    limit_spinning(counted)
    assert counted["GOMP_SPINCOUNT"] == "77"
    active = {"OMP_WAIT_POLICY": "active"}
    limit_spinning(active)
    assert active == {"OMP_WAIT_POLICY": "active"}


@pytest.mark.process
def test_threads_are_shared_with_other_trainings_until_they_die():
    with computing_with(6):
        assert threads_beside() == 6
        with another_training() as one, another_training():
            assert threads_beside() == 2
            one.kill()
            one.join()
            assert threads_beside() == 3
        assert threads_beside() == 6 and torch.get_num_threads() == 6


def test_at_least_one_thread_is_chosen_and_a_number_in_the_environment_wins(monkeypatch):
    with computing_with(2):
        assert [choose_threads(others) for others in (0, 1, 5)] == [2, 1, 1]
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert choose_threads(5) == 2
