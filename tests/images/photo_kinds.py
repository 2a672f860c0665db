"""Small photos of every kind that photo files come in, for tests of what must survive."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

HEIGHT, WIDTH = 30, 41


def noise(channels: int = 3, dtype=np.uint8, seed: int = 0) -> np.ndarray:
    shape = (HEIGHT, WIDTH, channels) if channels > 1 else (HEIGHT, WIDTH)
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def _palette(transparency=None, colours: int = 256) -> Image.Image:
    image = Image.fromarray(noise()).quantize(colours)
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def _gray_alpha_16(path: Path) -> None:
    rows = noise(2, np.uint16).astype(">u2").view(np.uint8).reshape(HEIGHT, -1)
    body = np.concatenate([np.zeros((HEIGHT, 1), np.uint8), rows], axis=1).tobytes()
    _write_png(path, struct.pack(">LLBBBBB", WIDTH, HEIGHT, 16, 4, 0, 0, 0), body)


def decompression_bomb(path: Path) -> None:
    """A small PNG that says it has 20,000 x 20,000 pixels."""
    _write_png(path, struct.pack(">LLBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0), bytes(1000))


def _write_png(path: Path, header: bytes, body: bytes) -> None:
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(body))]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in [*chunks, (b"IEND", b"")]:
        data += (
            struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))
        )
    path.write_bytes(data)


def _pillow(image: Image.Image, **options):
    return lambda path: image.save(path, **options)


def _opencv(pixels: np.ndarray):
    return lambda path: cv2.imwrite(str(path), pixels)


LOSSLESS = {
    "1.png": _pillow(Image.fromarray(noise(1) > 127)),
    "L.png": _pillow(Image.fromarray(noise(1))),
    "LA.png": _pillow(Image.fromarray(noise(2))),
    "P.png": _pillow(_palette()),
    "P-few.png": _pillow(_palette(colours=5)),
    "P-transparent.png": _pillow(_palette(transparency=3)),
    "P-translucent.png": _pillow(_palette(transparency=bytes(range(0, 200, 20)))),
    "RGB.png": _pillow(Image.fromarray(noise(3))),
    "RGBA.png": _pillow(Image.fromarray(noise(4))),
    "I16.png": _opencv(noise(1, np.uint16)),
    "LA16.png": _gray_alpha_16,
    "RGB16.png": _opencv(noise(3, np.uint16)),
    "RGBA16.png": _opencv(noise(4, np.uint16)),
    "1.tif": _pillow(Image.fromarray(noise(1) > 127), compression="group4"),
    "L.tif": _pillow(Image.fromarray(noise(1))),
    "LA.tif": _pillow(Image.fromarray(noise(2)), compression="tiff_adobe_deflate"),
    "P.tiff": _pillow(_palette(), compression="packbits"),
    "RGB.tif": _pillow(Image.fromarray(noise(3)), compression="tiff_lzw"),
    "RGBA.tif": _pillow(Image.fromarray(noise(4)), compression="tiff_lzw"),
    "CMYK.tif": _pillow(Image.fromarray(noise(3)).convert("CMYK")),
    "I16.tif": _opencv(noise(1, np.uint16)),
    "RGB16.tif": _opencv(noise(3, np.uint16)),
    "RGBA16.tiff": _opencv(noise(4, np.uint16)),
    "1.bmp": _pillow(Image.fromarray(noise(1) > 127)),
    "L.bmp": _pillow(Image.fromarray(noise(1))),
    "P.bmp": _pillow(_palette()),
    "RGB.bmp": _pillow(Image.fromarray(noise(3))),
    "RGB.webp": _pillow(Image.fromarray(noise(3)), lossless=True),
    "RGBA.webp": _pillow(Image.fromarray(noise(4)), lossless=True, exact=True),
}
"""File name -> what writes that file."""


def stored_pixels(path: Path) -> np.ndarray:
    """Pixels as any other program would see them: every channel, full depth, not turned."""
    if "16" in path.name:
        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    with Image.open(path) as image:
        if image.mode == "P":  # the order of a palette may change, colours may not
            return np.asarray(image.convert("RGBA"))
        return np.asarray(image)


def mode_of(path: Path) -> tuple:
    with Image.open(path) as image:
        return image.format, image.mode, image.size, stored_pixels(path).dtype, stored_pixels(path).shape
