"""Shift maps: large pieces of what is known."""

from __future__ import annotations

import itertools
from functools import partial

import cv2
import numpy as np
import pytest

from damgan_cli.inpainting import shifts
from damgan_cli.inpainting.exemplar import Exemplar, copying_of
from damgan_cli.inpainting.lines import Lines, with_lines
from damgan_cli.inpainting.patchmatch import Field, Octave
from damgan_cli.inpainting.windows import reduced

SCALE = 4
HOLE = (slice(160, 288), slice(192, 320))


def no_lines(shape):
    return Lines(np.zeros((0, 2), np.float32), np.zeros((*shape, 2), np.float32))


def filled_by(photo, guide, *, pieces=True):
    """A photo whose hole is filled with copies, for a ``guide`` of the same size, as a window fills it."""
    unknown = np.zeros(photo.shape[:2], bool)
    unknown[HOLE] = True
    small = cv2.resize(guide, None, fx=1 / SCALE, fy=1 / SCALE, interpolation=cv2.INTER_AREA)
    window = small.astype(np.float32) / np.float32(127.5) - 1
    reduce = partial(reduced, photo, unknown)
    lines = None
    if pieces:
        window, lines = with_lines(window, *reduce(SCALE))
    source = Exemplar(window, photo, unknown, unknown, SCALE, reduce, copying_of(256), lines=lines)
    return np.where(unknown[..., None], 127.5 * (source.result + 1), photo)


def noisy(photo, sigma=6):
    """With grain, by which any patch is told from any other."""
    grain = np.random.default_rng(0).normal(0, sigma, photo.shape)
    return np.clip(photo + grain, 0, 255).astype(np.uint8)


def horizon(height=448, width=512, at=225):
    photo = np.full((height, width, 3), 180.0)
    photo[at:] = 60
    return noisy(photo)


def edge_in(filled):
    """The row at which each column of the hole turns dark."""
    return (cv2.GaussianBlur(filled, (0, 0), 2)[HOLE][..., 0] < 120).argmax(0)


def test_a_horizon_that_the_network_lets_sag_goes_on_straight():
    photo = horizon()
    guide = photo.copy()
    for column, sag in zip(range(192, 320), np.sin(np.linspace(0, np.pi, 128)), strict=True):
        guide[160 : int(225 + 8 * sag), column] = 180
        guide[int(225 + 8 * sag) : 288, column] = 60
    guide[HOLE] = cv2.GaussianBlur(guide, (0, 0), 6)[HOLE]
    straight, torn = (
        np.abs(edge_in(filled_by(photo, guide, pieces=pieces)) - (225 - 160)).max()
        for pieces in (True, False)
    )
    assert straight <= 1
    assert torn >= 4  # what pieces are for


def test_a_tilted_horizon_goes_on_as_tilted():
    """Shifts by whole pixels of the window, four of the photo, would leave steps."""
    rows, columns = np.indices((448, 512))
    photo = noisy(np.where(rows - 225 > 0.07 * (columns - 256), 60.0, 180.0)[..., None] * np.ones(3))
    guide = photo.copy()
    guide[HOLE] = cv2.GaussianBlur(photo, (0, 0), 8)[HOLE]
    off = edge_in(filled_by(photo, guide)) - edge_in(photo.astype(float))
    assert np.abs(off).max() <= 2


def test_pieces_get_the_brightness_of_what_is_around_them():
    """Light that is nowhere the same twice: each piece would be too bright or too dark."""
    rng = np.random.default_rng(1)
    light = cv2.GaussianBlur(rng.normal(0, 1, (448, 512)).astype(np.float32), (0, 0), 40)
    truth = noisy(130 + 15 * (light / light.std())[..., None] * np.ones(3))
    guide = truth.copy()
    guide[HOLE] = 130
    filled = filled_by(truth, guide)
    off = np.abs(cv2.GaussianBlur(filled - truth, (0, 0), 4))
    border = np.zeros(truth.shape[:2], bool)
    border[HOLE] = True
    border[HOLE][3:-3, 3:-3] = False
    assert off[border].mean() < 2.7  # 3.5 without, of a light that varies by 15
    grain, original = (
        (image - cv2.GaussianBlur(image.astype(float), (0, 0), 2))[HOLE].std() for image in (filled, truth)
    )
    assert grain > 0.8 * original


