"""Where a fill is a grid."""

from __future__ import annotations

import numpy as np
import pytest

from damgan_cli.inpainting.grids import gridness

HOLE = (slice(50, 110), slice(60, 130))
INSIDE = (slice(60, 100), slice(70, 120))


def grain(height=160, width=190):
    noise = np.random.default_rng(0).normal(0, 0.1, (height, width, 1))
    return np.repeat(noise, 3, 2).astype(np.float32)


def drawn(value, height=160, width=190):
    """``value`` of row and column, as an image."""
    y, x = np.indices((height, width))
    return np.repeat(value(y, x)[..., None], 3, 2).astype(np.float32)


GRID = drawn(lambda y, x: 0.1 * np.sin(2 * np.pi * y / 5) * np.sin(2 * np.pi * x / 6))
FAINT = GRID / 20
STRIPES = drawn(lambda y, x: 0.1 * np.sin(2 * np.pi * (y + x) / 7))
EDGE = drawn(lambda y, x: np.where(2 * y + x > 250, 0.5, -0.5))
LINE = drawn(lambda y, x: np.where(abs(y - x) < 3, 0.5, -0.5))


def gridness_of(fill, known):
    unknown = np.zeros(known.shape[:2], bool)
    unknown[HOLE] = True
    return gridness(np.where(unknown[..., None], fill, known), unknown, unknown)


def test_a_grid_in_grain_is_seen_where_it_is():
    half = np.where(np.arange(190)[:, None] < 95, GRID, grain()[::-1])
    found = gridness_of(half, grain())
    assert found.shape == (160, 190)
    assert found[72:88, 68:82].min() > 0.8
    assert found[:, 125:].max() < 0.1
    assert max(found[:25].max(), found[140:].max()) < 0.01


def test_stripes_are_one():
    assert gridness_of(STRIPES, grain())[INSIDE].min() > 0.9


@pytest.mark.parametrize(
    "fill", [grain()[::-1], EDGE, LINE, FAINT], ids=["grain", "an edge", "a line", "a faint grid"]
)
def test_what_is_none(fill):
    assert gridness_of(fill, grain()).max() < 0.1


def test_a_grid_that_goes_on_around_the_hole_is_none():
    assert gridness_of(GRID, GRID).max() == 0


def test_photos_smaller_than_a_window():
    unknown = np.zeros((9, 5), bool)
    unknown[2:] = True
    assert gridness(grain(9, 5), unknown, unknown).shape == (9, 5)
    assert gridness(grain(9, 5), ~unknown, np.zeros((9, 5), bool)).max() == 0
