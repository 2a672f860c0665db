"""What a photo file carries beside its pixels, byte for byte, less the previews.

A preview would still show what was removed from the photo: those of EXIF, Photoshop, XMP and PNG are cut.
Pillow and OpenCV keep no PNG chunks that they do not know, and rewrite EXIF so that maker notes break.
"""

from __future__ import annotations

import contextlib
import re
import struct

ORIENTATION = 0x0112
"""EXIF and TIFF tag: how the stored pixels must be turned to be displayed (1–8)."""
PHOTOSHOP = 34377
"""TIFF tag of Photoshop's image resources, which a JPEG has in its APP13 segments."""
XMP = 700
"""TIFF tag of the XMP packet."""
TIFF_PREVIEWS = {20507, 37724, 50784}
"""TIFF tags of a thumbnail (Windows), and of the layers of Photoshop and of Alias Sketchbook."""

_PHOTOSHOP_THUMBNAILS = {1033, 1036}
_THUMBNAIL_PARTS = ((0x0201, 0x0202), (0x0111, 0x0117))  # tags of place and size: of a JPEG, of strips
_JPEG_FILE = re.compile(rb"\xff\xd8\xff.*?\xff\xd9", re.DOTALL)
# Thumbnails; Google's picture behind the picture, and its depth map. All in base64.
_XMP_NAMES = rb"(?:\w*GImg:image|GImage:Data|GDepth:Data)"
_XMP_PICTURE = re.compile(rb"(<%b\s*>|\b%b\s*=\s*[\"'])[^<\"']+" % (_XMP_NAMES, _XMP_NAMES))


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

    def values(self, entry: int) -> tuple[int, ...]:
        """The numbers of an entry of the type short or long; none of any other."""
        kind, count = self.numbers("HL", entry + 2)
        letter = {3: "H", 4: "L"}.get(kind)
        if letter is None:
            return ()
        inside = count * struct.calcsize(f"<{letter}") <= 4
        place = entry + 8 if inside else self.base + self.numbers("L", entry + 8)[0]
        return self.numbers(f"{count}{letter}", place)

    def unlink_rest(self) -> None:
        """Cut the directories after the first, and blank the pictures they point to."""
        directory = self.first()
        while True:
            link = directory + 2 + 12 * self.numbers("H", directory)[0]
            (following,) = self.numbers("L", link)
            if not following:
                return
            self.put("L", link, 0)
            directory = self.base + following
            entries = self.entries(directory)
            for start_tag, size_tag in _THUMBNAIL_PARTS:
                if start_tag in entries and size_tag in entries:
                    parts = zip(self.values(entries[start_tag]), self.values(entries[size_tag]), strict=False)
                    for start, size in parts:
                        place = self.base + start
                        stop = min(place + size, len(self.data))
                        self.data[place:stop] = bytes(max(0, stop - place))


def turn_upright(exif: bytes) -> bytes:
    """EXIF bytes or a TIFF file (no BigTIFF) with orientation 1, else untouched."""
    found = _Directories(exif)
    with contextlib.suppress(struct.error):
        tags = found.entries(found.first())
        if ORIENTATION in tags:
            found.put("HH", tags[ORIENTATION] + 8, 1, 0)
    return bytes(found.data)


def patch_exif(exif: bytes) -> bytes:
    """EXIF bytes without their thumbnail (IFD 1) and other previews that are JPEGs, else untouched."""
    found = _Directories(exif)
    if exif[found.base : found.base + 4] not in {b"II*\0", b"MM\0*"}:
        return exif
    with contextlib.suppress(struct.error):
        found.unlink_rest()
    return _JPEG_FILE.sub(lambda jpeg: bytes(len(jpeg[0])), found.data)  # in maker notes, of any maker


def patch_xmp(xmp: bytes) -> bytes:
    """An XMP packet whose thumbnails and other pictures are empty."""
    return _XMP_PICTURE.sub(rb"\1", xmp)


_PHOTOSHOP_COPIES = {1058: patch_exif, 1059: patch_exif, 1060: patch_xmp}
"""What of Photoshop's resources may hold a thumbnail besides other things."""


def patch_photoshop(resources: bytes) -> bytes:
    """Photoshop's image resources (with or without the head of an APP13 segment) without thumbnails."""
    head = b"Photoshop 3.0\0" if resources.startswith(b"Photoshop 3.0\0") else b""
    kept, place = [head], len(head)
    while resources[place : place + 4] == b"8BIM":
        name = place + 6  # a Pascal string, padded to an even length
        size = name + (1 + (resources[name : name + 1] or b"\0")[0] + 1) // 2 * 2
        if size + 4 > len(resources):
            break
        (number,) = struct.unpack_from(">H", resources, place + 4)
        (length,) = struct.unpack_from(">L", resources, size)
        stop = size + 4 + (length + 1) // 2 * 2
        if patch := _PHOTOSHOP_COPIES.get(number):
            body = patch(resources[size + 4 : size + 4 + length])
            kept += [resources[place:size], struct.pack(">L", len(body)), body, bytes(len(body) % 2)]
        elif number not in _PHOTOSHOP_THUMBNAILS:
            kept.append(resources[place:stop])
        place = stop
    kept.append(resources[place:])  # of another kind, or malformed
    return b"".join(kept)
