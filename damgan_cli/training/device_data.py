"""Training batches made on the GPU itself: photos and masks lie there, a step costs the host nothing.

The host's `Batches` make some hundred images a second per core, a GPU trains on thousands.
"""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from damgan_cli.masks.generate import numbered_hole
from damgan_cli.runtime.processes import in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from damgan_cli.training.config import TrainingConfig

MASKS = 30_000
"""Masks made beforehand for each kind that is not always the same; fewer where they are large."""
_MASK_BYTES = 500_000_000  # of each kind: MASKS of them at 128 px


class DeviceBatches:
    """Endless batches on ``device``; number ``step`` is always the same for one seed, photos and device.

    Crops, zooms, mirroring and mask kinds are drawn as ``Batches`` draws them. Crops are read bilinearly at
    twice the size and averaged in pairs: for the factors at hand (1/2 to 2) nearly the area average.
    ``masks`` is how many of each kind there are.
    """

    def __init__(
        self,
        photos: list[NDArray[np.uint8]],
        config: TrainingConfig,
        seed: int,
        device: torch.device,
        *,
        masks: int = MASKS,
    ) -> None:
        self.photos, self.config, self.seed, self.device = photos, config, seed, device
        sizes = torch.tensor([photo.shape[:2] for photo in photos])
        self._heights, self._widths = sizes.to(device).unbind(1)
        ends = sizes.prod(1).cumsum(0)
        self._starts = (ends - sizes.prod(1)).to(device)
        self._pixels = torch.empty((int(ends[-1]), 3), dtype=torch.uint8, device=device)
        for photo, end in zip(photos, ends.tolist(), strict=True):
            flat = torch.from_numpy(np.ascontiguousarray(photo)).view(-1, 3)
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

        index = self._photos_of(range(step * B, (step + 1) * B))
        heights, widths = self._heights[index], self._widths[index]
        shorter = torch.minimum(heights, widths)
        sides = config.size + (uniform() * (shorter - config.size + 1)).floor()
        zoomed = (config.size * (0.5 + 0.5 * uniform())).round()
        sides = torch.where(uniform() < config.zoom_share, zoomed, sides)
        tops = (uniform() * (heights - sides + 1)).floor()
        lefts = (uniform() * (widths - sides + 1)).floor()
        mirrored = uniform() < (0.5 if config.flip else 0.0)
        images = self._cut(self._starts[index], widths, tops, lefts, sides, mirrored)

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
