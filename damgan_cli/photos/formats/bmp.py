"""BMP."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from damgan_cli.photos.formats.common import Format, open_image, options_of, photo_of, save, size_by

if TYPE_CHECKING:
    from damgan_cli.photos.photo import Photo


def _read(data: bytes) -> Photo:
    with open_image(BytesIO(data), "BMP") as image:
        return photo_of(image, "BMP")


def _write(photo: Photo, quality: int | None) -> bytes:  # noqa: ARG001  # it has no loss
    return save(photo, "BMP", **options_of(photo.metadata))


FORMAT = Format(
    name="BMP",
    extensions=(".bmp",),
    modes=frozenset({"1", "L", "P", "RGB"}),
    probe=lambda header: header.startswith(b"BM"),
    size=size_by("BMP"),
    read=_read,
    write=_write,
)
