"""How sure a mean is, and whether one method's results differ from another's on the same images.

Seeded: the same scores give the same intervals and p-values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

RESAMPLES = 2000
_CHUNK = 1 << 22  # numbers held at once

INTERVAL_DEFINITION = (
    "95 % confidence interval of the mean over images, percentile bootstrap, "
    f"{RESAMPLES} resamples of the images"
)
COMPARISON_DEFINITION = (
    "mean difference to the first-ranked method over the images that both have, its 95 % bootstrap interval, "
    f"and the two-sided p-value of a sign-flip permutation test of {RESAMPLES} flips, corrected by Holm over "
    "the methods"
)


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences between two methods."""

    mean: float
    low: float
    high: float
    """95 % confidence interval."""
    p: float
    count: int
    """Images compared."""


def interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float] | None:
    """Percentile bootstrap 95 % confidence interval of the mean; None for fewer than two values."""
    finite = np.asarray(values, np.float64)
    if finite.size < 2:
        return None
    rng = np.random.default_rng(0)
    means = np.concatenate(
        [finite[rng.integers(0, finite.size, shape)].mean(axis=1) for shape in _chunks(finite.size)]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def paired_difference(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Difference | None:
    """Compare ``ours`` minus ``theirs``, scores by image, over the images that are finite in both.

    None for fewer than two such images. ``p`` is not corrected for other comparisons, see ``holm``.
    """
    both = [(ours[name], theirs[name]) for name in ours if name in theirs]
    values = np.array([a - b for a, b in both if np.isfinite(a) and np.isfinite(b)])
    limits = interval(values)
    if limits is None:
        return None
    rng = np.random.default_rng(1)
    observed = abs(values.mean())
    extreme = 0
    for shape in _chunks(values.size):
        signs = 2.0 * rng.integers(0, 2, shape, dtype=np.int8) - 1
        extreme += int(np.count_nonzero(np.abs(signs @ values) / values.size >= observed - 1e-12))
    return Difference(float(values.mean()), *limits, (1 + extreme) / (1 + RESAMPLES), values.size)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for being several (Holm 1979), in the order given."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable").tolist()):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def _chunks(size: int) -> list[tuple[int, int]]:
    """Shapes (resamples, size) that add up to ``RESAMPLES`` and stay small."""
    rows = max(1, _CHUNK // size)
    return [(min(rows, RESAMPLES - start), size) for start in range(0, RESAMPLES, rows)]
