"""The losses of the paper, Eq. 1 to 3; Eq. 4 is their weighted sum (training/loop.py).

Images are (B, 3, H, W) in [-1, 1] throughout, logits (B,). Our choice: every norm and expectation is a mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Rec. 601 weights of R, G and B: the usual "grayscale", which the paper does not define."""


def reconstruction_loss(truth: Tensor, coarse: Tensor, result: Tensor) -> Tensor:
    r"""Eq. 1: :math:`|\hat x - G_C(x)|_1 + |\hat x - G(x)|_1`."""
    return ((truth - coarse).abs() + (truth - result).abs()).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    r"""Eq. 2 as D sees it: minimise :math:`-E[log D(\hat x)] - E[log(1 - D(G(x)))]`."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Eq. 2 as G sees it: minimise :math:`E[log(1 - D(G(x)))]`."""
    return (-F.softplus(fake_logits)).mean()


def fakeness_target(truth: Tensor, result: Tensor, size: tuple[int, int]) -> Tensor:
    r"""Eq. 3: :math:`M_j^{GT}` = grayscale(|G(x)_j - x̂_j|) / 255, both images first resized to ``size``.

    Returns (B, 1, h, w) in [0, 1], without gradient: the maps learn from the result, never the reverse.
    """
    with torch.no_grad():
        # On the 8-bit scale |a - b| / 255 is |a - b| / 2 of images in [-1, 1]; area is the plain average.
        small_truth = F.interpolate(truth.float(), size=size, mode="area")
        small_result = F.interpolate(result.float().clamp(-1, 1), size=size, mode="area")
        difference = (small_result - small_truth).abs() / 2  # (B, 3, h, w)
        luma = difference.new_tensor(LUMA).view(1, 3, 1, 1)
        return (difference * luma).sum(dim=1, keepdim=True)  # (B, 1, h, w)


def dam_loss(fakeness: Sequence[Tensor], truth: Tensor, result: Tensor) -> Tensor:
    r"""Eq. 3: :math:`L_{DAM} = \sum_{j=0}^{3} |M_j - M_j^{GT}|_1`, each norm a mean over its map.

    ``fakeness`` are the maps M_j, (B, 1, h, w) in [0, 1], any resolutions.
    """
    losses = [
        (M.float() - fakeness_target(truth, result, (M.shape[-2], M.shape[-1]))).abs().mean()
        for M in fakeness
    ]
    return torch.stack(losses).sum()
