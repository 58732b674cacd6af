"""Freed memory: kept for the next tensor, and returned when asked."""

from __future__ import annotations

import platform
from multiprocessing import get_context

import psutil
import pytest

from trainers.process.allocation import keep_freed_memory, return_freed_memory

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such options")
BYTES = 48 * 2**20
"""More than glibc's largest threshold, above which it always maps new memory."""


def faults_of_a_large_tensor() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    memory = bytearray(BYTES)
    memory[:: resource.getpagesize()] = b"x" * len(range(0, BYTES, resource.getpagesize()))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def measure(connection):
    anew = [faults_of_a_large_tensor() for _ in range(3)][-1]
    keep_freed_memory()
    kept = [faults_of_a_large_tensor() for _ in range(3)][-1]
    held = psutil.Process().memory_info().rss
    return_freed_memory()
    connection.send((anew, kept, held - psutil.Process().memory_info().rss))


def test_freed_memory_is_used_again_without_page_faults_and_can_be_returned():
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=measure, args=(there,))  # other tests train here
    process.start()
    anew, kept, returned = here.recv()
    process.join()
    assert anew >= 10 * max(1, kept)  # with large pages, too, of which there are 24
    assert returned > BYTES / 2
