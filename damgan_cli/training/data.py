"""Photos, in memory or read when drawn, and batches that depend on nothing but them, seed and step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from damgan_cli.errors import ImageFileError, TrainingError
from damgan_cli.masks.generate import make_mask, mask_rng
from damgan_cli.photos.files import list_images
from damgan_cli.photos.limits import memory_for
from damgan_cli.photos.read import displayed_size, read_rgb, refuse_narrow
from damgan_cli.runtime.paths import is_folder
from damgan_cli.runtime.processes import cores

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from damgan_cli.training.config import TrainingConfig

IN_MEMORY = 4 << 30
"""Bytes that photos may take before they are read anew whenever they are drawn."""


def find_photos(folders: list[Path]) -> list[Path]:
    """All photos below ``folders``, sorted. Raises TrainingError when a folder is missing or holds none."""
    photos: list[Path] = []
    for folder in folders:
        if not is_folder(folder):
            raise TrainingError(f"No folder {folder}.", "Give one or more folders of photos.")
        found = list_images(folder)
        if not found:
            raise TrainingError(
                f"No photos below {folder}.", "It should hold JPEG, PNG, WebP, TIFF or BMP files."
            )
        photos += found
    return photos


def load_photos(
    paths: list[Path],
    size: int,
    largest_crop: float,
    on_bad: Callable[[ImageFileError], None],
    in_memory: int = IN_MEMORY,
) -> Sequence[NDArray[np.uint8]]:
    """Photos as (H, W, 3) uint8, shrunk so that the short side is at most ``size * largest_crop``.

    Photos smaller than ``size`` are enlarged to it. If they take more than ``in_memory`` bytes together, they
    are `PhotosOnDisk`, else a list. Files that cannot be read go to ``on_bad`` and are left out.
    """
    largest = round(size * largest_crop)

    def needed(path: Path) -> int | ImageFileError:
        try:
            width, height = displayed_size(path)
        except ImageFileError as problem:
            return problem
        shrunk = min(max(min(width, height), size), largest) / min(width, height)
        return round(3 * width * height * shrunk**2)

    def load(path: Path) -> NDArray[np.uint8] | ImageFileError:
        try:
            return _load(path, size, largest)
        except ImageFileError as problem:
            return problem

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        sizes = list(pool.map(needed, paths))
        if sum(one for one in sizes if isinstance(one, int)) > in_memory:
            for one in sizes:
                if isinstance(one, ImageFileError):
                    on_bad(one)
            readable = [path for path, one in zip(paths, sizes, strict=True) if isinstance(one, int)]
            return PhotosOnDisk(readable, size, largest, on_bad)
        loaded = list(pool.map(load, paths))
    for item in loaded:
        if isinstance(item, ImageFileError):
            on_bad(item)
    return [item for item in loaded if not isinstance(item, ImageFileError)]


class PhotosOnDisk(Sequence[Any]):
    """Photos that are too many for memory: each is decoded whenever it is asked for.

    Decoding a JPEG of 500 px takes 4 ms, a training step some hundred times as long. One that turns out to be
    broken is told once, and the next stands in for it.
    """

    def __init__(
        self, paths: list[Path], size: int, largest: int, on_bad: Callable[[ImageFileError], None]
    ) -> None:
        self._paths, self._size, self._largest, self._on_bad = paths, size, largest, on_bad
        self._told: set[int] = set()

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        """(H, W, 3) uint8, as `load_photos` has it. Raises TrainingError if none can be read any more."""
        for number in range(index, index + len(self)):
            place = number % len(self)
            try:
                return _load(self._paths[place], self._size, self._largest)
            except ImageFileError as problem:
                if place not in self._told:
                    self._told.add(place)
                    self._on_bad(problem)
        raise TrainingError("None of the photos can be read any more.", "Are they still where they were?")


def _load(path: Path, size: int, largest: int) -> NDArray[np.uint8]:
    with memory_for(path):
        image = read_rgb(path)
        short = min(max(min(image.shape[:2]), size), largest)
        refuse_narrow(path, image, short)
        return resize_short_side(image, short)


def resize_short_side(image: NDArray[np.uint8], short: int) -> NDArray[np.uint8]:
    """Resize (H, W, 3) so that the shorter side is ``short`` pixels (area average down, bicubic up)."""
    height, width = image.shape[:2]
    if min(height, width) == short:
        return image
    scale = short / min(height, width)
    target = (max(short, round(width * scale)), max(short, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, target, interpolation=interpolation), np.uint8)


def to_tensor(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(B, S, S, 3) uint8 -> (B, 3, S, S) float32 in [-1, 1], channels last in memory."""
    import torch  # here, as the folders are looked at before it is there

    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


class Batches:
    """Endless training batches; batch number ``step`` is always the same for one seed and set of photos."""

    def __init__(self, photos: Sequence[NDArray[np.uint8]], config: TrainingConfig, seed: int) -> None:
        if not photos:
            raise TrainingError("No photo could be read.", "Check the folders given.")
        self.photos = photos
        self.config = config
        self.seed = seed
        kinds = sorted(config.masks)
        shares = np.array([config.masks[kind] for kind in kinds])
        self._kinds, self._bounds = kinds, np.cumsum(shares) / shares.sum()
        self._order = lru_cache(maxsize=2)(self._shuffled)
        # what is to be decoded first is decoded side by side
        self._map: Any = ThreadPoolExecutor(cores()).map if isinstance(photos, PhotosOnDisk) else map

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.photos))

    def __call__(self, step: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Images (B, S, S, 3) uint8 and masks (B, S, S) uint8, 1 = hole, of step ``step``."""
        first = step * self.config.batch_size
        pairs = list(self._map(self._sample, range(first, first + self.config.batch_size)))
        return np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])

    def tensors(self, step: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) in [-1, 1] and masks (B, 1, S, S), 1 = hole, both float32, of step ``step``."""
        import torch

        images, masks = self(step)
        return to_tensor(images, device), torch.from_numpy(masks).to(device).float()[:, None]

    def _sample(self, position: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        epoch, index = divmod(position, len(self.photos))
        rng = mask_rng(self.seed, position)
        image = self._crop(self.photos[self._order(epoch)[index]], rng)
        if self.config.flip and rng.random() < 0.5:
            image = image[:, ::-1]
        kind = self._kinds[int(np.searchsorted(self._bounds, rng.random(), side="right"))]
        share = self.config.irregular_ratio if kind == "irregular" else None
        mask = make_mask(kind, self.config.size, self.config.size, rng, hole_share=share)
        return image, mask // 255

    def _crop(self, photo: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        size = self.config.size
        height, width = photo.shape[:2]
        shorter = min(height, width)
        if self.config.crop_scale == "photo":
            side = round(size * (shorter / size) ** rng.random())
        else:
            side = size + int(rng.random() * (shorter - size + 1))
        if rng.random() < self.config.zoom_share:
            side = round(size * (0.5 + 0.5 * rng.random()))
        top = int(rng.random() * (height - side + 1))
        left = int(rng.random() * (width - side + 1))
        return resize_short_side(photo[top : top + side, left : left + side], size)
