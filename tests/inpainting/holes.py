"""Photos of noise and holes of many shapes."""

from __future__ import annotations

import numpy as np


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def hole_with(shape, *boxes):
    hole = np.zeros(shape, bool)
    for top, bottom, left, right in boxes:
        hole[top:bottom, left:right] = True
    return hole


HOLES = {
    "small photo": hole_with((90, 120), (10, 50, 20, 90)),
    "one thin stroke": hole_with((400, 600), (100, 110, 50, 550)),
    "one big square": hole_with((500, 700), (100, 400, 200, 500)),
    "two parts": hole_with((600, 600), (10, 40, 10, 40), (300, 580, 300, 580)),
    "longer than a window": hole_with((300, 3500), (100, 130, 5, 3495)),
    "deep and longer than a window": hole_with((900, 3700), (100, 200, 5, 3695)),
    "a frame": ~hole_with((1100, 900), (20, 1080, 20, 880)),
    "a stroke into a square": hole_with((500, 700), (100, 300, 200, 400), (198, 202, 400, 690)),
    "at the border": hole_with((300, 300), (0, 300, 200, 300)),
    "everything": hole_with((200, 333), (0, 200, 0, 333)),
    "one pixel": hole_with((1000, 130), (999, 1000, 0, 1)),
    "specks": np.random.default_rng(0).random((300, 400)) < 0.0005,
}
