"""Colours of a photo as a model or a mask takes them: 8-bit RGB, luma, opacity; and as Pillow has them."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageCms

from damgan_cli.errors import ImageFileError
from damgan_cli.photos.exif import turn_upright
from damgan_cli.photos.photo import Photo, display

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UNSUPPORTED_MODES = ("I", "F", "LAB", "HSV")
_NO_ARRAYS = {"P", "PA", "La", "RGBa", "YCbCr", "CMYK", "RGBX"}  # whose shapes mean other modes to Pillow


def rgb_of(photo: Photo) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, upright; alpha is dropped, 16 bits are scaled to 8. Raises ImageFileError."""
    return display(_rgb(photo), photo.orientation)


def _rgb(photo: Photo) -> NDArray[np.uint8]:
    if photo.pixels.dtype == np.uint16:
        pixels = eight_bit(photo.pixels)
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        return np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[..., :3]
    if photo.mode == "RGB":
        return photo.pixels
    if photo.mode in _UNSUPPORTED_MODES:
        raise ImageFileError(
            f"{photo.path} has pixels of a kind that is not supported (Pillow mode {photo.mode}).",
            "Convert it to 8-bit or 16-bit gray or RGB.",
        )
    image = image_of(photo)
    if photo.mode == "CMYK":
        return np.asarray(convert_cmyk(image, "RGB", photo.metadata.icc))
    if photo.mode == "P":  # by way of RGBA, or Pillow warns that alpha is lost
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def alpha_of(photo: Photo) -> NDArray[np.uint8] | None:
    """(H, W) uint8 opacity, upright; None if the photo has none."""
    if photo.mode in {"LA", "RGBA"}:
        alpha = photo.pixels[..., -1]
        if alpha.dtype == np.uint16:
            alpha = (alpha >> 8).astype(np.uint8)  # 255 only if (nearly) opaque: never rounds up
    elif photo.mode in {"PA", "La", "RGBa"} or photo.opacity:
        alpha = np.asarray(image_of(photo).convert("RGBA").getchannel("A"))
    else:
        return None
    return display(alpha, photo.orientation)


def eight_bit(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """16 bits reduced to 8; the exact inverse of 8 bits times 257."""
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB -> (H, W) uint8 luma (Rec. 601)."""
    gray: NDArray[np.uint8] = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
    return gray


def convert_cmyk(image: Image.Image, mode: str, profile: bytes) -> Image.Image:
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


# ------------------------------------------------------------------------------------------ Pillow
def image_of(photo: Photo, pixels: NDArray[Any] | None = None) -> Image.Image:
    """A photo of 8 bits (or other ``pixels`` of its kind) as Pillow has it, as stored, without metadata."""
    pixels = np.ascontiguousarray(photo.pixels if pixels is None else pixels)
    if photo.mode not in _NO_ARRAYS:
        return Image.fromarray(pixels)
    image = Image.frombytes(photo.mode, pixels.shape[1::-1], pixels.tobytes())
    if photo.mode in {"P", "PA"}:
        image.putpalette(list(photo.palette))
    if photo.opacity:
        image.info["transparency"] = photo.opacity
    return image


def upright_image(photo: Photo) -> Any:
    """A photo as a PIL image as it is displayed, or as an array if it has 16-bit colours."""
    pixels = display(photo.pixels, photo.orientation)
    if photo.pixels.dtype == np.uint16:
        return Image.fromarray(pixels) if pixels.ndim == 2 else pixels
    image = image_of(photo, pixels)
    known = {"exif": turn_upright(photo.metadata.exif), "icc_profile": photo.metadata.icc}
    image.info |= {key: value for key, value in known.items() if value}
    return image


def pixels_of(image: Image.Image) -> dict[str, Any]:
    """Pixels, mode, palette and opacity of a loaded Pillow image of up to 8 bits, as `Photo` takes them.

    One colour that stands for "transparent" becomes an alpha channel: a fill must not hit it by chance.
    """
    key = image.info.get("transparency")
    if key is not None and image.mode in {"1", "L", "RGB"}:
        if image.mode == "1":  # Pillow makes RGBA of it only
            image = image.convert("L")
            image.info["transparency"] = 255 * bool(key)
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    known: dict[str, Any] = {"pixels": np.asarray(image), "mode": image.mode}
    if image.mode in {"P", "PA"}:
        known["palette"] = bytes(image.getpalette() or [])
        if isinstance(key, bytes):
            known["opacity"] = key
        elif key is not None:
            known["opacity"] = b"\xff" * key + b"\0"
        elif image.palette is not None and image.palette.mode == "RGBA":
            known["opacity"] = bytes(image.getpalette("RGBA") or [])[3::4]
    return known
