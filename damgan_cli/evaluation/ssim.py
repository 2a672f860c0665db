"""Structural similarity in the definitions that published tables use, and over several scales.

Images are (H, W, 3) uint8 RGB, masks (H, W), True or non-zero in the hole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from damgan_cli.errors import ImageFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Plane = NDArray[np.float64]

DEFAULT_SSIM = "gaussian-valid"
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_BAND = 64
_COMMON = "8-bit, K1 0.01, K2 0.03, data range 255, windows wholly inside the image only, mean over pixels"
_LUMA = (0.2125, 0.7154, 0.0721)  # of scikit-image's rgb2gray
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@dataclass(frozen=True)
class SsimKind:
    """One definition of SSIM."""

    window: int
    """Side in pixels, odd."""
    gaussian: bool
    """Weights of sigma 1.5, else uniform."""
    gray: bool
    """Scored on the luma, else on each channel."""
    sample_covariance: bool
    """Divided by N - 1, as scikit-image does unless told otherwise, else by N."""
    definition: str

    @property
    def crop(self) -> int:
        """Pixels at each side on which no window is centred."""
        return self.window // 2


SSIM_KINDS = {
    DEFAULT_SSIM: SsimKind(
        window=11, gaussian=True, gray=False, sample_covariance=False,
        definition=f"RGB, Gaussian window 11x11 of sigma 1.5, population covariance, {_COMMON} and channels, "
        "per image, then the mean over images (Wang et al. 2004; scikit-image with gaussian_weights; MAT)",
    ),
    "skimage-uniform7": SsimKind(
        window=7, gaussian=False, gray=False, sample_covariance=True,
        definition=f"RGB, uniform window 7x7, sample covariance, {_COMMON} and channels, per image, then the "
        "mean over images (scikit-image's defaults)",
    ),
    "edgeconnect-gray51": SsimKind(
        window=51, gaussian=False, gray=True, sample_covariance=True,
        definition=f"gray, uniform window 51x51, sample covariance, {_COMMON}, per image, then the mean over "
        "images (EdgeConnect and papers that score with its script)",
    ),
}  # fmt: skip

MS_SSIM_DEFINITION = (
    "five scales halved by averaging 2x2 pixels, weights 0.0448 0.2856 0.3001 0.2363 0.1333, windows of "
    "gaussian-valid, per channel, negative means taken as 0, then the mean over channels, per image, then "
    "the mean over images (Wang et al. 2003); undefined for images under 176 px"
)
MS_SSIM_LEAST = 11 * 2 ** (len(_SCALE_WEIGHTS) - 1)


def ssim_map(result: Image, truth: Image, kind: str = DEFAULT_SSIM) -> Plane:
    """SSIM of every window wholly inside the image, mean over channels, (H - 2 crop, W - 2 crop).

    Raises ImageFileError for images smaller than the window of ``kind``.
    """
    chosen = SSIM_KINDS[kind]
    height, width = truth.shape[:2]
    if min(height, width) < chosen.window:
        raise ImageFileError(
            f"SSIM ({kind}) needs images of at least {chosen.window}x{chosen.window} pixels, "
            f"not {width}x{height}.",
            "Score larger images.",
        )
    total: Plane = np.zeros((height - 2 * chosen.crop, width - 2 * chosen.crop))
    planes: list[Sequence[NDArray[Any]]] = [
        [image @ np.array(_LUMA)] if chosen.gray else cv2.split(image) for image in (result, truth)
    ]
    for x, y in zip(*planes, strict=True):
        # Bands of rows keep large photos' memory in bounds, and small ones' in the processor's cache.
        for top in range(0, len(total), _BAND):
            rows = slice(top, top + _BAND + 2 * chosen.crop)
            luminance, structure = _parts(x[rows].astype(np.float64), y[rows].astype(np.float64), chosen)
            total[top : top + _BAND] += luminance * structure
    return np.asarray(total / len(planes[0]))


def mean_ssim(similarity: Plane, mask: NDArray[Any] | None, kind: str = DEFAULT_SSIM) -> float:
    """Mean of an ``ssim_map``, or of its windows centred on the hole; nan if there is none."""
    crop = SSIM_KINDS[kind].crop
    chosen = similarity if mask is None else similarity[mask[crop:-crop, crop:-crop] != 0]
    return float(chosen.mean()) if chosen.size else float("nan")


def ms_ssim(result: Image, truth: Image, mask: NDArray[Any] | None = None) -> float:
    """Multi-scale SSIM, see ``MS_SSIM_DEFINITION``; nan for images under 176 px.

    With ``mask`` over the windows centred on the hole, at each scale; nan if a scale has none.
    """
    if min(truth.shape[:2]) < MS_SSIM_LEAST:
        return float("nan")
    kind = SSIM_KINDS[DEFAULT_SSIM]
    products = []
    for channel in range(truth.shape[2]):
        x, y = (image[:, :, channel].astype(np.float64) for image in (result, truth))
        hole = np.ones(x.shape, bool) if mask is None else mask != 0
        product = 1.0
        for scale, weight in enumerate(_SCALE_WEIGHTS):
            if scale:
                x, y, hole = _halved(x).mean((1, 3)), _halved(y).mean((1, 3)), _halved(hole).any((1, 3))
            luminance, structure = _parts(x, y, kind)
            last = scale == len(_SCALE_WEIGHTS) - 1
            values = (luminance * structure if last else structure)[hole[5:-5, 5:-5]]
            product *= max(0.0, float(values.mean())) ** weight if values.size else float("nan")
        products.append(product)
    return sum(products) / len(products)


def _parts(x: Plane, y: Plane, kind: SsimKind) -> tuple[Plane, Plane]:
    """Luminance, and contrast times structure, of every window wholly inside two planes."""
    crop = kind.crop

    def mean(plane: Plane) -> Plane:
        size = (kind.window, kind.window)
        blurred = cv2.GaussianBlur(plane, size, 1.5) if kind.gaussian else cv2.blur(plane, size)
        return np.asarray(blurred[crop:-crop, crop:-crop], np.float64)

    pixels = kind.window**2
    unbiased = pixels / (pixels - 1) if kind.sample_covariance else 1.0
    mean_x, mean_y = mean(x), mean(y)
    variances = unbiased * (mean(x * x + y * y) - mean_x**2 - mean_y**2)
    covariance = unbiased * (mean(x * y) - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return luminance, (2 * covariance + _C2) / (variances + _C2)


def _halved(plane: NDArray[Any]) -> NDArray[Any]:
    """View a plane as blocks of 2x2, (H/2, 2, W/2, 2); an odd last line is left out."""
    height, width = (side // 2 for side in plane.shape)
    return plane[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