def test_what_differs_in_more_than_brightness_keeps_its_own():
    """A dark thing that touches the hole does not darken it."""
    photo = noisy(np.full((448, 512, 3), 190.0))
    photo[160:288, 140:192] = noisy(np.full((128, 52, 3), 40.0), 30)
    guide = photo.copy()
    guide[HOLE] = 190
    filled = filled_by(photo, guide)
    assert filled[HOLE][:, 8:].mean() > 180


def test_nothing_under_the_hole_matters_and_twice_is_the_same():
    photo = horizon()
    other = photo.copy()
    other[HOLE] = 255 - other[HOLE]
    one, two = (filled_by(source, photo) for source in (photo, other))
    assert np.array_equal(one, two)


def test_messages_find_the_labels_that_cost_least_together():
    """On a chain belief propagation is exact: the same as trying all."""
    rng = np.random.default_rng(3)
    for across_first in (True, False):
        cost = rng.uniform(0, 1, (1, 5, 3)).astype(np.float32)
        seams = rng.uniform(0, 1, (1, 4, 3, 3)).astype(np.float32)

        def total(labels, cost=cost, seams=seams):
            alone = sum(cost[0, cell, label] for cell, label in enumerate(labels))
            pairs = enumerate(itertools.pairwise(labels))
            return alone + sum(seams[0, edge, one, two] for edge, (one, two) in pairs)

        expected = min(itertools.product(range(3), repeat=5), key=total)
        if across_first:
            found = shifts._propagated(cost, np.zeros((0, 5, 3, 3), np.float32), seams, 1)[0]
        else:
            turned = cost.swapaxes(0, 1), seams.swapaxes(0, 1)
            found = shifts._propagated(*turned, np.zeros((5, 0, 3, 3), np.float32), 1)[:, 0]
        assert tuple(found) == expected


