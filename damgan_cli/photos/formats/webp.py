"""WebP, with loss or without."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING

from damgan_cli.photos.formats import common

if TYPE_CHECKING:
    from damgan_cli.photos.photo import Photo


def _read(data: bytes) -> Photo:
    with common.open_image(BytesIO(data), "WEBP") as image:
        stream = re.search(rb"VP8[ L]", data)
        lossless = stream is not None and stream[0] == b"VP8L"
        return common.photo_of(image, "WebP", lossless=lossless)


def _write(photo: Photo, quality: int | None) -> bytes:
    """Without loss if the source had none."""
    lossless = photo.lossless and quality is None
    level = 100 if lossless else quality or common.QUALITY
    # exact: colours under transparent pixels are known pixels too
    return common.save(
        photo, "WEBP", **common.options_of(photo.metadata), lossless=lossless, quality=level, exact=True
    )


FORMAT = common.Format(
    name="WebP",
    extensions=(".webp",),
    modes=frozenset({"RGB", "RGBA"}),
    probe=lambda header: header.startswith(b"RIFF") and header[8:12] == b"WEBP",
    size=common.size_by("WEBP"),
    read=_read,
    write=_write,
)
