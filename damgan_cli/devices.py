"""Which device and number type to compute with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from damgan_cli.errors import DeviceError

if TYPE_CHECKING:
    import torch


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called ``auto`` (the fastest there is), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises DeviceError, naming what there is, for a device that is absent: nothing falls back silently.
    """
    import torch

    present = ["cpu"]
    if torch.backends.mps.is_available():
        present.insert(0, "mps")
    present[:0] = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if name == "auto":
        return torch.device(present[0])
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in present:
        raise DeviceError(f"There is no device {name!r} here.", f"Choose from auto, {', '.join(present)}.")
    return torch.device(wanted)


def autocast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it faster than float32, else float32."""
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001
        return torch.bfloat16
    return torch.float32
