"""Devices and number types: what is asked for, or an error that says what there is."""

from __future__ import annotations

import pytest
import torch

from damgan_cli.errors import DeviceError
from damgan_cli.runtime import device
from damgan_cli.runtime.device import choose_device, choose_dtype

CPU = torch.device("cpu")


def test_cpu_and_auto():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in {"cpu", "cuda", "mps"}


def test_absent_devices_are_an_error_that_names_what_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    for spec in ("cuda", "cuda:0", "cuda:7", "mps"):
        with pytest.raises(DeviceError, match=f"Device {spec} is not available") as caught:
            choose_device(spec)
        assert caught.value.hint == "Available: auto, cpu."
    for spec in ("gpu", "cuda:x", "cuda:-1", "", "CPU"):
        with pytest.raises(DeviceError, match="no kind of device"):
            choose_device(spec)


def test_a_gpu_is_taken_by_auto_and_counted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Card {index}")
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 0)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(DeviceError) as caught:
        choose_device("cuda:2")
    assert "cuda:0 (Card 0), cuda:1 (Card 1)" in caught.value.hint


def test_number_types(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    assert choose_dtype("auto", cpu) in {torch.float32, torch.bfloat16}
    assert choose_dtype("bfloat16", cpu) is torch.bfloat16
    assert choose_dtype("float16", gpu) is torch.float16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert choose_dtype("auto", gpu) is torch.float16
    assert choose_dtype("auto", torch.device("mps")) is torch.float32
    with pytest.raises(DeviceError, match="float16 is slower"):
        choose_dtype("float16", cpu)
    with pytest.raises(DeviceError, match="no number type 'int4'"):
        choose_dtype("int4", cpu)


def test_int8_is_refused_where_it_cannot_be_had(monkeypatch):
    monkeypatch.setattr(device, "is_exact", lambda: True)
    assert choose_dtype("int8", CPU) is torch.int8
    with pytest.raises(DeviceError, match="int8 is for CPUs, not for cuda:0"):
        choose_dtype("int8", torch.device("cuda", 0))
    monkeypatch.setattr(device, "is_exact", lambda: False)
    with pytest.raises(DeviceError, match="no exact int8 convolutions"):
        choose_dtype("int8", CPU)
