"""Discriminators beyond the paper's, and a training's game of D against G.

Images are (B, 3, S, S) in [-1, 1], masks (B, 1, S, S) with 1 = hole.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from damgan_cli.model import Discriminator
from damgan_cli.training.objective import (
    Term,
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
    r1_penalty,
)

if TYPE_CHECKING:
    from damgan_cli.perceptual import Lpips
    from damgan_cli.training.config import TrainingConfig

R1_EVERY = 16
"""Steps between two gradient penalties, each counted this many times (Karras et al. 2020, Sec. 3.1)."""
_ALEXNET_WIDTHS = (64, 192, 384, 256, 256)
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


class PatchDiscriminator(nn.Module):
    """Judges every patch: three 4×4 convolutions of stride 2, one 3×3, then a 3×3 to one logit per place.

    Spectral norm on all (SN-PatchGAN, Yu et al. 2019, Sec. 3.3), leaky ReLU 0.2.
    """

    def __init__(self, channels: tuple[int, int, int]) -> None:
        super().__init__()
        widths = (3, *channels)
        self.convs = nn.ModuleList(
            [
                *(spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)) for a, b in pairwise(widths)),
                spectral_norm(nn.Conv2d(widths[-1], widths[-1], 3, padding=1)),
            ]
        )
        self.judge = spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """Composited images (B, 3, H, W) in [-1, 1] -> logits (B, H/8, W/8)."""
        return self.features(image)[0]

    def features(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits (B, H/8, W/8) and the features after each convolution."""
        x, features = image, []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
            features.append(x)
        logits: Tensor = self.judge(x).float()  # (B, 1, H/8, W/8)
        return logits.squeeze(1), features


class Views(NamedTuple):
    """What a projected discriminator is shown of a batch, by G and then in its own turn."""

    truth: Tensor
    mask: Tensor
    fake: list[Tensor]
    """Features of the filled pictures: AlexNet, which does not learn, need not look at them twice."""


class ProjectedDiscriminator(nn.Module):
    """Small heads on AlexNet's features of the image at twice its size, a patch discriminator on its pixels.

    Projected GANs (Sauer et al. 2021) need many times fewer images than a discriminator that has to learn to
    see. AlexNet is that of LPIPS, which is small, and stays as it is; the patch discriminator sees what a
    stride of four pixels cannot.
    """

    def __init__(self, alexnet: Lpips, patch_channels: tuple[int, int, int]) -> None:
        super().__init__()
        self._alexnet = [alexnet]  # in a list: it is no part of the state, nor of the parameters
        self.heads = nn.ModuleList(_head(_ALEXNET_WIDTHS[tap]) for tap in _TAPS)
        self.pixels = PatchDiscriminator(patch_channels)

    def views(self, *images: Tensor) -> list[Tensor]:
        """The same random crop, mirroring and transposition of each (B, C, S, S)."""
        side = images[0].shape[-1] - _SHIFT
        top, left = (int(torch.randint(_SHIFT + 1, ())) for _ in "yx")
        mirror, transpose = torch.rand(2) < 0.5
        cut = [image[..., top : top + side, left : left + side] for image in images]
        cut = [image.flip(3) for image in cut] if mirror else cut
        return [image.transpose(2, 3) for image in cut] if transpose else cut

    def look(self, truth: Tensor, fake: Tensor, mask: Tensor) -> Views:
        """Random views of photos, filled pictures and masks."""
        truth, fake, mask = self.views(truth, fake, mask)
        return Views(truth, mask, self.features(fake))

    def features(self, image: Tensor) -> list[Tensor]:
        """(B, 3, S, S) in [-1, 1] -> the features that the heads judge, largest first, then the image."""
        enlarged = F.interpolate(image, scale_factor=2.0, mode="bilinear")
        return [*self._alexnet[0].features(enlarged, _TAPS), image]

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """What `features` gives -> logits (B, h, w) of every head, and of the patch discriminator."""
        judged: Any = [head(f)[:, 0].float() for head, f in zip(self.heads, features[:-1], strict=True)]
        return [*judged, self.pixels(features[-1])]


