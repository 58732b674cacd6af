"""How much memory there is and was."""

from __future__ import annotations

import psutil
import torch

from trainers.memory import free_memory, peak_memory

CPU = torch.device("cpu")
MANY = 64 << 20
SLACK = 4 << 20  # the system counts pages on each processor and adds them up now and then


def test_the_peak_rises_with_what_is_held_and_stays():
    before = peak_memory(CPU)
    room = before - psutil.Process().memory_info().rss  # of an earlier peak
    held = bytearray(MANY + max(0, room))
    held[::4096] = b"x" * len(held[::4096])  # a page is counted once it is written to
    during = peak_memory(CPU)
    del held
    assert during >= before + MANY // 2 and peak_memory(CPU) >= during - SLACK


def test_what_is_free_is_part_of_what_there_is():
    assert 0 < free_memory(CPU) < psutil.virtual_memory().total
