"""Which device and number type a model runs on."""

from __future__ import annotations

import re

import torch

from damgan_cli.errors import DeviceError
from damgan_cli.model.int8 import is_exact
from damgan_cli.runtime import speed

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
}


def choose_device(spec: str = "auto") -> torch.device:
    """The device named ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises DeviceError, naming what there is, if the device is absent: running elsewhere, silently and slowly,
    is not what was asked for.
    """
    if spec == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if spec == "cpu" or (spec == "mps" and torch.backends.mps.is_available()):
        return torch.device(spec)
    if (match := re.fullmatch(r"cuda(?::(\d+))?", spec)) and torch.cuda.is_available():
        index = int(match[1]) if match[1] else torch.cuda.current_device()
        if index < torch.cuda.device_count():
            return torch.device("cuda", index)
    known = spec == "mps" or match
    raise DeviceError(
        f"Device {spec} is not available here." if known else f"There is no kind of device called {spec!r}.",
        f"Available: auto, {', '.join(available_devices())}.",
    )


def available_devices() -> list[str]:
    """What may be asked for on this machine, GPUs with their names."""
    gpus = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def choose_dtype(spec: str, device: torch.device, *, training: bool = False) -> torch.dtype:
    """The number type that convolutions run in; results are float32 in any case.

    "auto" takes on a CPU what a measurement finds faster there, with the backward pass if ``training`` (see
    `speed`); on a GPU bfloat16, float16 where the card has no bfloat16; else float32. Raises DeviceError for
    unknown names, for float16 on the CPU, and for int8 where it cannot be had.
    """
    if spec == "auto":
        if device.type == "cuda":
            return (
                torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
            )
        return speed.fastest(training=training) if device.type == "cpu" else torch.float32
    if spec not in DTYPES:
        raise DeviceError(f"There is no number type {spec!r}.", f"Use auto, {', '.join(DTYPES)}.")
    if spec == "float16" and device.type == "cpu":
        raise DeviceError("float16 is slower than float32 on a CPU.", "Use --dtype auto or bfloat16.")
    if spec == "int8":
        _check_int8(device)
    return DTYPES[spec]


def _check_int8(device: torch.device) -> None:
    problem = None
    if device.type != "cpu":
        problem = f"int8 is for CPUs, not for {device}."
    elif not is_exact():
        problem = "This CPU, or this version of torch, has no exact int8 convolutions (AVX-VNNI)."
    if problem:
        raise DeviceError(problem, "Use --dtype auto or bfloat16.")
