"""A projected discriminator: small heads on features of a network that stays as it is.

Projected GANs (Sauer et al. 2021) need many times fewer images than a discriminator that has to learn to see.
The features are those of the AlexNet of LPIPS, which is small; a patch discriminator on bare pixels beside it
sees what a stride of four pixels cannot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from damgan_cli.model import PatchDiscriminator

if TYPE_CHECKING:
    from damgan_cli.perceptual import Lpips

_WIDTHS = (64, 192, 384, 256, 256)
"""Channels of AlexNet after each of its five ReLUs."""
_TAPS = (0, 1, 2, 4)
_HIDDEN = 64
_SHIFT = 8
"""Images are looked at through a random crop, this much smaller (px), mirrored and transposed at random: a
network that always looks through one grid of strides rewards patterns of dots that fit this grid."""


def _head(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = [
        spectral_norm(nn.Conv2d(channels, _HIDDEN, 1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(_HIDDEN, _HIDDEN, 3, padding=1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(_HIDDEN, 1, 1)),
    ]
    return nn.Sequential(*layers)


class ProjectedDiscriminator(nn.Module):
    """Heads on AlexNet's features of the image at twice its size, and a patch discriminator on its pixels."""

    def __init__(self, alexnet: Lpips) -> None:
        super().__init__()
        self._alexnet = [alexnet]  # in a list: it is no part of the state, nor of the parameters
        self.heads = nn.ModuleList(_head(_WIDTHS[tap]) for tap in _TAPS)
        self.pixels = PatchDiscriminator()

    def views(self, *images: Tensor) -> list[Tensor]:
        """The same random crop, mirroring and transposition of each (B, C, S, S)."""
        side = images[0].shape[-1] - _SHIFT
        top, left = (int(torch.randint(_SHIFT + 1, ())) for _ in "yx")
        mirror, transpose = torch.rand(2) < 0.5
        cut = [image[..., top : top + side, left : left + side] for image in images]
        cut = [image.flip(3) for image in cut] if mirror else cut
        return [image.transpose(2, 3) for image in cut] if transpose else cut

    def features(self, image: Tensor) -> list[Tensor]:
        """(B, 3, S, S) in [-1, 1] -> the features that the heads judge, largest first, then the image."""
        enlarged = F.interpolate(image, scale_factor=2.0, mode="bilinear")
        return [*self._alexnet[0].features(enlarged, _TAPS), image]

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """What `features` gives -> logits (B, h, w) of every head, and of the patch discriminator."""
        judged: Any = [head(f)[:, 0].float() for head, f in zip(self.heads, features[:-1], strict=True)]
        return [*judged, self.pixels(features[-1])]
