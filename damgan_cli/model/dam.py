"""The dynamic attention map block (Fig. 3 of the paper)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from damgan_cli.model.conv import convolve


def upsample(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, 2h, 2w), nearest neighbour; the convolutions after it smooth."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Fuse(nn.Conv2d):
    """A 1x1 convolution of two features as if they were one, concatenated."""

    def __init__(self, channels: int) -> None:
        super().__init__(2 * channels, channels, kernel_size=1)

    def forward(self, T: Tensor, S: Tensor) -> Tensor:  # type: ignore[override]  # not of one input
        """Return conv1x1([T, S]), T upsampled to the size of S if it is smaller, without writing [T, S] down.

        ``T`` is (B, C, h, w) or (B, C, h/2, w/2), ``S`` (B, C, h, w). A convolution of 1x1 commutes with
        repeating pixels: it runs on the small side, and at full resolution, where memory is what costs, only
        its result is upsampled.
        """
        C = T.shape[1]
        x = convolve(T, self.weight[:, :C])
        if T.shape[2:] != S.shape[2:]:
            x = upsample(x)
        return convolve(S, self.weight[:, C:], self.bias, onto=x)


class DAMBlock(nn.Module):
    """Fuse a decoder feature with its encoder skip and strengthen it where the picture looks fake.

    With :math:`T_i` the decoder feature and :math:`S_i` the encoder feature of decoding layer *i*::

        F_i     = conv1x1([T_i, S_i])          fused feature
        M_i     = sigmoid(conv1x1(F_i))        fakeness map, one channel, in (0, 1)
        F'_i    = M_i (x) F_i                  feature strengthened where it looks fake
        T_{i-1} = F_i (+) F'_i                 handed on, upsampled, to the next layer

    Fakeness is learned from the true error of the result, see ``losses.dam_loss`` (Eq. 3).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fuse = Fuse(channels)
        self.fakeness = nn.Conv2d(channels, 1, kernel_size=1)

    def forward(self, T: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        """Return the strengthened feature (B, C, h, w) and the fakeness map (B, 1, h, w).

        ``S`` is the encoder skip, (B, C, h, w), ``T`` the decoder feature of that size or still half of it.
        """
        x = self.fuse(T, S)  # F_i, (B, C, h, w)
        M = torch.sigmoid(self.fakeness(x))  # (B, 1, h, w)
        return x * (1 + M), M  # F (+) M (x) F in one pass over memory
