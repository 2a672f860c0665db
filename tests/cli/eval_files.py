"""Photos, a hole and spoiled results for the tests of ``damgan eval``."""

from __future__ import annotations

import cv2
import numpy as np
from skimage import data

CAT = cv2.resize(data.chelsea(), (128, 128), interpolation=cv2.INTER_AREA)
COFFEE = cv2.resize(data.coffee(), (128, 128), interpolation=cv2.INTER_AREA)
HOLE = np.zeros((128, 128), bool)
HOLE[20:60, 30:100] = True
SHARE = HOLE.mean()


def spoiled(photo):
    result = photo.copy()
    result[HOLE] = 255 - result[HOLE] // 2
    return result
