"""A decoder that computes where there are holes: the same fills, for less."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from damgan_cli.model import Generator, GeneratorConfig
from damgan_cli.model.regions import cells_near, computed_near, rectangles


@settings(max_examples=200, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=14)), st.integers(0, 40))
def test_rectangles_hold_all_cells_and_are_tight_and_apart(cells, call):
    held = np.zeros(cells.shape, int)
    for top, bottom, left, right in rectangles(cells, call):
        held[top:bottom, left:right] += 1
        part = cells[top:bottom, left:right]
        assert all(side.any() for side in (part[0], part[-1], part[:, 0], part[:, -1]))
    assert held.max() <= 1
    assert (held[cells] == 1).all()


def test_far_holes_are_apart_and_close_ones_together():
    cells = np.zeros((40, 40), bool)
    cells[2:4, 2:4] = cells[5:7, 2:4] = cells[30:34, 36:39] = True
    assert list(rectangles(cells, 16)) == [(2, 7, 2, 4), (30, 34, 36, 39)]
    assert list(rectangles(cells, 2000)) == [(2, 34, 2, 39)]


def test_cells_are_near_to_the_pixel():
    mask = torch.zeros(1, 1, 8, 36)
    mask[..., 3, 10] = 1  # in the second cell, 3 px from the first and 6 from the third
    near = {reach: cells_near(mask, reach, 8)[0].int().tolist() for reach in (0, 2, 3, 5, 6, 14)}
    assert near[0] == near[2] == [[0, 1, 0, 0, 0]]
    assert near[3] == near[5] == [[1, 1, 0, 0, 0]]
    assert near[6] == [[1, 1, 1, 0, 0]]
    assert near[14] == [[1, 1, 1, 1, 0]]


def test_where_rectangles_cost_more_all_is_computed_at_once():
    sizes = []

    def layer(T, S):
        sizes.append(tuple(S.shape))
        return S, S[:, :1]

    T, S = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 64, 64)
    cells = torch.zeros(2, 8, 8, dtype=torch.bool)
    cells[0, 1:3, 1:3] = cells[1, 5:, 4:] = True
    assert torch.equal(computed_near(layer, T, S, cells, 100)[0], S)
    x, M = computed_near(layer, T, S, cells, 1)
    assert sizes == [(2, 3, 64, 64), (1, 3, 24, 24), (1, 3, 28, 36)]
    wanted = cells.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    assert torch.equal(x, S * wanted)
    assert torch.equal(M, S[:, :1] * wanted)


HOLES = {
    "an object": [(60, 100, 70, 90)],
    "at two borders": [(0, 20, 180, 200), (150, 168, 0, 9)],
    "a line": [(80, 82, 5, 195)],
    "dust": [(9, 11, 13, 15), (120, 123, 60, 61), (40, 41, 190, 192)],
}


@pytest.mark.parametrize("how", [{}, {"light": 1}, {"refined": 2}, {"given": torch.zeros(2, 3, 168, 200)}])
@pytest.mark.parametrize("holes", HOLES.values(), ids=HOLES)
def test_with_a_margin_the_fill_is_the_same_and_the_rest_is_not_computed(holes, how):
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig((4, 4, 4), (2,), (4, 4, 8, 8), (2, 1), (1, 2))).eval()
    image, mask = torch.rand(2, 3, 168, 200) * 2 - 1, torch.zeros(2, 1, 168, 200)
    for top, bottom, left, right in holes:
        mask[0, :, top:bottom, left:right] = 1
    mask[1, :, 100:130, 20:70] = 1
    for margin in (0, 1, 25):
        with torch.inference_mode():
            whole, part = generator(image, mask, **how), generator(image, mask, **how, margin=margin)
        near = F.max_pool2d(mask, 2 * margin + 1, stride=1, padding=margin)
        assert torch.allclose(part.result * near, whole.result * near, atol=1e-5)
        M, all_of_M = part.fakeness[0][..., :168, :200], whole.fakeness[0][..., :168, :200]
        assert torch.allclose(M * near, all_of_M * near, atol=1e-5)
        assert torch.allclose(part.coarse * mask, whole.coarse * mask, atol=1e-5)
        assert (part.result == 0).all(1).float().mean() > 0.3
