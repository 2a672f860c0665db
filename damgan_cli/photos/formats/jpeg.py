"""JPEG, coded again as its source was."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL.JpegImagePlugin import get_sampling

from damgan_cli.photos.exif import patch_photoshop
from damgan_cli.photos.formats import common

if TYPE_CHECKING:
    from PIL import Image

    from damgan_cli.photos.photo import Photo


def _read(data: bytes) -> Photo:
    """The first picture: what may follow it are previews or a second view (MPO)."""
    with common.open_image(BytesIO(data), "JPEG") as image:
        image.load()
        segments = [body for name, body in image.applist if name == "APP13"]
        own = tuple((b"\xff\xed", patch_photoshop(body)) for body in segments)
        metadata = common.metadata_of(image.info, own=own)
        return common.photo_of(
            image, "JPEG", pages=1, metadata=metadata, coding=_coding(image), lossless=False
        )


def _coding(image: Image.Image) -> dict[str, Any]:
    """How a JPEG was coded, as Pillow's options for coding one in the same way; empty if Pillow cannot.

    Chroma sampled in another way than 4:4:4, 4:2:2 or 4:2:0 (Pillow writes no other) is written in full.
    """
    layers = image.layer  # type: ignore[attr-defined]  # of each channel: name, sampling (2), number of table
    tables = [image.quantization.get(layer[3]) for layer in layers]  # type: ignore[attr-defined]
    transform = image.info.get("adobe_transform")
    if None in tables or transform == 2:
        return {}  # lossless JPEG; or YCCK, which Pillow writes as CMYK
    while len(tables) > 1 and tables[-1] == tables[-2]:
        tables.pop()  # the last one serves all channels that follow
    coding = {"qtables": tables, "progressive": bool(image.info.get("progressive"))}
    is_rgb = transform == 0 or (transform is None and [layer[0] for layer in layers] == list(b"RGB"))
    if image.mode == "RGB" and is_rgb and "jfif" not in image.info:
        return {**coding, "keep_rgb": True}
    return {**coding, "subsampling": max(get_sampling(image), 0)}


def _write(photo: Photo, quality: int | None) -> bytes:
    """With the source's own tables and sampling, so that values away from the hole change least.

    See docs/formats.md; neither the decoder's own YCbCr planes nor coding again what was lost would help at
    high quality. Without a JPEG source at `QUALITY` without subsampling.
    """
    is_own = photo.format == "JPEG"
    options = common.options_of(photo.metadata)
    segments = list(photo.metadata.own) if is_own else []
    if xmp := options.pop("xmp", None):  # only Pillow 11 writes it by itself
        segments.append((b"\xff\xe1", b"http://ns.adobe.com/xap/1.0/\0" + xmp))
    options["extra"] = b"".join(mark + struct.pack(">H", len(body) + 2) + body for mark, body in segments)
    if quality is None and is_own and photo.coding:
        options |= photo.coding
    else:
        options |= {"quality": quality or common.QUALITY, "subsampling": 0}
    return common.save(photo, "JPEG", **options)


FORMAT = common.Format(
    name="JPEG",
    extensions=(".jpg", ".jpeg", ".jfif"),
    modes=frozenset({"L", "RGB", "CMYK"}),
    probe=lambda header: header.startswith(b"\xff\xd8\xff"),
    size=common.size_by("JPEG"),
    read=_read,
    write=_write,
)
