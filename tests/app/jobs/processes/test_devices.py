"""Which device a job gets, and what keeps its process to that one."""

from __future__ import annotations

import pytest
import torch

from app.jobs.processes.devices import DeviceOffer, environment_for, find_devices

CARDS = DeviceOffer(("cuda:0", "cuda:1", "cpu"), complete=True)


@pytest.mark.parametrize(
    ("wants", "taken", "device"),
    [
        ("auto", (), "cuda:0"),
        ("auto", ("cuda:0",), "cuda:1"),
        ("auto", ("cuda:0", "cuda:1"), None),  # rather wait than train for days on the CPU
        ("cuda", ("cuda:0",), "cuda:1"),
        ("cuda:1", ("cuda:0",), "cuda:1"),
        ("cuda:1", ("cuda:1",), None),
        ("cpu", ("cuda:0", "cuda:1"), "cpu"),
        ("cpu", ("cpu",), None),
        ("mps", (), "cuda:0"),  # it will say that there is none
        ("cuda:7", ("cuda:0",), "cuda:1"),
        ("auto*2", (), "cuda:0+cuda:1"),
        ("cuda*2", ("cuda:1",), "~cuda:0+cuda:1"),  # later, and nothing else gets them
        ("cuda*3", ("cuda:0",), "cuda:1"),  # it will say that there are only two
        ("cpu*2", (), "cpu"),
    ],
)
def test_the_device_of_a_job(wants, taken, device):
    assert CARDS.choose(wants, frozenset(taken)) == device


def test_the_cpu_alone_is_good_enough_and_counts_as_one():
    alone = DeviceOffer(("cpu",), complete=True)
    assert alone.choose("auto", frozenset()) == "cpu" and alone.choose("auto", frozenset({"cpu"})) is None


def test_a_worker_of_one_device_leaves_the_others_jobs_alone():
    one = DeviceOffer(("cuda:1",), complete=False)
    assert one.choose("auto", frozenset()) == "cuda:1"
    assert one.choose("cuda*2", frozenset()) is None
    assert one.choose("cuda:0", frozenset()) is None and one.choose("cpu", frozenset()) is None


def test_a_process_sees_its_own_card_only(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert environment_for("auto", "cuda:1") == {"CUDA_VISIBLE_DEVICES": "1"}
    assert environment_for("cuda", "cuda:0") == {"CUDA_VISIBLE_DEVICES": "0"}
    assert environment_for("cuda:1", "cuda:1") == {}  # the config names it as this process sees it
    assert environment_for("cpu", "cpu") == {}
    assert environment_for("auto*2", "cuda:1+cuda:3") == {"CUDA_VISIBLE_DEVICES": "1,3"}
    assert environment_for("auto", "cpu") == {"CUDA_VISIBLE_DEVICES": ""}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 6")
    assert environment_for("auto", "cuda:1") == {"CUDA_VISIBLE_DEVICES": "6"}


def test_the_devices_of_this_machine():
    offer = find_devices()
    assert offer.complete and offer.devices[-1] == "cpu"
    assert len([device for device in offer.devices if device.startswith("cuda:")]) == torch.cuda.device_count()
