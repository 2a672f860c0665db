"""WebP, with loss or without."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING

from damgan_cli.photos.formats.common import (
    QUALITY,
    Format,
    open_image,
    options_of,
    photo_of,
    save,
    size_by,
)

if TYPE_CHECKING:
    from damgan_cli.photos.photo import Photo


def _read(data: bytes) -> Photo:
    with open_image(BytesIO(data), "WEBP") as image:
        pages = getattr(image, "n_frames", 1)
        image.load()
        stream = re.search(rb"VP8[ L]", data)
        lossless = stream is not None and stream[0] == b"VP8L"
        return photo_of(image, "WebP", pages=pages, lossless=lossless)


def _write(photo: Photo, quality: int | None) -> bytes:
    """Without loss if the source had none."""
    lossless = photo.lossless and quality is None
    level = 100 if lossless else quality or QUALITY
    # exact: colours under transparent pixels are known pixels too
    return save(photo, "WEBP", **options_of(photo.metadata), lossless=lossless, quality=level, exact=True)


FORMAT = Format(
    name="WebP",
    extensions=(".webp",),
    modes=frozenset({"RGB", "RGBA"}),
    probe=lambda header: header.startswith(b"RIFF") and header[8:12] == b"WEBP",
    size=size_by("WEBP"),
    read=_read,
    write=_write,
)
