"""At full resolution: known pixels' detail instead of what a network draws where it is lost.

Far from known pixels, and sooner where there is grain, a network that must not blur draws lines, dots and
grids. Averaged to half its size a fill hardly shows them, so that is what exemplar.py gets, and what was
copied takes the place of the fill where both show the same: everywhere deep in a hole, and nearer to known
pixels where the fill is a grid (grids.py). Half the size does not tell how rough a place is, and smooth
patches fit anything; so patches are to be as rough as the network's fill is, and by its own lack of detail
rougher. docs/experiments.md, sections 14 to 16 and 19.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

from damgan_cli.inpainting.exemplar import Copying, Exemplar
from damgan_cli.inpainting.grids import gridness
from damgan_cli.inpainting.resample import blurred, contrast_restored, gray, mixed, pasted, rescaled, squared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from damgan_cli.inpainting.exemplar import Reduce

SHALLOW, DEEP = 16, 48
"""Depths (px) from which on detail is copied at all, and takes the place of the network's; what is nowhere
deeper than the latter is left alone but for grids, as little would change and it takes time."""
GRIDS = 2, 8
"""The same depths where the fill is a grid."""
_COPYING = Copying(blur=0.6, colours=40)
_SCALE = 2  # times smaller than the photo is what guides
_ROUGHNESS = 4.0  # its weight, against colours in [-1, 1]
_ROUGHER = 1.4  # times as rough as the network's fill copies are to be, as it is smoother than the truth
_FINE, _AROUND = 1.5, 3.0  # px (σ): roughness is of what is finer than the one, averaged over the other
_LITTLE = 0.1  # a smaller share of copies in a pixel is not worth its time
_LEAST = 2000  # and neither is a smaller sum of shares (px)
_STEEP = 0.05, 0.12  # slopes (RMS a pixel of half the size) from which on there is an edge, and surely one
_ALIGNED = 0.6, 0.9  # likewise how far slopes have one direction: their coherence, 0 to 1
_NEARBY = 3.0  # px of half the size (σ) over which slopes are averaged
_MIXED = 2.0  # px (σ): what is finer loses contrast where copies and fill are mixed


def with_copied_detail(
    filled: NDArray[np.float32],
    photo: NDArray[np.uint8],
    unknown: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
    depth: NDArray[np.float32],
    reduce: Reduce,
    *,
    edges_kept: bool = False,
) -> NDArray[np.float32]:
    """``filled`` (h, w, 3) in [-1, 1], with copied detail deep in the hole and where it is a grid.

    It is as large as ``photo`` (h, w, 3) uint8, with the hole ``unknown`` (h, w) and its ``depth`` (px); of
    that ``wanted`` (h, w) is changed, if it is deeper than `DEEP` anywhere or a grid. ``reduce`` is that of
    `Exemplar`. Known pixels stay as they are, and so does everything where too little is known. With
    ``edges_kept`` edges stay those of ``filled``: copies tear them.
    """
    deepest = float(depth[wanted].max(initial=0))
    if deepest <= GRIDS[1]:
        return filled
    much = gridness(filled, unknown, wanted & (depth > GRIDS[0])) * ramp(depth, *GRIDS)
    if deepest > DEEP:
        much = np.maximum(much, ramp(depth, SHALLOW, DEEP))
    much[~wanted | (much < _LITTLE)] = 0
    if much.sum() < _LEAST:
        return filled
    height, width = unknown.shape
    whole = cv2.copyMakeBorder(filled, 0, height % _SCALE, 0, width % _SCALE, cv2.BORDER_REPLICATE)
    half: Any = cv2.resize(whole, None, fx=1 / _SCALE, fy=1 / _SCALE, interpolation=cv2.INTER_AREA)
    rough = _ROUGHNESS * roughness(filled, unknown)
    rough[unknown] *= _ROUGHER
    source = Exemplar(half, photo, unknown, much > 0, _SCALE, reduce, _COPYING, rough)
    if source.field is None:
        return filled
    share = much * source.agreement
    if edges_kept:
        share *= 1 - np.clip(rescaled(edges(half), 1 / _SCALE, share.shape), 0, 1)
    both = mixed(filled, source.copied, share)
    restored = contrast_restored(both, share**2 + (1 - share) ** 2, _MIXED)
    return pasted(filled, restored, share > 0)


def ramp(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """0 up to ``low``, 1 from ``high`` on."""
    return cast("NDArray[np.float32]", np.clip((values - low) / (high - low), 0, 1))


def edges(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) in [0, 1]: how surely ``image`` (h, w, 3) in [-1, 1] has an edge or line there, and no texture.

    Slopes are steep, and have one direction: the structure tensor (Bigün & Granlund 1987).
    """
    across, down = (cv2.Sobel(gray(image), -1, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1)))
    products = (across * across, down * down, across * down)
    xx, yy, xy = (cv2.GaussianBlur(product, (0, 0), _NEARBY) for product in products)
    apart = np.hypot(xx - yy, 2 * xy)  # of the tensor's two eigenvalues
    steepest = np.sqrt((xx + yy + apart) / 2)
    return ramp(steepest, *_STEEP) * ramp(apart / (xx + yy + 1e-6), *_ALIGNED)


def roughness(image: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(h, w): RMS of what is fine in ``image`` (h, w, 3), in ``hole`` (h, w) and outside of it apart."""
    fine = squared(image - cv2.GaussianBlur(image, (0, 0), _FINE))
    seam = cv2.dilate(hole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0  # and the hole: it is no texture
    return np.sqrt(np.where(hole, blurred(fine, ~hole, _AROUND), blurred(fine, seam, _AROUND)))
