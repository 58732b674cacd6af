"""How much memory there is and was."""

from __future__ import annotations

import psutil
import torch

from trainers.memory import free_memory, peak_memory

CPU = torch.device("cpu")
MANY = 64 << 20
SLACK = 4 << 20  # the system counts pages on each processor and adds them up now and then


def test_the_peak_rises_with_what_is_held_and_stays():
    before, held = peak_memory(CPU), list[bytearray]()
    while len(held) < 32 and psutil.Process().memory_info().rss < before + MANY:  # the system takes other pages back
        held.append(bytearray(MANY))
        held[-1][::4096] = b"x" * len(held[-1][::4096])  # a page is counted once it is written to
    during = peak_memory(CPU)
    held.clear()
    assert during >= before + MANY - SLACK and peak_memory(CPU) >= during - SLACK


def test_what_is_free_is_part_of_what_there_is():
    assert 0 < free_memory(CPU) < psutil.virtual_memory().total
