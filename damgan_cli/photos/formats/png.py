"""PNG: Pillow decodes and encodes 8 bits, OpenCV 16, of which Pillow keeps 8 where there is colour.

Both keep no chunks that they do not know, so those that describe the photo are carried along here.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np
from PIL import Image

from damgan_cli.photos.exif import patch_exif, patch_photoshop, patch_xmp
from damgan_cli.photos.formats.common import (
    Format,
    metadata_of,
    open_image,
    options_of,
    orientation_of,
    photo_of,
    save,
    tags_of,
    turned_size,
)
from damgan_cli.photos.photo import Photo

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import ImageFile

    Chunk = tuple[bytes, bytes]  # type and body

_TO_OPENCV = {"RGB": cv2.COLOR_RGB2BGR, "RGBA": cv2.COLOR_RGBA2BGRA}
_RUNS = (
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH),
)
_GRAPHICS = 4  # what shrinks by more than this from runs alone is no photo
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BEFORE_PALETTE = (b"iCCP", b"cICP", b"mDCV", b"cLLI", b"cHRM", b"gAMA", b"sRGB")
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_PROFILES = (b"exif", b"app1", b"xmp", b"iptc", b"8bim", b"icc", b"icm")
_KEPT = (*_BEFORE_PALETTE, *_TEXT, b"eXIf", b"pHYs", b"tIME")  # colours, text, EXIF, resolution, date
_SMALL = (b"eXIf", b"iCCP", b"pHYs", *_TEXT)  # what Pillow reads from chunks, wherever they stand


def _size(source: BinaryIO) -> tuple[int, int]:
    with open_image(source, "PNG") as image:
        if small := _stand_in(source, (b"eXIf", *_TEXT)):
            return turned_size(image.size, tags_of(small))
        width, height = image.size
        return width, height


def _read(data: bytes) -> Photo:
    with open_image(BytesIO(data), "PNG") as image:
        if data[24] == 16:  # bits: after the signature 8, chunk head 8, width 4, height 4
            return _read_deep(data, image)
        image.load()  # before its texts are read, as some may lie behind the pixels
        if image.mode in {"1", "L"} and "transparency" in image.info:
            image.info["transparency"] = _transparent_gray(data)
        own = tuple(_metadata(data))
        return photo_of(image, "PNG", metadata=metadata_of(image.info, own=own))


def _read_deep(data: bytes, image: ImageFile.ImageFile) -> Photo:
    _check_whole(data)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.shape[1::-1] != image.size:
        raise ValueError("its 16-bit pixels cannot be decoded")
    pixels = decoded.astype(np.uint16, copy=False)
    if pixels.ndim == 2 and "transparency" in image.info:
        # one gray means "transparent": OpenCV forgets it (in colour it makes an alpha channel of it)
        opaque = np.where(pixels == image.info["transparency"], 0, 65535).astype(np.uint16)
        pixels = np.stack([pixels, opaque], axis=2)
    elif data[25] == 4:  # gray with alpha, which OpenCV spreads over four channels
        pixels = pixels[..., [0, 3]]
    elif pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])
    tags, info = Image.Exif(), {}
    if small := _stand_in(BytesIO(data), _SMALL):
        tags, info = tags_of(small), small.info
    return Photo(
        pixels,
        {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels[0, 0].size],
        orientation=orientation_of(tags),
        metadata=metadata_of(info, own=tuple(_metadata(data))),
        format="PNG",
        pages=getattr(image, "n_frames", 1),
    )


def _check_whole(data: bytes) -> None:
    """Raise ValueError unless all chunks are as they were written: OpenCV would say so on stderr."""
    view, place = memoryview(data), len(_SIGNATURE)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">L", data, place)
        stop = place + 8 + length
        if stop + 4 > len(data) or struct.unpack_from(">L", data, stop)[0] != zlib.crc32(
            view[place + 4 : stop]
        ):
            break
        if data[place + 4 : place + 8] == b"IEND":
            return
        place = stop + 4
    raise ValueError("a part of it is missing or changed")


def _transparent_gray(data: bytes) -> int:
    """The gray that a PNG of up to 8 bits declares transparent, scaled to 8 bits like Pillow's pixels."""
    most = (1 << data[24]) - 1
    gray = next(int.from_bytes(body[:2], "big") for kind, body in _chunks(data) if kind == b"tRNS")
    return (gray & most) * 255 // most  # PNG 11.3.1.1: of a value too large the lower bits count


def _write(photo: Photo, quality: int | None) -> bytes:  # noqa: ARG001  # it has no loss
    if photo.format == "PNG":
        metadata = list(photo.metadata.own)
    else:
        known = options_of(photo.metadata)
        xmp = known.pop("xmp", None)
        buffer = BytesIO()
        Image.new("L", (1, 1)).save(buffer, "PNG", **known)
        metadata = _metadata(buffer.getvalue())
        if xmp:
            metadata.append((b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp))
    pixels = _deep_pixels(photo.pixels) if photo.pixels.dtype == np.uint16 else _pixels(photo)
    return _file(_chunks(pixels), metadata)


def _pixels(photo: Photo) -> bytes:
    """A PNG file of 8-bit pixels.

    Photos repeat themselves in runs alone. To look for nothing else takes a quarter of the time or less, and
    makes files at most 3 % larger. Graphics are worth the full search.
    """
    if photo.kind in _TO_OPENCV:
        # looked for by OpenCV in two thirds of Pillow's time
        quick = _encoded(cv2.cvtColor(photo.pixels, _TO_OPENCV[photo.kind]), _RUNS)
    else:
        quick = save(photo, "PNG", compress_type=zlib.Z_RLE)
    return save(photo, "PNG") if len(quick) < photo.pixels.size / _GRAPHICS else quick


