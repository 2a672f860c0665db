"""What a training's loss has beyond the paper's Eq. 1-3, which are in model/losses.py.

Images are (B, 3, S, S) in [-1, 1], masks (B, 1, S, S) with 1 = hole. Losses are means over batch and pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from damgan_cli.model import losses as eq

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Term(NamedTuple):
    """One term of a loss: its value counts ``weight`` times in the sum."""

    weight: float
    value: Tensor


def weighted_reconstruction_loss(truth: Tensor, coarse: Tensor, result: Tensor, weight: Tensor) -> Tensor:
    """Eq. 1 with a weight (B, 1, S, S) for every pixel; all ones give Eq. 1."""
    return (((truth - coarse).abs() + (truth - result).abs()) * weight).mean()


def pixel_weight(mask: Tensor, hole_weight: float, deep_weight: float) -> Tensor:
    """Weight of pixels in L_re (B, 1, S, S): 1, and ``hole_weight`` shared out among those of each hole.

    So a small hole counts as much as a large one. All is multiplied by `nearness` where ``deep_weight`` < 1.
    """
    hole_share = mask.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1 / mask[0].numel())
    weight = 1 + hole_weight * mask / hole_share
    return weight * nearness(mask, deep_weight) if deep_weight < 1 else weight


def nearness(mask: Tensor, deep: float) -> Tensor:
    """Weight of pixels (B, 1, H, W): 1 at known ones, in the hole falling to ``deep`` from 28 px on.

    What lies deep can be many things, and L1 would have their mean (spatial discounting, Yu et al. 2018).
    """
    known = F.max_pool2d(1 - mask, 4)  # coarse steps do, and cost a sixteenth
    reached = [known]
    for reach in (1, 2, 3):
        reached.append(F.max_pool2d(reached[-1], 2 * reach + 1, stride=1, padding=reach))
    near = torch.stack(reached).mean(0)
    return F.interpolate(deep + (1 - deep) * near, size=mask.shape[-2:], mode="nearest")


def jittered(*images: Tensor) -> list[Tensor]:
    """The same random crop, scale, mirroring and transposition of several (B, 3, S, S).

    A perceptual network that always looks through one grid of strides rewards patterns of dots that fit
    this grid; random transformations of its input do not (E-LPIPS, Kettunen et al. 2019).
    """
    size = images[0].shape[-1]
    side = size - int(torch.randint(size // 8, ()))
    top, left = (int(torch.randint(size - side + 1, ())) for _ in "yx")
    target = round(side * (0.75 + 0.5 * float(torch.rand(()))))
    mirror, transpose = torch.rand(2) < 0.5
    cut = [image[..., top : top + side, left : left + side] for image in images]
    cut = [F.interpolate(image, size=(target, target), mode="bilinear") for image in cut]
    cut = [image.flip(3) for image in cut] if mirror else cut
    return [image.transpose(2, 3) for image in cut] if transpose else cut


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


class GanLoss(NamedTuple):
    """What is minimised, for every logit by itself; sigmoid of a logit is D's belief that it sees a photo."""

    G: Callable[[Tensor], Tensor]
    """By G, of a filled picture."""
    real: Callable[[Tensor], Tensor]
    """By D, of a photo."""
    fake: Callable[[Tensor], Tensor]
    """By D, of a filled picture."""


GAN_LOSSES = {
    "minimax": GanLoss(  # Eq. 2, patch by patch
        G=lambda logits: -F.softplus(logits),
        real=lambda logits: F.softplus(-logits),
        fake=F.softplus,
    ),
    "non-saturating": GanLoss(  # Goodfellow et al. 2014, Sec. 3: the same fixed point, more gradient
        G=lambda logits: F.softplus(-logits),
        real=lambda logits: F.softplus(-logits),
        fake=F.softplus,
    ),
    "hinge": GanLoss(  # Lim & Ye 2017
        G=torch.neg,
        real=lambda logits: F.relu(1 - logits),
        fake=lambda logits: F.relu(1 + logits),
    ),
}


def generator_loss(kind: str, fake_logits: Tensor, hole: Tensor | None = None) -> Tensor:
    """What G minimises; logits (B,), or (B, h, w) of patches with shares ``hole`` (B, h, w) filled."""
    if kind == "minimax" and hole is None:
        return eq.generator_loss(fake_logits)
    return _mean_where(GAN_LOSSES[kind].G(fake_logits), hole)


def discriminator_loss(
    kind: str, real_logits: Tensor, fake_logits: Tensor, hole: Tensor | None = None
) -> Tensor:
    """What D minimises, arguments as of ``generator_loss``.

    What is known in a filled picture is real. Real and fake count alike whatever the size of the hole, or D
    would call everything real.
    """
    if kind == "minimax" and hole is None:
        return eq.discriminator_loss(real_logits, fake_logits)
    loss = GAN_LOSSES[kind]
    real = loss.real(real_logits).mean()
    if hole is not None:
        real = (real + _mean_where(loss.real(fake_logits), 1 - hole)) / 2
    return real + _mean_where(loss.fake(fake_logits), hole)


def _mean_where(values: Tensor, share: Tensor | None) -> Tensor:
    """Mean over all values; with ``share`` that of each image's, weighted by it, then over the images."""
    if share is None:
        return values.mean()
    return ((values * share).sum((1, 2)) / share.sum((1, 2)).clamp(min=1e-3)).mean()


def feature_matching_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Mean distance of D's features of truth and result (Wang et al. 2018, Eq. 3), mean over the layers."""
    return torch.stack(
        [(b - a.detach()).abs().float().mean() for a, b in zip(real, fake, strict=True)]
    ).mean()


def r1_penalty(logits: Tensor, image: Tensor) -> Tensor:
    r"""Mean of :math:`|\nabla_x D(x)|^2` at real images (Mescheder et al. 2018, Eq. 9)."""
    (gradient,) = torch.autograd.grad(logits.sum(), image, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()
