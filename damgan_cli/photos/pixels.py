"""Pixels of a decoded file as a model or a mask takes them: upright, 8-bit RGB, luma, opacity."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np
from PIL import Image, ImageCms

from damgan_cli.errors import ImageFileError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from damgan_cli.photos.decode import Decoded

_Scalar = TypeVar("_Scalar", bound=np.generic)

_UNSUPPORTED_MODES = ("I", "F", "LAB", "HSV")


def display(pixels: NDArray[_Scalar], orientation: int) -> NDArray[_Scalar]:
    """Turn stored pixels (H, W, ...) as EXIF ``orientation`` asks for."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def store(pixels: NDArray[_Scalar], orientation: int) -> NDArray[_Scalar]:
    """Turn displayed pixels (H, W, ...) back; the inverse of `display`."""
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels)


def rgb_pixels(decoded: Decoded, path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of a decoded file, turned as stored; alpha is dropped, 16 bits are scaled to 8."""
    if decoded.deep is not None:
        deep = decoded.deep
        pixels = ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)  # exact inverse of 8 bits * 257
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        return np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[..., :3]
    if decoded.image.mode in _UNSUPPORTED_MODES or decoded.image.mode.startswith("I;"):
        raise ImageFileError(
            f"{path} has pixels of a kind that is not supported (Pillow mode {decoded.image.mode}).",
            "Convert it to 8-bit or 16-bit gray or RGB.",
        )
    if decoded.image.mode == "CMYK":
        return np.asarray(convert_cmyk(decoded.image, "RGB", decoded.image.info.get("icc_profile")))
    if decoded.image.mode == "P":  # by way of RGBA, or Pillow warns that alpha is lost
        return np.asarray(decoded.image.convert("RGBA").convert("RGB"))
    image = decoded.image
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def convert_cmyk(image: Image.Image, mode: str, profile: bytes | None) -> Image.Image:
    """Convert CMYK to sRGB (``mode`` "RGB") or back ("CMYK") by the photo's ICC profile if it has one."""
    if profile:
        try:
            cmyk = ImageCms.ImageCmsProfile(BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            origin, target = (cmyk, srgb) if mode == "RGB" else (srgb, cmyk)
            converted = ImageCms.profileToProfile(image, origin, target, outputMode=mode)
        except (ImageCms.PyCMSError, OSError):  # a broken profile, or one of another colour model
            pass
        else:
            assert converted is not None  # noqa: S101  # only None with inPlace=True
            return converted
    return image.convert(mode)


def alpha_pixels(decoded: Decoded) -> NDArray[np.uint8] | None:
    """(H, W) uint8 opacity of a decoded file, turned as stored; None if it has none."""
    if decoded.deep is not None:
        if decoded.deep.ndim == 2 or decoded.deep.shape[2] == 3:
            return None
        return (decoded.deep[..., -1] >> 8).astype(np.uint8)  # 255 only if (nearly) opaque: never rounds up
    if not decoded.image.has_transparency_data:
        return None
    return np.asarray(decoded.image.convert("RGBA").getchannel("A"))


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB -> (H, W) uint8 luma (Rec. 601)."""
    gray: NDArray[np.uint8] = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
    return gray
