"""Convolutions with what follows them, leaky ReLU or a sum.

For inference on a CPU oneDNN computes both at once, so that features are not read and written once more (our
choice; docs/performance.md).
"""

from __future__ import annotations

import platform
from functools import lru_cache
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.2
Module = TypeVar("Module", bound=nn.Module)
_X86 = "x86_64", "amd64"
"""Elsewhere what follows may be left to slow general code."""


class Conv(nn.Conv2d):
    """A convolution with a bias, and leaky ReLU after it if it ``leaks``."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        *,
        leaks: bool = False,
    ) -> None:
        super().__init__(channels, out_channels, kernel_size, stride, padding, dilation)
        self.leaks = leaks

    def forward(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """(B, C, h, w) -> (B, C', h', w'), see `convolve`."""
        where: Any = self.stride, self.padding, self.dilation
        return convolve(x, self.weight, self.bias, *where, leaks=self.leaks, onto=onto)


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    *,
    leaks: bool = False,
    onto: Tensor | None = None,
) -> Tensor:
    """`torch.nn.functional.conv2d`, then leaky ReLU if it ``leaks``, or the sum with ``onto``.

    ``onto`` is of the result's size and may hold the sum afterwards.
    """
    if not _at_once(x, weight):
        return followed(F.conv2d(x, weight, bias, stride, padding, dilation), leaks=leaks, onto=onto)
    ops: Any = torch.ops.mkldnn
    given = x.to(weight.dtype), weight, bias, padding, stride, dilation, 1
    result: Tensor
    if onto is not None and onto.dtype == weight.dtype:
        result = ops._convolution_pointwise_.binary(onto, *given, "add", 1.0, None, [], None)
    else:
        activation = ("leaky_relu", [LEAK], "") if leaks else ("none", [], "")
        result = ops._convolution_pointwise(*given, *activation)  # noqa: SLF001
        result = result if onto is None else result.add_(onto)
    return result


def with_convolutions_in(model: Module, dtype: torch.dtype) -> Module:
    """``model``, the weights of its convolutions in what autocast would convert them to in each pass."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(dtype)
    return model


def followed(x: Tensor, *, leaks: bool, onto: Tensor | None) -> Tensor:
    """What follows a convolution of result ``x``, in its memory."""
    if onto is not None:
        x = x.add_(onto)
    return F.leaky_relu_(x, LEAK) if leaks else x


def _at_once(x: Tensor, weight: Tensor) -> bool:
    if torch.compiler.is_compiling() or x.device.type != "cpu" or not torch.is_inference_mode_enabled():
        return False
    # under autocast, which does not know the operator, weights are in its type already or left to it
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return weight.dtype == dtype and _possible(dtype)


@lru_cache
def _possible(dtype: torch.dtype) -> bool:
    """Whether this torch has the operators, which are those of its compiler and not public, for this CPU."""
    if platform.machine().lower() not in _X86 or dtype not in (torch.float32, torch.bfloat16):
        return False
    x, weight = torch.ones(1, 16, 4, 4, dtype=dtype), torch.full((16, 16, 1, 1), -1.0, dtype=dtype)
    ops: Any = torch.ops.mkldnn
    given = x, weight, None, (0, 0), (1, 1), (1, 1), 1
    try:
        with torch.inference_mode():
            leaked = ops._convolution_pointwise(*given, "leaky_relu", [LEAK], "")  # noqa: SLF001
            total = ops._convolution_pointwise_.binary(x.clone(), *given, "add", 1.0, None, [], None)
    except (AttributeError, RuntimeError, TypeError):
        return False
    found = torch.stack([leaked.float().mean(), total.float().mean()])
    return torch.allclose(found, torch.tensor([-16 * LEAK, -15.0]), rtol=0.01)
