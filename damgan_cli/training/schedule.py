"""How long a training takes, and its learning rate on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from damgan_cli.training.config import TrainingConfig

_WARMUP_SHARE = 0.05


@dataclass(frozen=True)
class Budget:
    """When a training ends: after this many images, this many minutes, or whichever comes first."""

    images: int | None = None
    minutes: float | None = None

    def progress(self, images: int, seconds: float) -> float:
        """Share of the budget that is spent, 0 … 1."""
        by_images = images / self.images if self.images else 0.0
        by_time = seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_images, by_time))


def learning_rate(config: TrainingConfig, images: int, progress: float) -> float:
    """Share of the full learning rate: linear warm-up, constant, then a half cosine.

    The warm-up takes at most a twentieth of the budget, else a short training never gets beyond it.
    """
    warmup = 1.0
    if config.warmup_images:
        by_images = (images + config.batch_size) / config.warmup_images
        warmup = min(1.0, max(by_images, progress / _WARMUP_SHARE))
    if progress <= config.decay_start:
        return warmup
    phase = (progress - config.decay_start) / (1 - config.decay_start)
    return warmup * (config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * phase)) / 2)