@pytest.mark.parametrize("shift", [(0, 23), (31, 0)])
def test_a_photo_tells_by_which_shift_it_repeats_itself(shift):
    rng = np.random.default_rng(0)
    tile = rng.uniform(-1, 1, (shift[0] or 120, shift[1] or 120, 3))
    image = np.tile(tile, (120 // tile.shape[0] + 1, 120 // tile.shape[1] + 1, 1))[:120, :120]
    hole = np.zeros((120, 120), bool)
    hole[50:60, 50:60] = True
    octave = Octave(image.astype(np.float32), hole, hole)
    found = shifts._frequent(shifts._repeats(octave, np.random.default_rng(0)), 8, 4)
    period = max(shift)
    along = found[:4, int(np.argmax(shift))]
    assert (along % period == 0).all()
    assert (along != 0).all()
    assert (found[:4, int(np.argmin(shift))] == 0).all()


def test_at_the_border_the_fill_has_no_say_in_what_goes_on():
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (60, 60, 3)).astype(np.float32)
    hole = np.zeros((60, 60), bool)
    hole[20:40, 20:40] = True
    costs = []
    for fill in (0, 1):
        octave = Octave(np.where(hole[..., None], np.float32(fill), image), hole, hole)
        places, cells = octave.targets()
        grid = shifts._Grid.of(Field(1, octave.row, places, cells, np.zeros_like(places)), octave)
        labels = np.where(grid.inside[..., None], np.array([-25, 25]), 0)
        costs.append(shifts._seams(grid, labels, octave, 1))
    one, two = shifts._halves(grid.inside, 1)
    assert (one != two).any()
    assert np.array_equal(costs[0][one != two], costs[1][one != two])


def offered_in(field, octave, lines, monkeypatch):
    """The grid, the shifts it may take and what they cost."""
    offered = []
    monkeypatch.setattr(shifts, "_chosen", lambda _, *given: offered.extend(given[:3]))
    shifts.in_pieces(field, octave, octave, lines, np.random.default_rng(0))
    return offered


def flat_with_a_hole(fill=0.0):
    """An octave where any known patch is like any other, and a field that copies from the left."""
    hole = np.zeros((180, 180), bool)
    hole[90:120, 60:90] = True
    image = np.where(hole[..., None], np.float32(fill), np.zeros((180, 180, 3), np.float32))
    octave = Octave(image, hole, hole)
    places, cells = octave.targets()
    return Field(1, octave.row, places, cells, np.full_like(places, -40)), octave


def cost_of(shift, grid, labels, cost, row):
    moved = shifts._shift(grid.places[..., None], labels, row)
    return cost[(moved == shift).all(-1) & grid.inside[..., None]]


def test_what_is_far_above_costs_more(monkeypatch):
    """The sky is no rock, however alike a blurred fill may be."""
    field, octave = flat_with_a_hole()
    directions = np.array([[1, 0]], np.float32)  # offers shifts of 6 to 96 px up and down
    lines = Lines(directions, np.zeros((180, 180, 2), np.float32))
    offered = offered_in(field, octave, lines, monkeypatch)
    near, mean, far = (cost_of((-by, 0), *offered, octave.row).mean() for by in (12, 56, 74))
    assert mean - near == pytest.approx(0.02 * 44, abs=1e-3)
    assert far - mean == pytest.approx(0.02 * 18 + 0.2 * 10, abs=1e-3)


def test_near_known_pixels_the_network_is_believed(monkeypatch):
    """Deep in a hole it only guesses."""
    field, octave = flat_with_a_hole(0.1)
    grid, labels, cost = offered_in(field, octave, no_lines(octave.hole.shape), monkeypatch)
    (level,) = (number for number in range(5, labels.shape[2]) if (labels[..., number] == 42).any())
    down, across = np.divmod(grid.places[grid.inside] - octave.at(90, 60), octave.row)
    depth = np.minimum(np.minimum(down, 29 - down), np.minimum(across, 29 - across)) + 1
    deep = depth > 3  # a patch sees nothing but the fill there, off by 0.1: one level of cost
    expected = 0.6 * (1 + 20 * np.exp(-depth[deep] / 5))
    assert cost[grid.inside, level][deep] == pytest.approx(expected, rel=1e-3)


def test_on_a_line_pieces_move_along_it(monkeypatch):
    field, octave = flat_with_a_hole()
    across = np.zeros((180, 180, 2), np.float32)
    across[100:110] = (-0.6, 0.8)
    lines = Lines(np.array([[0.8, 0.6]], np.float32), across)
    grid, labels, cost = offered_in(field, octave, lines, monkeypatch)
    here = grid.inside & np.isin(grid.places, octave.at(*np.nonzero(across.any(-1))))
    moved = shifts._shift(grid.places[..., None], labels, octave.row)[here]
    off = np.abs(moved @ np.array([-0.6, 0.8]))
    level = 0.02 * np.abs(moved[..., 0]) + 0.2 * np.maximum(np.abs(moved[..., 0]) - 64, 0)
    assert np.allclose(cost[here], level + 20 * np.minimum(off, 8), atol=1e-3)
    along = (np.abs(moved - (0.8 * 56, 0.6 * 56)) <= 0.5).all(-1)
    assert along.any(-1).all()


def test_finer_octaves_keep_to_a_line_too(monkeypatch):
    field, octave = flat_with_a_hole()
    across = np.zeros((180, 180, 2), np.float32)
    across[..., 0] = 1  # a level line
    offered = []
    monkeypatch.setattr(shifts, "_chosen", lambda _, *given: offered.extend(given[:3]))
    shifts.nudged(field, octave, octave, Lines(np.array([[0, 1]], np.float32), across))
    assert cost_of((0, -41), *offered, octave.row) == pytest.approx(0, abs=1e-3)
    assert cost_of((1, -41), *offered, octave.row) == pytest.approx(20, abs=1e-3)


def test_no_shift_leads_beyond_the_photo(monkeypatch):
    """Where a row ends the next one begins, in numbers of pixels."""
    rng = np.random.default_rng(0)
    hole = np.zeros((90, 90), bool)
    hole[30:60, 56:86] = True
    octave = Octave(rng.uniform(-1, 1, (90, 90, 3)).astype(np.float32), hole, hole)
    random = np.random.default_rng(0)
    field = Field.found(octave, 1, None, random)
    grid, labels, _ = offered_in(field, octave, no_lines(hole.shape), monkeypatch)
    own, *common = np.moveaxis(shifts._shift(grid.places[..., None], labels, octave.row), 2, 0)
    (level,) = (shift for shift in common[4:] if (shift == (0, 24)).all(-1).any())
    assert ((level == (0, 24)) | (level == own)).all()
