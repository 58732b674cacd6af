"""How much memory there is and was."""

from __future__ import annotations

import psutil
import torch

from app.jobs.processes.free_memory import free_share
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


def test_a_container_has_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("trainers.container.CGROUP", tmp_path)
    free = psutil.virtual_memory().available
    for name, text in {
        "memory.max": 5 << 20,
        "memory.current": 4 << 20,
        "memory.stat": "anon 1\ninactive_file 512",
    }.items():
        (tmp_path / name).write_text(f"{text}\n")
    assert free_memory(CPU) == (1 << 20) + 512 and abs(free_share() - 0.2) < 1e-3
    (tmp_path / "memory.max").write_text("max\n")
    assert abs(free_memory(CPU) - free) < 2**30
