"""Is the border of a hole seen in the filled photo? The step across it against the photo's natural steps.

python examples/seam.py FILLED MASK
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from damgan_cli.masks.read import read_mask
from damgan_cli.photos.read import read_rgb

if TYPE_CHECKING:
    from numpy.typing import NDArray

RING = 4
"""Width (px) of the known surroundings that natural steps are measured in."""


def seam_step(result: NDArray[np.uint8], mask: NDArray[Any]) -> tuple[float, float]:
    """Mean absolute difference of neighbouring pixels across the hole's border, and of known ones beside it.

    ``result`` (H, W, 3) uint8, ``mask`` (H, W), non-zero in the hole. In levels of 255, over horizontal and
    vertical neighbours: one of them filled for the first figure, both known and within `RING` px of the hole
    for the second. Their ratio is near 1 if the border cannot be told from the photo; more is a visible edge,
    less a fill that is smoother than its surroundings. nan where there is no such pair.
    """
    hole = np.asarray(mask) != 0
    near = cv2.dilate(hole.astype(np.uint8), np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)) > 0
    across, natural = [], []
    for picture, inside, close in ((result, hole, near), (result.swapaxes(0, 1), hole.T, near.T)):
        steps = np.abs(np.diff(picture.astype(np.int16), axis=0)).mean(-1)
        across.append(steps[inside[:-1] != inside[1:]])
        natural.append(steps[~inside[:-1] & ~inside[1:] & close[:-1] & close[1:]])
    return _mean(across), _mean(natural)


def _mean(parts: list[NDArray[np.float64]]) -> float:
    values = np.concatenate(parts)
    return float(values.mean()) if values.size else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("filled", type=Path)
    parser.add_argument("mask", type=Path, help="white is the hole")
    options = parser.parse_args()
    across, natural = seam_step(read_rgb(options.filled), read_mask(options.mask))
    print(f"across the border {across:.2f}, beside it {natural:.2f}, ratio {across / natural:.2f}")


if __name__ == "__main__":
    main()
