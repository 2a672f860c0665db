"""Damaged files of every kind give a result or one clear error, nothing else."""

from __future__ import annotations

import contextlib
import os
import random
import warnings
from functools import partial

import numpy as np
import pytest
from PIL import Image

from damgan_cli.errors import ImageFileError, MaskError
from damgan_cli.masks.read import read_mask
from damgan_cli.photos.color import rgb_of
from damgan_cli.photos.fill import filled
from damgan_cli.photos.formats import EXTENSIONS
from damgan_cli.photos.limits import limit_pixels
from damgan_cli.photos.read import read_photo, read_rgb
from damgan_cli.photos.write import write_photo
from tests.photos.photo_kinds import ICC, LOSSLESS, exif, noise
from tests.photos.photo_variants import VARIANTS

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "10"))  # per kind of file; 200 take ten minutes
SEED = os.environ.get("FUZZ_SEED", "")
RICH = {
    "plain.jpg": {"exif": exif(6, thumbnail=True), "icc_profile": ICC, "dpi": (300, 300)},
    "progressive.jpg": {"progressive": True, "quality": 50, "comment": b"hello"},
    "lossy.webp": {"exif": exif(3), "icc_profile": ICC},
    "rich.png": {"exif": exif(8), "icc_profile": ICC, "dpi": (72, 72)},
    "rich.tif": {"exif": exif(5), "icc_profile": ICC, "dpi": (72, 72)},
    "jpeg.tif": {"compression": "jpeg"},
}


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat, remove or overwrite a few places of a file, its head above all."""
    broken = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        place = rng.randrange(min(len(broken), rng.choice([64, 400, len(broken)])) or 1)
        size = rng.choice([1, 1, 2, 4, 40])
        match rng.randrange(6):
            case 0:
                broken[place : place + size] = rng.randbytes(size)
            case 1:
                broken[place : place + 1] = bytes([broken[place] ^ 1 << rng.randrange(8)]) if broken else b""
            case 2:
                broken[place : place + size] = rng.choice([b"\0", b"\xff", b"\x7f"]) * size
            case 3:
                del broken[place : place + size]
            case 4:
                broken[place:place] = broken[place : place + size]
            case 5:
                del broken[rng.randrange(len(broken) + 1) :]
    return bytes(broken)


def fill_damaged(path, target):
    photo = read_photo(path)
    rgb = rgb_of(photo)
    hole = np.zeros(rgb.shape[:2], bool)
    hole[: len(hole) // 2] = True
    write_photo(filled(photo, 255 - rgb, hole), target)
    assert read_rgb(target).shape == rgb.shape


KINDS = {
    **LOSSLESS,
    **{name: partial(Image.fromarray(noise()).save, **options) for name, options in RICH.items()},
    **{f"variant-{name}": write for name, write, _ in VARIANTS},
}


@pytest.mark.parametrize("name", KINDS)
def test_damaged_files(name, tmp_path):
    if name.endswith(".heic"):
        pytest.importorskip("pillow_heif").register_heif_opener()
    path, target = tmp_path / name, tmp_path / f"out-{name}"
    if path.suffix not in EXTENSIONS:
        target = target.with_suffix(".png")
    KINDS[name](path)
    data, rng = path.read_bytes(), random.Random(name + SEED)
    survived = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            limit_pixels(1_000_000)  # a damaged header may ask for gigabytes
            for _ in range(ROUNDS):
                path.write_bytes(mutate(data, rng))
                for step in (lambda: fill_damaged(path, target), lambda: read_mask(path)):
                    with contextlib.suppress(ImageFileError, MaskError):  # the only errors there may be
                        step()
                        survived += 1
        finally:
            limit_pixels()
    assert survived < 2 * ROUNDS  # or the mutations do not bite
