"""What a photo file carries beside its pixels, byte for byte, less the thumbnails.

A thumbnail would still show what was removed from the photo: those of EXIF, Photoshop and XMP are cut.
Pillow and OpenCV keep no PNG chunks that they do not know, and rewrite EXIF so that maker notes break.
"""

from __future__ import annotations

import contextlib
import re
import struct
import zlib

ORIENTATION = 0x0112
"""EXIF and TIFF tag: how the stored pixels must be turned to be displayed (1–8)."""
PHOTOSHOP = 34377
"""TIFF tag of Photoshop's image resources, which a JPEG has in its APP13 segments."""
XMP = 700
"""TIFF tag of the XMP packet."""

_PHOTOSHOP_THUMBNAILS = {1033, 1036}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_BEFORE_PALETTE = (b"iCCP", b"cICP", b"mDCV", b"cLLI", b"cHRM", b"gAMA", b"sRGB")
_PNG_OF_PIXELS = (b"tRNS", b"sBIT", b"bKGD", b"hIST", b"acTL", b"fcTL", b"fdAT")  # depend on the pixels' mode


def patch_exif(exif: bytes, *, upright: bool) -> bytes:
    """EXIF bytes without their thumbnail (IFD 1) and, if ``upright``, with orientation 1. Else untouched.

    A TIFF file (no BigTIFF) is built alike: its second page is cut.
    Patched in place rather than rewritten: maker notes hold absolute offsets and would not survive.
    """
    data = bytearray(exif)
    base = 6 if exif.startswith(b"Exif\0\0") else 0
    end = "<" if exif[base : base + 2] == b"II" else ">"

    def entries(start: int) -> dict[int, int]:
        (count,) = struct.unpack_from(end + "H", data, start)
        places = range(start + 2, start + 2 + 12 * count, 12)
        return {struct.unpack_from(end + "H", data, place)[0]: place for place in places}

    with contextlib.suppress(struct.error):  # from a malformed block no reader gets further than this
        ifd0 = base + struct.unpack_from(end + "L", data, base + 4)[0]
        tags = entries(ifd0)
        if upright and ORIENTATION in tags:
            struct.pack_into(end + "HH", data, tags[ORIENTATION] + 8, 1, 0)
        link = ifd0 + 2 + 12 * struct.unpack_from(end + "H", data, ifd0)[0]
        (ifd1,) = struct.unpack_from(end + "L", data, link)
        if ifd1:
            struct.pack_into(end + "L", data, link, 0)
            thumbnail = entries(base + ifd1)
            (start,) = struct.unpack_from(end + "L", data, thumbnail.get(0x0201, len(data)) + 8)
            (size,) = struct.unpack_from(end + "L", data, thumbnail.get(0x0202, len(data)) + 8)
            stop = min(base + start + size, len(data))
            data[base + start : stop] = bytes(max(0, stop - base - start))
    return bytes(data)


def patch_photoshop(resources: bytes) -> bytes:
    """Photoshop's image resources (with or without the head of an APP13 segment) without thumbnails."""
    head = b"Photoshop 3.0\0" if resources.startswith(b"Photoshop 3.0\0") else b""
    kept, place = [head], len(head)
    while resources[place : place + 4] == b"8BIM":
        name = place + 6  # a Pascal string, padded to an even length
        size = name + (1 + (resources[name : name + 1] or b"\0")[0] + 1) // 2 * 2
        if size + 4 > len(resources):
            break
        (length,) = struct.unpack_from(">L", resources, size)
        stop = size + 4 + (length + 1) // 2 * 2
        if struct.unpack_from(">H", resources, place + 4)[0] not in _PHOTOSHOP_THUMBNAILS:
            kept.append(resources[place:stop])
        place = stop
    kept.append(resources[place:])  # of another kind, or malformed
    return b"".join(kept)


def patch_xmp(xmp: bytes) -> bytes:
    """An XMP packet whose thumbnails are empty."""
    return re.sub(rb"(<xmpGImg:image>|\bxmpGImg:image=\")[^<\"]*", rb"\1", xmp)


# ------------------------------------------------------------------------------------------ PNG
def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """All chunks (type, body) of a PNG file."""
    chunks, place = [], len(_PNG_SIGNATURE)
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">L", data, place)
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def png_metadata(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks (type, body) of a PNG file that describe the photo and do not depend on its pixels' mode."""
    return [
        (kind, patch_xmp(body) if kind == b"iTXt" else body)
        for kind, body in png_chunks(data)
        if kind[:1].islower() and kind not in _PNG_OF_PIXELS
    ]


def png_file(pixels: list[tuple[bytes, bytes]], metadata: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG file of the chunks of an encoder, and those of `png_metadata` in their places between them."""
    early = [chunk for chunk in metadata if chunk[0] in _PNG_BEFORE_PALETTE]
    late = [chunk for chunk in metadata if chunk[0] not in _PNG_BEFORE_PALETTE]
    first_idat = next(i for i, chunk in enumerate(pixels) if chunk[0] == b"IDAT")
    chunks = pixels[:1] + early + pixels[1:first_idat] + late + pixels[first_idat:]
    return _PNG_SIGNATURE + b"".join(
        struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))
        for kind, body in chunks
    )