def _encoded(pixels: NDArray[Any], how: tuple[int, ...] = ()) -> bytes:
    """A PNG file by OpenCV, of pixels in its order."""
    done, data = cv2.imencode(".png", pixels, how)
    if not done:
        raise ValueError("OpenCV cannot encode its pixels")
    return bytes(data)


def _deep_pixels(deep: NDArray[np.uint16]) -> bytes:
    """A PNG file of 16-bit pixels."""
    if deep.shape[2:] != (2,):
        return _encoded(deep if deep.ndim == 2 else deep[..., [2, 1, 0, 3][: deep.shape[2]]])
    # OpenCV writes no gray with alpha. Its bytes are those of 8-bit RGBA, with another header.
    buffer = BytesIO()
    Image.fromarray(deep.astype(">u2", order="C").view(np.uint8)).save(buffer, "PNG")
    (_, head), *rest = _chunks(buffer.getvalue())
    return _file([(b"IHDR", head[:8] + b"\x10\x04" + head[10:]), *rest], [])


# ------------------------------------------------------------------------------------------ chunks
def _chunks(data: bytes) -> list[Chunk]:
    """All chunks (type, body) of a PNG file."""
    chunks, place = [], len(_SIGNATURE)
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">L", data, place)
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def _metadata(data: bytes) -> list[Chunk]:
    """The chunks of a PNG file that are kept, without pictures in them."""
    kept: list[Chunk] = []
    for kind, body in _chunks(data):
        if kind == b"eXIf":
            kept.append((kind, patch_exif(b"Exif\0\0" + body)[6:]))
        elif kind in _TEXT:
            if (text := _patch_text(kind, body)) is not None:
                kept.append((kind, text))
        elif kind in _KEPT:
            kept.append((kind, body))
    return kept


def _patch_text(kind: bytes, body: bytes) -> bytes | None:
    """A text chunk without previews, byte for byte if it has none; None if it cannot be read.

    Pillow has refused by now what unpacks to more than a megabyte.
    """
    keyword, _, rest = body.partition(b"\0")
    if kind == b"iTXt":
        packed = rest[:1] == b"\1"
        text = rest[2:].split(b"\0", 2)[-1]  # after the language and the translated keyword
    else:
        packed = kind == b"zTXt"
        text = rest[packed:]
    head = body[: len(body) - len(text)]
    try:
        plain = zlib.decompress(text) if packed else text
        is_profile = keyword.startswith(b"Raw profile type ")
        patched = _patch_raw_profile(plain) if is_profile else patch_xmp(plain)
    except (zlib.error, ValueError):
        return None
    if patched == plain:
        return body
    return head + (zlib.compress(patched) if packed else patched)


def _patch_raw_profile(text: bytes) -> bytes:
    """EXIF, XMP or Photoshop's resources as ImageMagick writes them, in hexadecimal. May raise ValueError."""
    _, name, _, digits = text.split(b"\n", 3)
    if name.lower() not in _PROFILES:
        raise ValueError(name)
    profile = bytes.fromhex(digits.decode("ascii"))
    patched = patch_xmp(patch_photoshop(patch_exif(profile)))  # each leaves alone what is of another kind
    if patched == profile:
        return text
    lines = re.findall(b".{1,72}", patched.hex().encode())
    return b"\n".join([b"", name, b"%8d" % len(patched), *lines, b""])


def _stand_in(file: BinaryIO, kinds: tuple[bytes, ...]) -> Image.Image | None:
    """A loaded image of one pixel with the chunks of ``kinds`` of a PNG, also those behind its pixels.

    None if it has none. Pillow would decode the pixels on its way to what follows them.
    """
    carried, place, size = [], len(_SIGNATURE), file.seek(0, os.SEEK_END)
    while place + 8 <= size:
        file.seek(place)
        length, kind = struct.unpack(">L4s", file.read(8))
        place += 12 + length
        if kind in kinds and place <= size:  # a length may be a lie
            carried.append((kind, file.read(length)))
    if not carried:
        return None
    small = BytesIO()
    Image.new("L", (1, 1)).save(small, "PNG")
    image = Image.open(BytesIO(_file(_chunks(small.getvalue()), carried)), formats=["PNG"])
    image.load()
    return image


def _file(pixels: list[Chunk], metadata: list[Chunk]) -> bytes:
    """A PNG file of the chunks of an encoder, and those of `_metadata` in their places between them."""
    early = [chunk for chunk in metadata if chunk[0] in _BEFORE_PALETTE]
    late = [chunk for chunk in metadata if chunk[0] not in _BEFORE_PALETTE]
    first_idat = next(i for i, chunk in enumerate(pixels) if chunk[0] == b"IDAT")
    chunks = pixels[:1] + early + pixels[1:first_idat] + late + pixels[first_idat:]
    return _SIGNATURE + b"".join(
        struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))
        for kind, body in chunks
    )


FORMAT = Format(
    name="PNG",
    extensions=(".png",),
    modes=frozenset({"1", "L", "LA", "P", "P;A", "RGB", "RGBA", "L;16", "LA;16", "RGB;16", "RGBA;16"}),
    probe=lambda header: header.startswith(_SIGNATURE),
    size=_size,
    read=_read,
    write=_write,
)
