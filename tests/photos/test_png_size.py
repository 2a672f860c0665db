"""PNG of photos is written fast and hardly larger, that of graphics as small as can be."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from damgan_cli.photos.read import read_photo
from damgan_cli.photos.write import write_photo
from tests.photos.photo_kinds import noise


def full_search(pixels):
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.tell()


def written(pixels, folder):
    Image.fromarray(pixels).save(folder / "photo.png")
    write_photo(read_photo(folder / "photo.png"), folder / "out.png")
    assert np.array_equal(np.asarray(Image.open(folder / "out.png")), pixels)
    return (folder / "out.png").stat().st_size


def test_a_photo_is_hardly_larger(tmp_path):
    photo = cv2.GaussianBlur(np.kron(noise(), np.ones((6, 6, 1), np.uint8)), (0, 0), 3)
    photo = photo // 2 + np.random.default_rng(0).integers(0, 8, photo.shape, dtype=np.uint8)  # grain
    assert written(photo, tmp_path) < 1.05 * full_search(photo)


def test_graphics_are_as_small_as_with_the_full_search(tmp_path):
    tile = np.where(noise(1) > 200, 255, 0).astype(np.uint8)
    graphics = np.tile(tile[..., None], (6, 6, 3))
    assert written(graphics, tmp_path) <= full_search(graphics)
