"""LPIPS networks of random weights, for tests that need no good ones."""

from __future__ import annotations

import torch


def random_weights(backbone, seed=0):
    """Weights of the right names and shapes."""
    generator = torch.Generator().manual_seed(seed)
    if backbone == "alex":
        shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
        heads = [64, 192, 384, 256, 256]
    else:
        places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
        widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
        shapes = {place: (b, a, 3) for place, a, b in zip(places, widths[:-1], widths[1:], strict=True)}
        heads = [64, 128, 256, 512, 512]
    weights = {f"lin.{i}": torch.rand(1, c, 1, 1, generator=generator) for i, c in enumerate(heads)}
    for place, (b, a, side) in shapes.items():
        scale = (2 / (a * side * side)) ** 0.5
        weights[f"features.{place}.weight"] = torch.randn(b, a, side, side, generator=generator) * scale
        weights[f"features.{place}.bias"] = torch.zeros(b)
    return weights
