"""3x3 convolutions with a quarter of the multiplications, for inference on a CPU.

Lavin & Gray, "Fast algorithms for convolutional neural networks" (2016), F(4x4, 3x3): a tile of 6x6 is
transformed, multiplied with transformed weights, and transformed back into 4x4. PyTorch does this on GPUs
(cuDNN); oneDNN, which it uses on CPUs, no longer does. It pays where channels are many and pixels few.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from damgan_cli.model.conv import Conv, followed

_WIDE = 96
"""Channels from which the transforms cost less than they save (docs/performance.md)."""
_WASTE = 1.5
"""Whole tiles may cover this many times the pixels there are; a dilated convolution has tiles of its own for
each of its phases."""

# B^T, G and A^T of the paper, for the interpolation points 0, 1, -1, 2, -2 and infinity
_INPUT = torch.tensor(
    [
        [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
        [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
        [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
        [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
        [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
        [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
    ]
)
_WEIGHT = torch.tensor(
    [
        [1 / 4, 0.0, 0.0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0.0, 0.0, 1.0],
    ]
)
_OUTPUT = torch.tensor(
    [
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        [0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
        [0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
        [0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
    ]
)
# for both directions at once
_TO_TILE, _TO_WEIGHTS, _FROM_TILE = (torch.kron(matrix, matrix) for matrix in (_INPUT, _WEIGHT, _OUTPUT))


class Conv3x3(Conv):
    """A 3x3 convolution that keeps the size: as `Conv`, but faster where it can be.

    That is in float32 on a CPU, in ``torch.inference_mode``. Results differ by rounding, some 1e-5 of theirs.
    """

    def __init__(self, channels: int, out_channels: int, dilation: int = 1, *, leaks: bool = False) -> None:
        super().__init__(channels, out_channels, 3, padding=dilation, dilation=dilation, leaks=leaks)
        self._transformed: tuple[tuple[int, int], Tensor] | None = None

    def forward(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W), see `convolve`."""
        if self._pays(x):
            return followed(self._by_winograd(x), leaks=self.leaks, onto=onto)
        return super().forward(x, onto)

    def _pays(self, x: Tensor) -> bool:
        if torch.compiler.is_compiling():  # or exporting; the compiler cannot look into what is asked next
            return False
        usable = (
            x.device.type == "cpu"
            and x.dtype == torch.float32
            and torch.is_inference_mode_enabled()
            and not torch.is_autocast_enabled("cpu")
        )
        if not usable or min(self.in_channels, self.out_channels) < _WIDE:
            return False
        H, W = x.shape[2:]
        tall, wide = self._tiles(H, W)
        return (4 * self.dilation[0]) ** 2 * tall * wide <= _WASTE * H * W

    def _tiles(self, H: int, W: int) -> tuple[int, int]:
        side = 4 * self.dilation[0]
        return -(-H // side), -(-W // side)

    def _by_winograd(self, x: Tensor) -> Tensor:
        B, C, H, W = x.shape
        d, O = self.dilation[0], self.out_channels  # noqa: E741
        tall, wide = self._tiles(H, W)
        below, right = 4 * d * tall - H, 4 * d * wide - W
        x = F.pad(x.permute(0, 2, 3, 1), (0, 0, d, d + right, d, d + below)).contiguous()  # (B, H', W', C)
        area, row = x.stride(0), x.stride(1)
        tiles = x.as_strided(  # of each of the d x d phases, as every tap of a pixel is in the pixel's phase
            (6, 6, B, tall, d, wide, d, C), (d * row, d * C, area, 4 * d * row, row, 4 * d * C, C, 1)
        )
        x = (_TO_TILE @ tiles.reshape(36, -1)).view(36, -1, C)
        x = torch.bmm(x, self._weights()).view(36, -1)
        x = (_FROM_TILE @ x).view(4, 4, B, tall, d, wide, d, O)
        x = x.permute(2, 3, 0, 4, 5, 1, 6, 7).reshape(B, H + below, W + right, O)
        if self.bias is not None:
            x += self.bias
        return x[:, :H, :W].permute(0, 3, 1, 2)

    def _weights(self) -> Tensor:
        """(36, C, C'), transformed again if the weights have changed."""
        now = self.weight.data_ptr(), 0 if self.weight.is_inference() else self.weight._version  # noqa: SLF001
        if self._transformed is None or self._transformed[0] != now:
            flat = self.weight.reshape(-1, 9).T  # (9, C' * C)
            found = (_TO_WEIGHTS @ flat).view(36, self.out_channels, self.in_channels)
            self._transformed = now, found.transpose(1, 2).contiguous()
        return self._transformed[1]
