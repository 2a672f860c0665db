"""PSNR, SSIM and L1 of one filled photo against the truth, by default as MAT and mmagic compute them.

Published numbers disagree by up to 0.19 SSIM on one image depending on the definition, so each is spelt
out (``definitions``), and ``damgan eval`` prints it. Images are (H, W, 3) uint8 RGB, scored as they
are saved; masks are (H, W), True (or non-zero) in the hole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from damgan_cli.errors import ImageFileError, MaskError
from damgan_cli.evaluation.ssim import (
    DEFAULT_SSIM,
    MS_SSIM_DEFINITION,
    SSIM_KINDS,
    mean_ssim,
    ms_ssim,
    ssim_map,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]


def definitions(ssim_kind: str = DEFAULT_SSIM, *, multi_scale: bool = False) -> dict[str, str]:
    """Spell out what the numbers of ``score`` are."""
    return {
        "psnr": "dB, 8-bit RGB, mean squared error over all pixels and channels, peak 255, per image, then "
        "the mean over images; an identical pair is infinite, counted apart and not part of the mean",
        "ssim": f"{ssim_kind}: {SSIM_KINDS[ssim_kind].definition}",
        **({"ms_ssim": MS_SSIM_DEFINITION} if multi_scale else {}),
        "l1": "percent, mean absolute difference over all pixels and channels divided by 255",
        "hole": "hole_psnr, hole_ssim, hole_l1: the same quantities over the hole's pixels only "
        "(for SSIM the windows centred on them)",
    }


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
    return mean_ssim(ssim_map(result, truth), mask)


def score(
    result: Image,
    truth: Image,
    mask: NDArray[Any] | None = None,
    *,
    ssim_kind: str = DEFAULT_SSIM,
    multi_scale: bool = False,
) -> dict[str, float]:
    """All metrics of one image: psnr, ssim, l1, and with a mask also hole_psnr, hole_ssim, hole_l1.

    ``ssim_kind`` is a key of ``ssim.SSIM_KINDS``; ``multi_scale`` adds ms_ssim and hole_ms_ssim. Other
    arguments and errors as for ``ssim``.
    """
    _check(result, truth, mask)
    similarity = ssim_map(result, truth, ssim_kind)
    scores = {
        "psnr": psnr(result, truth),
        "ssim": mean_ssim(similarity, None, ssim_kind),
        "l1": l1_percent(result, truth),
    }
    if mask is not None:
        scores["hole_psnr"] = psnr(result, truth, mask)
        scores["hole_ssim"] = mean_ssim(similarity, mask, ssim_kind)
        scores["hole_l1"] = l1_percent(result, truth, mask)
    if multi_scale:
        scores["ms_ssim"] = ms_ssim(result, truth)
        if mask is not None:
            scores["hole_ms_ssim"] = ms_ssim(result, truth, mask)
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
