"""Where a fill repeats itself as nothing around the hole does: grids, which a network draws for grain.

Without anything random to draw from, a network that must not blur fills grain, stars, foam and gravel with a
pattern that repeats itself every few pixels. Its local autocorrelation has a peak at that distance, where
an edge or a line has none.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

from damgan_cli.inpainting.resample import gray, rescaled

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIDE, _STEP = 32, 12  # px of a window, and between two
_FINE = 3.0  # px (σ): what is finer is looked at
_FAINT = 0.012  # RMS of it at least, of colours in [-1, 1]: a level and a half
_LAGS = 3.5, 13.0  # px: shifts from the shortest to the longest
_GRID = 0.62  # peak of the autocorrelation from which on it may be a grid
_USUAL, _MORE = 0.9, 0.1  # if that is so much more than so large a share of the known windows has
_ENOUGH = 256  # known windows to compare with
_RAMP = 0.15  # from there to where it certainly is one

_TAPER = np.outer(*2 * [np.hanning(_SIDE + 2)[1:-1]]).astype(np.float32)
_TAPER /= np.sqrt(np.square(_TAPER).mean())
_down, _across = np.meshgrid(*2 * [np.fft.fftfreq(_SIDE, 1 / _SIDE)], indexing="ij")
_far = np.hypot(_down, _across)
_asked = (_far >= _LAGS[0]) & (_far <= _LAGS[1]) & ((_down > 0) | ((_down == 0) & (_across > 0)))
_SHIFTS = np.flatnonzero(_asked)
_HALVES = (_down[_asked] / 2).astype(int) * _SIDE + (_across[_asked] / 2).astype(int) % _SIDE


def gridness(
    filled: NDArray[np.float32], unknown: NDArray[np.bool_], wanted: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """(h, w) in [0, 1]: how surely ``filled`` (h, w, 3) in [-1, 1] is a grid near ``wanted`` (h, w).

    It has to repeat itself more than most of what is known, outside of the hole ``unknown`` (h, w).
    """
    fine = gray(filled)
    fine -= cv2.GaussianBlur(fine, (0, 0), _FINE)
    first = _STEP // 2  # middle of the first window
    lost = cv2.dilate(unknown.astype(np.uint8), np.ones((_SIDE, _SIDE)))[first::_STEP, first::_STEP] > 0
    asked = wanted[first::_STEP, first::_STEP]
    result = np.zeros(asked.shape, np.float32)
    if not asked.any():
        return np.zeros(wanted.shape, np.float32)
    padded = np.pad(fine, _SIDE // 2, mode="symmetric")
    windows: NDArray[Any] = np.lib.stride_tricks.sliding_window_view(padded, (_SIDE, _SIDE))
    windows = windows[first : unknown.shape[0] : _STEP, first : unknown.shape[1] : _STEP]
    rows, columns = np.nonzero(~lost)
    least = _GRID
    if len(rows):
        some = slice(None, None, -(-len(rows) // _ENOUGH))
        usual = _repeated(windows[rows[some], columns[some]])
        least = max(least, float(np.quantile(usual, _USUAL)) + _MORE)
    result[asked] = np.clip((_repeated(windows[asked]) - least) / _RAMP, 0, 1)
    spread = cast("NDArray[np.float32]", cv2.blur(cv2.dilate(result, np.ones((3, 3))), (3, 3)))
    return np.clip(rescaled(spread, 1 / _STEP, wanted.shape), 0, 1)


def _repeated(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,): how far windows (N, `_SIDE`, `_SIDE`) repeat themselves: 1 as often as they can, 0 not at all.

    That is the highest peak of their autocorrelation: what it has at some shift and not at half of it.
    """
    windows = windows - windows.mean((1, 2), keepdims=True)
    windows *= _TAPER
    alike = _autocorrelation(windows)
    faint = alike[:, 0] <= _FAINT**2
    alike /= np.maximum(alike[:, :1], 1e-6)
    alike *= _untapered()
    peaks = alike.take(_SHIFTS, 1) - np.maximum(alike.take(_HALVES, 1), 0)
    return cast("NDArray[np.float32]", np.where(faint, 0, peaks.max(1)))


@cache
def _untapered() -> NDArray[np.float32]:
    """(`_SIDE`²,): what makes an autocorrelation that of windows that do not fade towards their border."""
    taper = _autocorrelation(_TAPER[None])
    return cast("NDArray[np.float32]", taper[0, 0] / taper[0])


def _autocorrelation(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, `_SIDE`²): as shifts leave on one side they enter on the other; mean square without a shift."""
    import torch  # here, as `damgan paint` asks plan.py for its options before it loads torch

    spectrum = torch.fft.rfft2(torch.from_numpy(windows), norm="forward")  # numpy's takes three times as long
    products = torch.fft.irfft2(spectrum.real.square() + spectrum.imag.square(), norm="forward")
    return cast("NDArray[np.float32]", products.numpy().reshape(len(windows), -1))
