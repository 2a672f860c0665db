"""EXIF, XMP and Photoshop's resources, of which only what cannot show a removed part of the photo is kept.

Text and small numbers are kept, byte for byte; pictures, and whatever has no meaning known here, are not.
"""

from __future__ import annotations

import contextlib
import re
import struct

ORIENTATION = 0x0112
"""EXIF and TIFF tag: how the stored pixels must be turned to be displayed (1-8)."""
PHOTOSHOP = 34377
"""TIFF tag of Photoshop's image resources, which a JPEG has in its APP13 segments."""
XMP = 700
"""TIFF tag of the XMP packet."""
KEPT_BYTES = {PHOTOSHOP, XMP, 33723, *range(40091, 40096)}
"""Tags of bytes in the first directory that are kept: these two, IPTC, and the texts of Windows."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # of EXIF types
_TEXT_TYPE, _BYTE_TYPES = 2, (1, 6, 7)
_FURTHER = (0x8769, 0x8825, 0xA005)  # tags of the directories of EXIF, GPS and interoperability
_LONG = (0x927C, 0x9286)  # maker note and the user's comment
_MOST = 4096  # bytes of any other value than text: too few for a picture that shows something
_JPEG = b"\xff\xd8\xff"
# Thumbnails; Google's picture behind the picture, and its depth map; and whatever else is as long in base64.
_XMP_NAMES = rb"(?:\w*GImg:image|GImage:Data|GDepth:Data)"
_XMP_PICTURE = re.compile(rb"(<%b\s*>|\b%b\s*=\s*[\"'])[^<\"']+" % (_XMP_NAMES, _XMP_NAMES))
_BASE64 = re.compile(rb"[A-Za-z0-9+/=\r\n&#;]{512,}")
_IPTC, _RESOLUTION = 0x0404, 0x03ED  # of Photoshop's resources, those that are kept


class _Directories:
    """The directories (IFDs) of EXIF bytes or of a TIFF file (no BigTIFF), to be patched in place.

    In place rather than rewritten: maker notes hold absolute offsets and would not survive. Every method
    raises struct.error where the bytes are malformed: no reader gets further than that.
    """

    def __init__(self, exif: bytes) -> None:
        self.data = bytearray(exif)
        self.base = 6 if exif.startswith(b"Exif\0\0") else 0
        self.end = "<" if exif[self.base : self.base + 2] == b"II" else ">"

    def numbers(self, kind: str, place: int) -> tuple[int, ...]:
        """What stands at ``place``, ``kind`` as in struct."""
        return struct.unpack_from(self.end + kind, self.data, place)

    def put(self, kind: str, place: int, *numbers: int) -> None:
        struct.pack_into(self.end + kind, self.data, place, *numbers)

    def first(self) -> int:
        """Where the first directory starts."""
        return self.base + self.numbers("L", self.base + 4)[0]

    def entries(self, directory: int) -> dict[int, int]:
        """Where the entry of each tag starts."""
        (count,) = self.numbers("H", directory)
        places = range(directory + 2, directory + 2 + 12 * count, 12)
        return {self.numbers("H", place)[0]: place for place in places}


def turn_upright(exif: bytes) -> bytes:
    """EXIF bytes or a TIFF file (no BigTIFF) with orientation 1, else untouched."""
    found = _Directories(exif)
    with contextlib.suppress(struct.error):
        tags = found.entries(found.first())
        if ORIENTATION in tags:
            found.put("HH", tags[ORIENTATION] + 8, 1, 0)
    return bytes(found.data)


def patch_exif(exif: bytes) -> bytes:
    """EXIF bytes in which all but the values to be kept is blank; what is no EXIF is left alone.

    Kept are the directories of the photo, of EXIF, GPS and interoperability with their texts and small
    numbers; and the maker note and the user's comment, unless they hold a JPEG. So thumbnails go, compressed
    or not, and what maker notes point to outside of themselves.
    """
    found = _Directories(exif)
    if exif[found.base : found.base + 4] not in {b"II*\0", b"MM\0*"}:
        return exif
    kept = [(0, found.base + 8)]
    with contextlib.suppress(struct.error):  # no reader gets further than that
        first = found.first()
        waiting, seen = [first], set[int]()
        while waiting:
            directory = waiting.pop()
            if directory in seen:
                continue
            seen.add(directory)
            (entries,) = found.numbers("H", directory)
            kept.append((directory, directory + 2))  # and no link to a next one, that of the thumbnail
            for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
                tag, kind, count, _ = found.numbers("HHLL", entry)
                kept.append((entry, entry + 12))
                size = _SIZES.get(kind, 0) * count
                if size <= 4:
                    if tag in _FURTHER:
                        waiting.append(found.base + found.numbers("L", entry + 8)[0])
                    continue
                start = found.base + found.numbers("L", entry + 8)[0]
                if _is_kept(tag, kind, exif[start : start + size], in_first=directory == first):
                    kept.append((start, start + size))
    clean = bytearray(len(exif))
    for start, stop in kept:
        clean[start:stop] = found.data[start:stop]
    return bytes(clean)


def _is_kept(tag: int, kind: int, value: bytes, *, in_first: bool) -> bool:
    """Whether a value of the type ``kind`` shows no picture; ``in_first`` directory or a further one."""
    if _JPEG in value:
        return False
    if tag in {XMP, PHOTOSHOP}:
        return value == (patch_xmp if tag == XMP else patch_photoshop)(value)
    if kind == _TEXT_TYPE or (tag in _LONG and not in_first):
        return True
    if kind in _BYTE_TYPES and in_first:
        return tag in KEPT_BYTES
    return len(value) <= _MOST


def patch_xmp(xmp: bytes) -> bytes:
    """An XMP packet, or other text, whose thumbnails and other pictures in base64 are empty."""
    return _BASE64.sub(b"", _XMP_PICTURE.sub(rb"\1", xmp))


def patch_photoshop(resources: bytes) -> bytes:
    """Of Photoshop's image resources (with or without the head of an APP13 segment) IPTC and resolution.

    What is nothing of the kind is left alone.
    """
    head = b"Photoshop 3.0\0" if resources.startswith(b"Photoshop 3.0\0") else b""
    if not head and not resources.startswith(b"8BIM"):
        return resources
    kept, place = [head], len(head)
    while resources[place : place + 4] == b"8BIM":
        name = place + 6  # a Pascal string, padded to an even length
        size = name + (1 + (resources[name : name + 1] or b"\0")[0] + 1) // 2 * 2
        if size + 4 > len(resources):
            break
        (number,) = struct.unpack_from(">H", resources, place + 4)
        (length,) = struct.unpack_from(">L", resources, size)
        stop = size + 4 + (length + 1) // 2 * 2
        if number in {_IPTC, _RESOLUTION} and _JPEG not in resources[place:stop]:
            kept.append(resources[place:stop])
        place = stop
    return b"".join(kept)
