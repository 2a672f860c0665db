"""Small photos of every kind that photo files come in, for tests of what must survive."""

from __future__ import annotations

import struct
import zlib
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

import cv2
import numpy as np
import png
import tifffile
from PIL import Image, ImageCms

from damgan_cli.photos.limits import MAX_PIXELS

if TYPE_CHECKING:
    from pathlib import Path

HEIGHT, WIDTH = 30, 41


def noise(channels: int = 3, dtype=np.uint8, seed: int = 0, size=(HEIGHT, WIDTH)) -> np.ndarray:
    shape = (*size, channels) if channels > 1 else size
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def _palette(pixels, transparency=None, colours: int = 256) -> Image.Image:
    image = Image.fromarray(pixels).quantize(colours)
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def decompression_bomb(path: Path) -> None:
    """A small PNG that says it has 20,000 x 20,000 pixels."""
    _write_png(path, struct.pack(">LLBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0), bytes(1000))


def huge_row(path: Path) -> None:
    """A tiny PNG that says it has one row of as many RGB pixels as allowed, which Pillow cannot hold."""
    _write_png(path, struct.pack(">LLBBBBB", MAX_PIXELS, 1, 8, 2, 0, 0, 0), bytes(1))


def _write_png(path: Path, header: bytes, body: bytes) -> None:
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(body))]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in [*chunks, (b"IEND", b"")]:
        data += (
            struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))
        )
    path.write_bytes(data)


def _pillow(channels, make=Image.fromarray, **options):
    def write(path, size=(HEIGHT, WIDTH), seed=0, exif=b""):
        more = {"exif": exif} if exif else {}
        make(noise(channels, seed=seed, size=size)).save(path, **options, **more)

    return write


def _deep(channels):
    def write(path, size=(HEIGHT, WIDTH), seed=0, exif=b""):
        cv2.imwrite(str(path), noise(channels, np.uint16, seed, size))
        if exif:  # OpenCV writes no metadata
            _add_exif(path, exif)

    return write


def _add_exif(path: Path, exif: bytes) -> None:
    """To a PNG; to a TIFF only the orientation."""
    if path.suffix == ".png":
        head, *rest = png.Reader(bytes=path.read_bytes()).chunks()
        with path.open("wb") as file:
            png.write_chunks(file, [head, (b"eXIf", exif.removeprefix(b"Exif\0\0")), *rest])
        return
    tags, pixels = Image.Exif(), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    tags.load(exif)
    options = {"extrasamples": ["unassalpha"]} if pixels.shape[2:] == (4,) else {}
    photometric = "minisblack" if pixels.ndim == 2 else "rgb"
    orientation = (274, "H", 1, tags[274], True)
    tifffile.imwrite(path, pixels, photometric=photometric, extratags=[orientation], metadata=None, **options)


def _gray_alpha_16(path: Path, size=(HEIGHT, WIDTH), seed=0, exif=b"") -> None:
    height, width = size
    rows = noise(2, np.uint16, seed, size).astype(">u2").view(np.uint8).reshape(height, -1)
    body = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    _write_png(path, struct.pack(">LLBBBBB", width, height, 16, 4, 0, 0, 0), body)
    if exif:
        _add_exif(path, exif)


def _one_bit(pixels):
    return Image.fromarray(pixels > 127)


LOSSLESS = {
    "1.png": _pillow(1, _one_bit),
    "L.png": _pillow(1),
    "LA.png": _pillow(2),
    "P.png": _pillow(3, _palette),
    "P-few.png": _pillow(3, partial(_palette, colours=5)),
    "P-transparent.png": _pillow(3, partial(_palette, transparency=3)),
    "P-translucent.png": _pillow(3, partial(_palette, transparency=bytes(range(0, 200, 20)))),
    "RGB.png": _pillow(3),
    "RGBA.png": _pillow(4),
    "I16.png": _deep(1),
    "LA16.png": _gray_alpha_16,
    "RGB16.png": _deep(3),
    "RGBA16.png": _deep(4),
    "1.tif": _pillow(1, _one_bit, compression="group4"),
    "L.tif": _pillow(1),
    "LA.tif": _pillow(2, compression="tiff_adobe_deflate"),
    "P.tiff": _pillow(3, _palette, compression="packbits"),
    "RGB.tif": _pillow(3, compression="tiff_lzw"),
    "RGBA.tif": _pillow(4, compression="tiff_lzw"),
    "CMYK.tif": _pillow(3, lambda pixels: Image.fromarray(pixels).convert("CMYK")),
    "I16.tif": _deep(1),
    "RGB16.tif": _deep(3),
    "RGBA16.tiff": _deep(4),
    "1.bmp": _pillow(1, _one_bit),
    "L.bmp": _pillow(1),
    "P.bmp": _pillow(3, _palette),
    "RGB.bmp": _pillow(3),
    "RGB.webp": _pillow(3, lossless=True),
    "RGBA.webp": _pillow(4, lossless=True, exact=True),
}
"""File name -> what writes that file: (path, size=(height, width), seed, exif)."""


def stored_pixels(path: Path) -> np.ndarray:
    """Pixels as other programs see them: all channels (of 16 bits BGRA), full depth; 8-bit TIFF upright."""
    if "16" in path.name:
        if path.suffix.startswith(".tif"):
            with tifffile.TiffFile(path) as file:  # OpenCV would turn it; but LZW is read by OpenCV only
                if file.pages[0].compression != tifffile.COMPRESSION.LZW:
                    pixels = file.pages[0].asarray()
                    return pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    with Image.open(BytesIO(path.read_bytes())) as image:  # from a path Pillow forgets to turn raw TIFFs
        image.load()
        if image.mode == "P":  # the order of a palette may change, colours may not
            return np.asarray(image.convert("RGBA"))
        return np.asarray(image)


def mode_of(path: Path) -> tuple:
    with Image.open(path) as image:
        return image.format, image.mode, image.size, stored_pixels(path).dtype, stored_pixels(path).shape


ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif(orientation=1, *, thumbnail=False):
    tags = Image.Exif()
    tags[0x010F] = "Maker"
    tags[0x0112] = orientation
    tags[0x8769] = {0x9003: "2020:02:03 04:05:06", 0x829A: 0.01}
    tags[0x8825] = {1: "N", 2: (48.0, 12.0, 30.5)}
    data = tags.tobytes()
    if not thumbnail:
        return data
    # Pillow writes no IFD 1: append one whose JPEG thumbnail is the word SECRET
    base, data = 6, bytearray(data)
    end = "<" if data[6:8] == b"II" else ">"
    ifd0 = base + struct.unpack_from(end + "L", data, base + 4)[0]
    link = ifd0 + 2 + 12 * struct.unpack_from(end + "H", data, ifd0)[0]
    start = len(data) - base
    struct.pack_into(end + "L", data, link, start)
    body = struct.pack(end + "HHHLLHHLLL", 2, 0x0201, 4, 1, start + 30, 0x0202, 4, 1, 6, 0)
    return bytes(data) + body + b"SECRET"
