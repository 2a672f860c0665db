"""The discriminator's side of a training: D itself, and what G and D minimise against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from damgan_cli.model import Discriminator, PatchDiscriminator
from damgan_cli.model import losses as L
from damgan_cli.training.projected import ProjectedDiscriminator

if TYPE_CHECKING:
    from damgan_cli.perceptual import Lpips
    from damgan_cli.training.config import TrainingConfig

GENERATOR_LOSSES = {
    "minimax": L.minimax_generator_loss,
    "non-saturating": L.non_saturating_generator_loss,
    "hinge": L.hinge_generator_loss,
}
R1_EVERY = 16
"""Steps between two gradient penalties, each counted this many times (Karras et al. 2020, Sec. 3.1)."""


class Adversary(nn.Module):
    """D with the losses that ``config`` asks for; images (B, 3, S, S) in [-1, 1], masks (B, 1, S, S).

    ``alexnet`` is what the projected discriminator looks through.
    """

    def __init__(self, config: TrainingConfig, alexnet: Lpips | None = None) -> None:
        super().__init__()
        self.config = config
        self.D: Any
        if config.discriminator == "projected":
            if alexnet is None:
                raise ValueError("a projected discriminator needs AlexNet")
            self.D = ProjectedDiscriminator(alexnet)
        else:
            self.D = Discriminator(config.size) if config.discriminator == "global" else PatchDiscriminator()

    def generator_losses(self, truth: Tensor, fake: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """What G minimises: ``adv`` (Eq. 2) and, where asked for, ``fm``; D gets no gradient."""
        self.D.requires_grad_(requires_grad=False)
        lose = GENERATOR_LOSSES[self.config.gan_loss]
        losses: dict[str, Tensor] = {}
        if isinstance(self.D, ProjectedDiscriminator):
            fake, mask = self.D.views(fake, mask)
            judged = self.D(self.D.features(fake))
            losses["adv"] = torch.stack([lose(logits, area(mask, logits)) for logits in judged]).mean()
        else:
            logits, features = self.D.features(fake)
            losses["adv"] = lose(logits, self._target(logits, mask))
            if self.config.feature_matching:
                with torch.no_grad():
                    real_features = self.D.features(truth)[1]
                losses["fm"] = L.feature_matching_loss(real_features, features)
        self.D.requires_grad_(requires_grad=True)
        return losses

    def discriminator_loss(self, truth: Tensor, fake: Tensor, mask: Tensor) -> Tensor:
        """What D minimises (Eq. 2)."""
        lose = L.hinge_discriminator_loss if self.config.gan_loss == "hinge" else L.discriminator_loss
        if isinstance(self.D, ProjectedDiscriminator):
            truth, fake, mask = self.D.views(truth, fake.detach(), mask)
            with torch.no_grad():
                features = self.D.features(torch.cat([truth, fake]))
            judged = [logits.chunk(2) for logits in self.D(features)]
            return torch.stack([lose(real, false, area(mask, false)) for real, false in judged]).mean()
        real_logits, fake_logits = self.D(torch.cat([truth, fake.detach()])).chunk(2)
        return lose(real_logits, fake_logits, self._target(fake_logits, mask))

    def penalty(self, truth: Tensor) -> Tensor:
        """R1 as D minimises it, in float32: its second derivative is too small for less."""
        image = truth.detach().requires_grad_()
        return self.config.r1_gamma / 2 * R1_EVERY * L.r1_penalty(self.D(image), image)

    def _target(self, logits: Tensor, mask: Tensor) -> Tensor | None:
        """Share of hole in each patch, (B, h, w), if D judges patches."""
        if self.config.discriminator == "global":
            return None
        return area(mask, logits)


def area(mask: Tensor, logits: Tensor) -> Tensor:
    """Share of hole (B, h, w) of each patch of logits (B, h, w)."""
    return F.interpolate(mask, size=logits.shape[-2:], mode="area")[:, 0]
