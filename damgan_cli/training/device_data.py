"""Training batches made on the GPU itself: photos and masks lie there, a step costs the host nothing.

The host's `Batches` make some hundred images a second per core, a GPU trains on thousands.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import chain
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor

from damgan_cli.masks.generate import numbered_hole
from damgan_cli.runtime.processes import cores, in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from damgan_cli.training.config import TrainingConfig

MASKS = 15_000
"""Masks made beforehand for each kind that is not always the same; fewer where they are large."""
_MASK_BYTES = 250_000_000  # of each kind: 15,000 masks at 128 px


def _halvings(photo: NDArray[np.uint8], count: int) -> list[NDArray[np.uint8]]:
    """(H, W, 3) and its reductions by 2, 4, ...: ``count`` copies, the means of 2x2, 4x4, ... pixels."""
    copies = [photo]
    for _ in range(count - 1):
        height, width = (side // 2 for side in copies[-1].shape[:2])
        even = copies[-1][: 2 * height, : 2 * width]
        copies.append(np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8))
    return copies


class DeviceBatches:
    """Endless batches on ``device``; number ``step`` is always the same for one seed, photos and device.

    Crops, zooms, mirroring and mask kinds are drawn as ``Batches`` draws them. Photos lie there at full, half
    and quarter size as far as crops need it. A crop is taken from the copy that is at most twice too large,
    read bilinearly at twice its final size and averaged in pairs: nearly the area average.
    ``masks`` is how many of each kind there are.
    """

    def __init__(
        self,
        photos: Sequence[NDArray[np.uint8]],
        config: TrainingConfig,
        seed: int,
        device: torch.device,
        *,
        masks: int = MASKS,
    ) -> None:
        self.photos, self.config, self.seed, self.device = photos, config, seed, device
        self._levels = 1 + int(math.log2(config.largest_crop))
        with ThreadPoolExecutor(cores()) as pool:
            copies = list(chain.from_iterable(pool.map(partial(_halvings, count=self._levels), photos)))
        sizes = torch.tensor([copy.shape[:2] for copy in copies])
        self._heights, self._widths = sizes.to(device).unbind(1)
        ends = sizes.prod(1).cumsum(0)
        self._starts = (ends - sizes.prod(1)).to(device)
        self._pixels = torch.empty((int(ends[-1]), 3), dtype=torch.uint8, device=device)
        for copy, end in zip(copies, ends.tolist(), strict=True):
            flat = torch.from_numpy(np.ascontiguousarray(copy)).view(-1, 3)
            self._pixels[end - len(flat) : end] = flat.to(device)
        kinds = sorted(config.masks)
        masks = max(1, min(masks, _MASK_BYTES // config.size**2))
        self._shares = torch.tensor([float(config.masks[kind]) for kind in kinds], device=device)
        counts = torch.tensor([1 if kind == "center" else masks for kind in kinds])  # that one never varies
        bank = np.empty((int(counts.sum()), config.size, config.size), bool)
        made = chain.from_iterable(
            in_order(
                partial(
                    numbered_hole,
                    kind,
                    config.size,
                    config.irregular_ratio if kind == "irregular" else None,
                    seed,
                ),
                range(count),
            )
            for kind, count in zip(kinds, counts.tolist(), strict=True)
        )
        for number, hole in enumerate(made):
            bank[number] = hole
        self._masks = torch.from_numpy(bank).to(device)
        self._mask_counts = counts.to(device)
        self._mask_starts = (counts.cumsum(0) - counts).to(device)
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> Tensor:
        order = np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.photos))
        return torch.from_numpy(order).to(self.device)

    def _photos_of(self, positions: range) -> Tensor:
        """Which photo comes at each position; every photo comes once before any comes again."""
        parts, start = [], positions.start
        while start < positions.stop:
            epoch, place = divmod(start, len(self.photos))
            taken = min(positions.stop - start, len(self.photos) - place)
            parts.append(self._order(epoch)[place : place + taken])
            start += taken
        return torch.cat(parts)

    def tensors(self, step: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) in [-1, 1] and masks (B, 1, S, S), 1 = hole, both float32, of step ``step``."""
        config, B = self.config, self.config.batch_size
        entropy = np.random.SeedSequence([self.seed, 2, step]).generate_state(1, np.uint64)[0]
        generator = torch.Generator(self.device).manual_seed(int(entropy))

        def uniform() -> Tensor:
            return torch.rand(B, generator=generator, device=self.device)

        index = self._photos_of(range(step * B, (step + 1) * B)) * self._levels
        heights, widths = self._heights[index], self._widths[index]
        shorter = torch.minimum(heights, widths)
        if config.crop_scale == "photo":
            sides = (config.size * (shorter / config.size) ** uniform()).round()
        else:
            sides = config.size + (uniform() * (shorter - config.size + 1)).floor()
        zoomed = (config.size * (0.5 + 0.5 * uniform())).round()
        sides = torch.where(uniform() < config.zoom_share, zoomed, sides)
        tops = (uniform() * (heights - sides + 1)).floor()
        lefts = (uniform() * (widths - sides + 1)).floor()
        mirrored = uniform() < (0.5 if config.flip else 0.0)
        level = (sides / config.size).log2().floor().clamp(0, self._levels - 1)
        tops, lefts, sides = ((places / 2**level).floor() for places in (tops, lefts, sides))
        index = index + level.long()
        images = self._cut(self._starts[index], self._widths[index], tops, lefts, sides, mirrored)

        kinds = torch.multinomial(self._shares, B, replacement=True, generator=generator)
        chosen = self._mask_starts[kinds] + (uniform() * self._mask_counts[kinds]).long()
        return images.to(device, memory_format=torch.channels_last), self._masks[chosen][:, None].float().to(
            device
        )

    def _cut(
        self, starts: Tensor, widths: Tensor, tops: Tensor, lefts: Tensor, sides: Tensor, mirrored: Tensor
    ) -> Tensor:
        """Squares of ``sides`` px, scaled to (B, 3, S, S) in [-1, 1]; exact where nothing is to be scaled."""
        size = self.config.size
        fine = (torch.arange(2 * size, device=self.device) + 0.5) / (2 * size)  # middles of half pixels
        places = sides[:, None] * fine - 0.5
        # A square that keeps its size is read at its pixels, which leaves nothing to interpolate.
        places = torch.where(sides[:, None] == size, places.round(), places)
        places = places.clamp(min=0).minimum(sides[:, None] - 1)
        columns = torch.where(mirrored[:, None], sides[:, None] - 1 - places, places) + lefts[:, None]
        rows = places + tops[:, None]
        top, left = rows.floor().long(), columns.floor().long()
        down, right = (rows - top)[:, :, None, None], (columns - left)[:, None, :, None]
        base = starts[:, None]

        def read(ys: Tensor, xs: Tensor) -> Tensor:
            places = (base + ys * widths[:, None])[:, :, None] + xs[:, None, :]
            return self._pixels[places].float()  # (B, 2S, 2S, 3)

        next_row = rows.ceil().long()
        next_column = columns.ceil().long()
        above = read(top, left) * (1 - right) + read(top, next_column) * right
        below = read(next_row, left) * (1 - right) + read(next_row, next_column) * right
        fine_image = above * (1 - down) + below * down
        image = fine_image.view(-1, size, 2, size, 2, 3).mean((2, 4)).permute(0, 3, 1, 2)
        return image / 127.5 - 1
