"""PSNR, SSIM and L1 of one filled photo against the truth, as MAT and mmagic compute them.

Published numbers disagree by up to 0.19 SSIM on one image depending on the definition, so each is spelt
out in ``METRIC_DEFINITIONS``, which ``damgan eval`` prints. Images are (H, W, 3) uint8 RGB, scored as they
are saved; masks are (H, W), True (or non-zero) in the hole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from damgan_cli.errors import ImageFileError, MaskError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

METRIC_DEFINITIONS = {
    "psnr": "dB, 8-bit RGB, mean squared error over all pixels and channels, peak 255, per image, then the "
    "mean over images; an identical pair is infinite, counted apart and not part of the mean",
    "ssim": "8-bit RGB, Gaussian window 11x11 of sigma 1.5, K1 0.01, K2 0.03, data range 255, population "
    "covariance, windows wholly inside the image only (5 px crop), mean over pixels and channels, per image, "
    "then the mean over images (Wang et al. 2004; scikit-image with gaussian_weights)",
    "l1": "percent, mean absolute difference over all pixels and channels divided by 255",
    "hole": "hole_psnr, hole_ssim and hole_l1 take the same quantities over the hole's pixels only "
    "(for SSIM the windows centred on them)",
}

_WINDOW = 11
_CROP = _WINDOW // 2
_SIGMA = 1.5


def psnr(result: Image, truth: Image, mask: NDArray[Any] | None = None) -> float:
    """Peak signal-to-noise ratio in dB; infinite if identical, nan if ``mask`` has no hole.

    ``result`` and ``truth`` (H, W, 3) uint8, ``mask`` (H, W). Raises ImageFileError or MaskError if the
    shapes differ.
    """
    squared = np.square(_difference(result, truth, mask), dtype=np.int32)
    if squared.size == 0:
        return float("nan")
    error = float(squared.mean())
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def l1_percent(result: Image, truth: Image, mask: NDArray[Any] | None = None) -> float:
    """Mean absolute difference in percent of 255; nan if ``mask`` has no hole. Arguments as for ``psnr``."""
    absolute = np.abs(_difference(result, truth, mask))
    return float(absolute.mean()) / 255 * 100 if absolute.size else float("nan")


def ssim(result: Image, truth: Image, mask: NDArray[Any] | None = None) -> float:
    """Structural similarity, at most 1; nan if no window is centred on the hole of ``mask``.

    Arguments as for ``psnr``. Raises ImageFileError for images under 11 pixels, which hold no window.
    """
    _check(result, truth, mask)
    return _mean_ssim(_ssim_map(result, truth), mask)


def score(result: Image, truth: Image, mask: NDArray[Any] | None = None) -> dict[str, float]:
    """All metrics of one image: psnr, ssim, l1, and with a mask also hole_psnr, hole_ssim, hole_l1.

    Arguments and errors as for ``ssim``.
    """
    _check(result, truth, mask)
    similarity = _ssim_map(result, truth)
    scores = {
        "psnr": psnr(result, truth),
        "ssim": _mean_ssim(similarity, None),
        "l1": l1_percent(result, truth),
    }
    if mask is not None:
        scores["hole_psnr"] = psnr(result, truth, mask)
        scores["hole_ssim"] = _mean_ssim(similarity, mask)
        scores["hole_l1"] = l1_percent(result, truth, mask)
    return scores


def _check(result: Image, truth: Image, mask: NDArray[Any] | None) -> None:
    if result.shape != truth.shape:
        raise ImageFileError(
            f"The result is {_size(result)} but the truth is {_size(truth)}.", "Score images of equal size."
        )
    if mask is not None and mask.shape != truth.shape[:2]:
        raise MaskError(
            f"The mask is {_size(mask)} but the image is {_size(truth)}.",
            "Use the mask that the photo was inpainted with.",
        )


def _size(image: NDArray[Any]) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _difference(result: Image, truth: Image, mask: NDArray[Any] | None) -> NDArray[np.int16]:
    """Signed differences, (H, W, 3), or (hole pixels, 3) with a mask."""
    _check(result, truth, mask)
    difference = result.astype(np.int16) - truth
    return difference if mask is None else difference[mask != 0]


def _ssim_map(result: Image, truth: Image) -> NDArray[np.float64]:
    """SSIM of every window wholly inside the image, mean over channels, (H - 10, W - 10)."""
    height, width, channels = truth.shape
    if min(height, width) < _WINDOW:
        raise ImageFileError(
            f"SSIM needs images of at least {_WINDOW}x{_WINDOW} pixels, not {width}x{height}.",
            "Score larger images.",
        )

    def mean(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        blurred = cv2.GaussianBlur(plane, (_WINDOW, _WINDOW), _SIGMA)
        return np.asarray(blurred[_CROP:-_CROP, _CROP:-_CROP], np.float64)

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    total: NDArray[np.float64] = np.zeros((height - 2 * _CROP, width - 2 * _CROP))
    for channel in range(channels):  # one by one, which keeps the memory of large photos in bounds
        x = result[:, :, channel].astype(np.float64)
        y = truth[:, :, channel].astype(np.float64)
        mean_x, mean_y = mean(x), mean(y)
        variances = mean(x * x + y * y) - mean_x**2 - mean_y**2
        covariance = mean(x * y) - mean_x * mean_y
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        total += luminance * (2 * covariance + c2) / (variances + c2)
    return np.asarray(total / channels)


def _mean_ssim(similarity: NDArray[np.float64], mask: NDArray[Any] | None) -> float:
    chosen = similarity if mask is None else similarity[mask[_CROP:-_CROP, _CROP:-_CROP] != 0]
    return float(chosen.mean()) if chosen.size else float("nan")
