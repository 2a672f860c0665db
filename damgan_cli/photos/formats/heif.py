"""HEIC, by pillow-heif, or pi-heif, which does not write it."""

from __future__ import annotations

import contextlib
import importlib
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

from damgan_cli.photos.formats import common
from damgan_cli.photos.formats.avif import brands

if TYPE_CHECKING:
    from PIL import ImageFile

    from damgan_cli.photos.photo import Photo

_CODING = ("chroma", "nclx_profile")


@cache
def plugin() -> str | None:
    """Name of the package that reads HEIC here, None without one."""
    for name in ("pillow_heif", "pi_heif"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name).register_heif_opener()
            return name
    return None


def _probe(header: bytes) -> bool:
    own = brands(header)
    return header[8:11] in {b"hei", b"hev", b"mif", b"msf"} and bool(own) and not own & {b"avif", b"avis"}


def _size(source: BinaryIO) -> tuple[int, int]:
    _check_readable()
    return common.size_by("HEIF")(source)


def _open(data: bytes) -> ImageFile.ImageFile:
    _check_readable()
    return common.open_image(BytesIO(data), "HEIF")


def _read(data: bytes) -> Photo:
    with _open(data) as image:
        bits = image.info.get("bit_depth", 8)
        if bits > 8:
            raise common.NotKept(f"{bits} bits per channel")
        coding = {key: image.info[key] for key in _CODING if image.info.get(key)}
        return common.photo_of(image, "HEIC", lossless=False, coding=coding)


def _write(photo: Photo, quality: int | None) -> bytes:
    coding = photo.coding if photo.format == "HEIC" else {}
    # few decoders take other than the 4:2:0 of cameras: the source's own is kept
    options = {"quality": quality or common.QUALITY, "chroma": 420} | coding
    # x265's slower presets take 8 times as long for the same size and error at this quality
    return common.save(
        photo, "HEIF", **common.options_of(photo.metadata), **options, enc_params={"preset": "ultrafast"}
    )


def _check_readable() -> None:
    if not plugin():
        raise common.NotInstalled(
            "is a HEIC photo, for which a plugin is needed", "Install it: pip install 'damgan[heif]'."
        )


def _check_writable() -> None:
    if plugin() != "pillow_heif":
        raise common.NotInstalled(
            "HEIC is not written by what is installed here",
            "Install what is missing: pip install 'damgan[heif]'. Or write another format: -o photo.png.",
        )


FORMAT = common.Format(
    name="HEIC",
    extensions=(".heic", ".heif", ".hif"),
    modes=frozenset({"L", "RGB", "RGBA"}),
    probe=_probe,
    size=_size,
    read=_read,
    write=_write,
    check_writable=_check_writable,
)