class Adversary(nn.Module):
    """D as ``config`` wants it, and what each side of the game minimises.

    ``alexnet`` is what the projected discriminator looks through. Raises ValueError if it lacks.
    """

    def __init__(self, config: TrainingConfig, alexnet: Lpips | None = None) -> None:
        super().__init__()
        self.config = config
        self.D: Any
        if config.discriminator == "projected":
            if alexnet is None:
                raise ValueError("a projected discriminator needs AlexNet")
            self.D = ProjectedDiscriminator(alexnet, config.patch_channels)
        else:
            patch = config.discriminator == "patch"
            self.D = PatchDiscriminator(config.patch_channels) if patch else Discriminator(config.size)

    def generator_terms(
        self, truth: Tensor, fake: Tensor, mask: Tensor
    ) -> tuple[dict[str, Term], Views | None]:
        """What G minimises: ``adv`` (Eq. 2 as G sees it) and, where asked for, ``fm``; D gets no gradient.

        And what a projected D has seen for it, for `forward`.
        """
        config = self.config
        terms, views = {}, None
        self.D.requires_grad_(requires_grad=False)
        if isinstance(self.D, ProjectedDiscriminator):
            views = self.D.look(truth, fake, mask)
            judged = self.D(views.fake)
            losses = [generator_loss(config.gan_loss, logits, area(views.mask, logits)) for logits in judged]
            terms["adv"] = Term(config.lambda_adv, torch.stack(losses).mean())
        else:
            logits, features = self.D.features(fake)
            loss = generator_loss(config.gan_loss, logits, self._filled(logits, mask))
            terms["adv"] = Term(config.lambda_adv, loss)
            if config.feature_matching:
                with torch.no_grad():
                    real_features = self.D.features(truth)[1]
                loss = feature_matching_loss(real_features, features)
                terms["fm"] = Term(config.feature_matching, loss)
        self.D.requires_grad_(requires_grad=True)
        return terms, views

    def forward(
        self,
        truth: Tensor,
        fake: Tensor,
        mask: Tensor,
        *,
        views: Views | None = None,
        penalise: bool = False,
    ) -> dict[str, Term]:
        """What D minimises: ``d`` (Eq. 2 as D sees it) and, with ``penalise``, ``r1``; G gets no gradient.

        A projected D sees the ``views`` that G learned from; without, others.
        """
        config = self.config
        if isinstance(self.D, ProjectedDiscriminator):
            with torch.no_grad():
                views = views or self.D.look(truth, fake, mask)
                pairs = zip(self.D.features(views.truth), views.fake, strict=True)
            features = [torch.cat([real, fake.detach()]) for real, fake in pairs]
            judged = [logits.chunk(2) for logits in self.D(features)]
            losses = [
                discriminator_loss(config.gan_loss, real, false, area(views.mask, false))
                for real, false in judged
            ]
            loss = torch.stack(losses).mean()
        else:
            real, false = self.D(torch.cat([truth, fake.detach()])).chunk(2)
            loss = discriminator_loss(config.gan_loss, real, false, self._filled(false, mask))
        terms = {"d": Term(1, loss)}
        if penalise:  # in float32: its second derivative is too small for less
            image = truth.detach().requires_grad_()
            with torch.autocast(image.device.type, enabled=False):
                terms["r1"] = Term(config.r1_gamma / 2 * R1_EVERY, r1_penalty(self.D(image), image))
        return terms

    def _filled(self, logits: Tensor, mask: Tensor) -> Tensor | None:
        """What `area` gives, if D judges patches."""
        return None if self.config.discriminator == "global" else area(mask, logits)


def area(mask: Tensor, logits: Tensor) -> Tensor:
    """Share of hole (B, h, w) of each patch of logits (B, h, w)."""
    return F.interpolate(mask, size=logits.shape[-2:], mode="area")[:, 0]
