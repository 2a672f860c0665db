"""What a training looks at on every tick: scores on fixed photos and masks, and a sample sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from damgan_cli.evaluation.metrics import score
from damgan_cli.evaluation.protocol import HOLE_SHARE_BINS
from damgan_cli.evaluation.report import mean_scores
from damgan_cli.masks.generate import make_mask, mask_rng
from damgan_cli.model import composite
from damgan_cli.training.data import resize_short_side, to_tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from damgan_cli.model import Generator

BATCH = 8


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """(B, 3, H, W) in [-1, 1] -> (B, H, W, 3) uint8, rounded, not truncated."""
    scaled = images.detach().float().add(1).mul(127.5).round().clamp(0, 255)
    return np.asarray(scaled.byte().permute(0, 2, 3, 1).cpu().numpy())


class Validation:
    """Fixed photos, each under a centred mask and an irregular one; hole shares cycle through the bins."""

    def __init__(self, photos: Sequence[NDArray[np.uint8]], size: int) -> None:
        self.images = np.stack([_centre_square(photo, size) for photo in photos])
        rngs = [mask_rng(0, i) for i in range(len(photos))]
        self.masks = {
            "center": np.stack([make_mask("center", size, size, rng) for rng in rngs]) // 255,
            "irregular": np.stack(
                [
                    make_mask("irregular", size, size, rng, hole_share=HOLE_SHARE_BINS[i % 6])
                    for i, rng in enumerate(rngs)
                ]
            )
            // 255,
        }

    @torch.inference_mode()
    def score(self, generator: Generator, device: torch.device, dtype: torch.dtype) -> dict[str, float]:
        """Mean per-image PSNR (dB) and SSIM of the composited 8-bit results, for each kind of mask.

        The PSNR is left out where all results equal their truths.
        """
        scores: dict[str, float] = {}
        for kind, masks in self.masks.items():
            results = np.concatenate(
                [
                    to_uint8(
                        _fill(generator, self.images[i : i + BATCH], masks[i : i + BATCH], device, dtype)[1]
                    )
                    for i in range(0, len(masks), BATCH)
                ]
            )
            means = mean_scores([score(*pair) for pair in zip(results, self.images, strict=True)])
            scores |= {
                f"val_{kind}_{metric}": means[metric] for metric in ("psnr", "ssim") if metric in means
            }
        return scores

    @torch.inference_mode()
    def sheet(self, generator: Generator, device: torch.device, dtype: torch.dtype) -> NDArray[np.uint8]:
        """Picture for the eye: a row per photo with input, coarse, result, truth and the maps."""
        from torchvision.utils import make_grid

        rows = min(4, len(self.images))
        images = np.concatenate([self.images[:rows], self.images[:rows]])
        masks = np.concatenate([self.masks["center"][:rows], self.masks["irregular"][:rows]])
        coarse, result, truth, blanked, fakeness = _fill(generator, images, masks, device, dtype)
        size = images.shape[1]
        columns = [blanked, coarse, result, truth]
        for M in fakeness:  # [0, 1] shown from black to white; the true error seldom passes a quarter
            shown = F.interpolate(M.float().mul(4).clamp(max=1), size=(size, size)).mul(2).sub(1)
            columns.append(shown.expand(-1, 3, -1, -1))
        cells = torch.stack(columns, dim=1).flatten(0, 1)  # (rows * 8, 3, S, S)
        grid: Tensor = make_grid(cells.cpu(), nrow=len(columns), padding=2, pad_value=1)
        return np.asarray(to_uint8(grid[None])[0])


def _centre_square(photo: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    photo = resize_short_side(photo, size)
    top, left = (photo.shape[0] - size) // 2, (photo.shape[1] - size) // 2
    return photo[top : top + size, left : left + size]


def _fill(
    generator: Generator,
    images: NDArray[np.uint8],
    masks: NDArray[np.uint8],
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
    """Composited coarse and final results, the truth, the blanked input (B, 3, S, S), the fakeness maps."""
    truth = to_tensor(images, device)
    mask = torch.from_numpy(masks).to(device).float()[:, None]
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        output = generator(truth, mask)
    blanked = truth * (1 - mask)
    return (
        composite(truth, mask, output.coarse),
        composite(truth, mask, output.result),
        truth,
        blanked,
        output.fakeness,
    )
