"""Much of the generator in 8-bit integers, for inference on a CPU.

As Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference" (2018), have it: what goes into a convolution is rounded to 256 levels, its weights to 255 with a
step for each output channel, and sums of their products are exact. oneDNN computes that twice as fast as
bfloat16. But features have long tails, longest in a few channels, and levels that hold these leave little for
the others. So each channel of each image has levels of its own, by the range of its features: weights are
multiplied by the channels' steps before they are rounded, for each image anew, which costs little where it
has many pixels (our choice; docs/performance.md).
"""

from __future__ import annotations

import copy
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from damgan_cli.model.conv import Conv, followed
from damgan_cli.model.winograd import Conv3x3

if TYPE_CHECKING:
    from damgan_cli.model.generator import Generator

_PARTS = ("middle", "encode2.block", "decode3", "decode2")
"""Of the DAM stage, those whose 3x3 convolutions are for int8: at 1/8 and 1/4 of the size. Above, where there
are fewer channels, finding their ranges takes about as long as is saved (docs/performance.md)."""
_LEVELS = 255
"""Of a feature, besides the lowest."""
_LARGEST = 127
"""Of a weight, in steps."""
_STEPS = 8
"""Of so many to a power of two a channel's step is the next, so that other last bits, as in a batch, hardly
ever give another step."""
_WORTH = {torch.float32: 1024, torch.bfloat16: 4096}
"""px from which a feature saves more, against what it would be computed in, than rounding weights takes."""
_TINY = 1e-30


class Int8Conv(Conv3x3):
    """`Conv3x3` whose input and weights are rounded to 8 bits, by the range of each channel of each image.

    Where there are few pixels it is computed as it is.
    """

    def __init__(self, conv: Conv) -> None:
        super().__init__(conv.in_channels, conv.out_channels, conv.dilation[0], leaks=conv.leaks)
        self.load_state_dict(conv.state_dict())
        # as they are, as a module's own may be cast to bfloat16 for where it is computed as it is
        self._weight, self._bias = (tensor.float() for tensor in conv.state_dict().values())
        self._reach = self._weight.abs().amax((2, 3))  # (C', C)
        self._zeros = torch.zeros(len(self._weight), dtype=torch.int64)

    def forward(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """(B, C, h, w) -> (B, C', h, w) of the same number type, see `convolve`."""
        if x.shape[2] * x.shape[3] < _WORTH[self.weight.dtype]:
            return super().forward(x, onto)
        images = [self.rounded(x[number : number + 1]) for number in range(len(x))]
        return followed(images[0] if len(x) == 1 else torch.cat(images), leaks=self.leaks, onto=onto)

    def rounded(self, x: Tensor) -> Tensor:
        """The convolution alone of one image (1, C, h, w), of any size.

        Nothing of it is finite if one of its features is not, as then a step is not.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        high, low = (F.adaptive_max_pool2d(each, 1).float().clamp_min(0) for each in (x, -x))  # (1, C, 1, 1)
        step = (((high + low) / _LEVELS).clamp_min(_TINY).log2() * _STEPS).ceil().div(_STEPS).exp2()
        zero = (low / step).round()  # the level of 0

        C, reach = x.shape[1], self.dilation[0]
        levels = F.pad(x, (reach,) * 4).float().mul_(1 / step).add_(zero)
        rounded = torch.quantize_per_tensor(levels, 1.0, 0, torch.quint8)
        seen = torch.empty(0, dtype=torch.uint8)  # the same memory: Tensor.int_repr would copy it, slowly
        seen.set_(rounded.untyped_storage(), 0, rounded.shape, rounded.stride())

        steps = (self._reach * step.view(C)).amax(1).div(_LARGEST).clamp_min(_TINY)  # (C',)
        weight = (self._weight * (step.view(C) / steps[:, None])[..., None, None]).round_()
        # not as a product of matrices, which autocast would round
        bias = self._bias - steps * (weight.sum((2, 3)) * zero.view(C)).sum(1)
        where = [1, 1], [0, 0], [reach, reach], 1
        ops: Any = torch.ops.onednn
        packed = ops.qconv_prepack(weight.to(torch.int8), steps, 1.0, 0, *where, None)
        given = seen, 1.0, 0, packed, steps, self._zeros, bias
        result: Tensor = ops.qconv2d_pointwise(*given, *where, 1.0, 0, x.dtype, "none", [], "")
        return result


def int8_convolutions(generator: Generator) -> dict[str, Conv]:
    """By name, those that int8 is for: all 3x3 that keep the size."""
    return {
        f"dam_stage.{name}": module
        for name, module in generator.dam_stage.named_modules()
        if isinstance(module, Conv) and name.startswith(_PARTS)
    }


def in_int8(generator: Generator) -> Generator:
    """A copy, on the CPU, with its `int8_convolutions` in int8."""
    rounded = copy.deepcopy(generator).cpu().float()
    for name, conv in int8_convolutions(rounded).items():
        whole, _, part = name.rpartition(".")
        setattr(rounded.get_submodule(whole), part, Int8Conv(conv))
    return rounded


@lru_cache(maxsize=1)
def is_exact() -> bool:
    """Whether this CPU and this torch compute int8 convolutions, and exactly.

    A CPU without VNNI adds products in pairs of 16 bits, which overflow.
    """
    conv = Conv(32, 16, 3, padding=1)
    nn.init.constant_(conv.weight, _LARGEST)
    largest = torch.full((1, 32, 8, 8), float(_LEVELS))  # in steps of 1
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            # once, and not for users: quantize_per_tensor may go some day, and int8 with it
            warnings.simplefilter("ignore")
            found = Int8Conv(conv).rounded(largest)
            return torch.allclose(found, F.conv2d(largest, conv.weight, conv.bias, padding=1))
    except (AttributeError, RuntimeError, NotImplementedError):  # not in this torch, or not on this CPU
        return False
