"""Fixtures of the tests of ``damgan train``."""

from __future__ import annotations

import cv2
import numpy as np
import pytest


@pytest.fixture
def photos(tmp_path):
    """24 photos of 40x32 px with structure a network can learn."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(24):
        photo = cv2.resize(rng.integers(0, 256, (4, 5, 3), np.uint8), (40, 32), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{i:02}.png"), photo)
    return folder
