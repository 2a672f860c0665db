"""Tiny weights, made in a moment, for tests that need a model but not a good one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def save_tiny_weights(folder: Path, seed: int = 0) -> Path:
    """Write a weights folder of a randomly initialised two-stage generator with a few channels."""
    import torch

    from damgan_cli.model import Generator, GeneratorConfig
    from damgan_cli.weights.folder import save_weights

    torch.manual_seed(seed)
    config = GeneratorConfig(
        coarse_channels=(4, 4, 8),
        coarse_dilations=(2,),
        coarse_scales=(1, 2),
        dam_channels=(4, 4, 8, 8),
        dam_dilations=(2,),
    )
    save_weights(folder, Generator(config), {}, "tiny")
    return folder
