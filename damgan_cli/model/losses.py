"""The loss of the paper, equation by equation. Images are (B, 3, H, W) in [-1, 1] throughout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Rec. 601 weights of R, G and B: the usual "grayscale", which the paper does not define."""


def reconstruction_loss(
    truth: Tensor, coarse: Tensor, result: Tensor, weight: Tensor | None = None
) -> Tensor:
    r"""Eq. 1: :math:`|\hat x - G_C(x)|_1 + |\hat x - G(x)|_1`, as means over all values.

    ``weight`` (B, 1, H, W), if given, weighs pixels (the paper: all alike).
    """
    error = (truth - coarse).abs() + (truth - result).abs()
    return (error if weight is None else error * weight).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, target: Tensor | None = None) -> Tensor:
    r"""Eq. 2 as D sees it: minimise :math:`-E[log D(\hat x)] - E[log(1 - D(G(x)))]`.

    Logits are (B,), or (B, h, w) of a patch discriminator; ``target`` of that shape, if given, is the share
    of each patch that is filled: what is known in a filled picture is real. Real and fake count alike
    whatever the size of the hole, or D would call everything real.
    """
    real = F.softplus(-real_logits).mean()
    if target is not None:
        real = (real + _mean_where(F.softplus(-fake_logits), 1 - target)) / 2
    return real + _mean_where(F.softplus(fake_logits), target)


def hinge_discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, target: Tensor | None = None
) -> Tensor:
    """Hinge version (Lim & Ye 2017), arguments as of ``discriminator_loss``."""
    real = F.relu(1 - real_logits).mean()
    if target is not None:
        real = (real + _mean_where(F.relu(1 - fake_logits), 1 - target)) / 2
    return real + _mean_where(F.relu(1 + fake_logits), target)


def _mean_where(values: Tensor, target: Tensor | None) -> Tensor:
    """Mean over all values; with ``target`` that of each image's filled patches, then over the images."""
    if target is None:
        return values.mean()
    return ((values * target).sum((1, 2)) / target.sum((1, 2)).clamp(min=1e-3)).mean()


def minimax_generator_loss(fake_logits: Tensor, target: Tensor | None = None) -> Tensor:
    """Eq. 2 as G sees it: minimise :math:`E[log(1 - D(G(x)))]`; logits are (B,) or (B, h, w)."""
    return _mean_where(-F.softplus(fake_logits), target)


def non_saturating_generator_loss(fake_logits: Tensor, target: Tensor | None = None) -> Tensor:
    """Minimise :math:`-E[log D(G(x))]` (Goodfellow et al. 2014, Sec. 3): same fixed point, more gradient."""
    return _mean_where(F.softplus(-fake_logits), target)


def hinge_generator_loss(fake_logits: Tensor, target: Tensor | None = None) -> Tensor:
    """Minimise :math:`-E[D(G(x))]`, what goes with ``hinge_discriminator_loss``."""
    return _mean_where(-fake_logits, target)


def feature_matching_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Mean distance of D's features of truth and result (Wang et al. 2018, Eq. 3), mean over the layers."""
    return torch.stack(
        [(b - a.detach()).abs().float().mean() for a, b in zip(real, fake, strict=True)]
    ).mean()


def r1_penalty(logits: Tensor, image: Tensor) -> Tensor:
    r"""Mean of :math:`|\nabla_x D(x)|^2` at real images (Mescheder et al. 2018, Eq. 9)."""
    (gradient,) = torch.autograd.grad(logits.sum(), image, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def ssim_loss(result: Tensor, truth: Tensor) -> Tensor:
    """1 - SSIM (Wang et al. 2004: Gaussian 11x11 of sigma 1.5, valid region), mean over (B, 3, H, W)."""
    x, y = (result.float().clamp(-1, 1) + 1) / 2, (truth.float() + 1) / 2
    # The blur as two matrix products, many times faster here than convolutions of one channel.
    rows, columns = (_gaussian_band(side, x) for side in x.shape[2:])

    def blur(images: Tensor) -> Tensor:
        return rows @ images.contiguous() @ columns.T  # (B, 3, H - 10, W - 10)

    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
    return 1 - similarity.mean()


def _gaussian_band(side: int, like: Tensor) -> Tensor:
    """Matrix (side - 10, side) whose product with a column of pixels blurs it."""
    places = torch.arange(side, device=like.device, dtype=like.dtype)
    distance = places - places[: side - 10, None] - 5
    weights = torch.where(distance.abs() <= 5, torch.exp(-(distance**2) / (2 * 1.5**2)), 0.0)
    return weights / weights.sum(1, keepdim=True)


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


def dam_loss(maps: Sequence[Tensor], truth: Tensor, result: Tensor) -> Tensor:
    r"""Eq. 3: :math:`L_{DAM} = \sum_{j=0}^{3} |M_j - M_j^{GT}|_1`, each norm a mean over its map.

    ``maps`` are (B, 1, h, w) in [0, 1], any resolutions.
    """
    losses = [
        (M.float() - fakeness_target(truth, result, (M.shape[-2], M.shape[-1]))).abs().mean() for M in maps
    ]
    return torch.stack(losses).sum()
