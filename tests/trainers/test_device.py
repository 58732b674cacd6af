"""Where a run computes, in what number format, and what it says where that is not to be had."""

from __future__ import annotations

import pytest
import torch

from trainers.config.sections import Train
from trainers.device import choose_device, choose_format, make_accelerator
from trainers.errors import VelaturaError

CPU = torch.device("cpu")


def test_devices():
    assert choose_device("cpu") == CPU
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto").type == best


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "cpu cpu"])
def test_what_is_no_device(name):
    with pytest.raises(VelaturaError, match="is not a device; use auto, cpu"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda:99", "meta", "xpu"])
def test_devices_that_are_not_there(name):
    with pytest.raises(VelaturaError, match="is not available on this machine"):
        choose_device(name)


@pytest.mark.parametrize("there", [True, False])
def test_formats_on_a_cpu(there, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: there, raising=False)
    assert choose_format("auto", CPU, small=False) == (torch.bfloat16 if there else torch.float32)
    assert choose_format("auto", CPU, small=True) == torch.float32
    assert choose_format("bf16", CPU, small=True) == torch.bfloat16
    assert choose_format("fp32", CPU, small=False) == torch.float32
    with pytest.raises(VelaturaError, match="use bf16 or fp32"):
        choose_format("fp16", CPU, small=False)


@pytest.mark.parametrize(("there", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_formats_on_a_gpu(there, expected, monkeypatch):
    # Without hardware for it, torch emulates it, which counts as support unless emulation is left out.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: there or including_emulation)
    gpu = torch.device("cuda")
    assert choose_format("auto", gpu, small=True) == expected
    assert choose_format("fp16", gpu, small=False) == torch.float16


def test_the_accelerator_follows_the_device(tmp_path):
    accelerator = make_accelerator(Train(), CPU, torch.bfloat16, str(tmp_path))
    assert accelerator.device == CPU and accelerator.scaler is None
    assert accelerator.mixed_precision == "no"  # the base is in its format already


def test_a_tracker_that_is_not_installed_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(VelaturaError, match=r"pip install wandb"):
        make_accelerator(Train(tracker="wandb"), CPU, torch.float32, str(tmp_path))
