"""The dynamic attention map block (Fig. 3 of the paper)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
        self.fuse = nn.Conv2d(2 * channels, channels, kernel_size=1)
        self.fakeness = nn.Conv2d(channels, 1, kernel_size=1)

    def forward(self, T: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        """Return the strengthened feature (B, C, h, w) and the fakeness map (B, 1, h, w).

        ``T`` and ``S`` are (B, C, h, w), decoder feature and encoder skip.
        """
        F = self.fuse(torch.cat([T, S], dim=1))  # (B, 2C, h, w) -> (B, C, h, w)
        M = torch.sigmoid(self.fakeness(F))  # (B, 1, h, w)
        return F * (1 + M), M  # F (+) M (x) F in one pass over memory
