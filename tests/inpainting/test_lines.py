"""Lines that go on behind a hole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from damgan_cli.inpainting.lines import with_lines

SIZE = 90, 120
HOLE = (slice(25, 65), slice(40, 80))
ROWS, COLUMNS = np.indices(SIZE)


def image_of(*edges, grain=0.02):
    """In [-1, 1], darker by 0.8 below each of ``edges``, (row in the middle, slope), antialiased."""
    layer = np.full(SIZE, 0.8)
    for row, slope in edges:
        layer -= 0.8 * np.clip(ROWS - row - slope * (COLUMNS - 60) + 0.5, 0, 1)
    noise = np.random.default_rng(0).normal(0, grain, (*SIZE, 3))
    return (layer[..., None] + noise).astype(np.float32)


def hole_at(*boxes):
    hole = np.zeros(SIZE, bool)
    for box in boxes:
        hole[box] = True
    return hole


def drawn(image, hole=None, fill=0.4):
    """What becomes of an image whose hole has one colour, and the lines."""
    hole = hole_at(HOLE) if hole is None else hole
    return with_lines(np.where(hole[..., None], np.float32(fill), image), image, hole)


@pytest.mark.parametrize("slope", [0, 0.08, -0.3, 1])
def test_an_edge_is_drawn_where_it_goes_on(slope):
    image = image_of((45, slope))
    result, lines = drawn(image)
    (along,) = lines.directions
    assert abs(along[0] / along[1] - slope) < 0.01  # half a pixel across the hole
    near = hole_at(HOLE) & (np.abs(ROWS - 45 - slope * (COLUMNS - 60)) < 4)
    assert np.abs(result - image)[near].mean() < 0.05
    across = np.linalg.norm(lines.across, axis=2)
    assert across[near].min() > 0.99
    assert np.abs(lines.across @ along).max() < 1e-4
    assert across[~hole_at(HOLE)].max() == 0


def test_what_is_known_or_far_from_the_line_stays():
    image = image_of((45, 0))
    result, _ = drawn(image)
    hole = hole_at(HOLE)
    assert np.array_equal(result[~hole], image[~hole])
    far = hole & (np.abs(ROWS - 45) > 11)
    assert (result[far] == np.float32(0.4)).all()


def test_one_side_may_be_darker():
    """A wall that light falls on from one side, by half of the contrast of its foot."""
    image = image_of((45, 0.05)) + (COLUMNS / SIZE[1] * 0.4)[..., None].astype(np.float32)
    result, lines = drawn(image)
    assert len(lines.directions) == 1
    near = hole_at(HOLE) & (np.abs(ROWS - 45 - 0.05 * (COLUMNS - 60)) < 4)
    for side in (COLUMNS < 45, COLUMNS > 75):  # as dark or light as what is beside it
        assert abs((result - image)[near & side].mean()) < 0.05


def test_two_edges_that_have_nothing_to_do_with_each_other_are_no_line():
    left, right = image_of((45, 0)), image_of((53, 0))
    _, lines = drawn(np.where(COLUMNS[..., None] < 60, left, right))
    assert len(lines.directions) == 0
    dark_below, dark_above = image_of((45, 0)), -image_of((45, 0))
    _, lines = drawn(np.where(COLUMNS[..., None] < 60, dark_below, dark_above))
    assert len(lines.directions) == 0


def test_an_edge_that_ends_at_the_hole_is_no_line():
    image = image_of((45, 0))
    image[:, 60:] = 0.8
    _, lines = drawn(image)
    assert len(lines.directions) == 0


def test_a_line_that_is_seen_between_two_holes_is_not_drawn_over_it():
    boxes = (slice(25, 65), slice(20, 50)), (slice(25, 65), slice(72, 100))
    image = image_of((45, 0))
    image[:, 56:66] = 0.8  # here it is known: nothing is there
    _, lines = drawn(image, hole_at(*boxes))
    assert not (np.abs(lines.directions[:, 1]) > 0.5).any()  # upright ones are the borders of what is there


def test_a_line_ends_where_it_was_last_seen():
    """Behind the next hole it may be gone."""
    right = slice(30, 60), slice(104, 116)
    there = np.clip((102 - COLUMNS) / 12, 0, 1)[..., None].astype(np.float32)
    image = there * image_of((45, 0)) + (1 - there) * np.float32(0.8)
    result, lines = drawn(image, hole_at(HOLE, right))
    assert len(lines.directions) == 1
    assert (result[right] == np.float32(0.4)).all()


def test_an_edge_of_which_too_little_is_known_is_no_line():
    """At the right end five rows of it."""
    above, below = ((rows, slice(72, 115)) for rows in (slice(20, 43), slice(48, 75)))
    _, lines = drawn(image_of((45, 0)), hole_at(HOLE, above, below))
    assert len(lines.directions) == 0


def test_a_thin_line_goes_on_between_pixels():
    """Two pixels wide, dark between light, and at no whole row."""
    off = np.abs(ROWS - 45.25 - 0.02 * (COLUMNS - 60))
    image = (0.8 - 0.8 * np.clip(1.2 - off, 0, 1))[..., None] * np.ones(3)
    result, lines = drawn(image.astype(np.float32))
    assert len(lines.directions) == 1
    near = hole_at(HOLE) & (off < 3)
    assert np.abs(result - image)[near].mean() < 0.05


def test_lines_in_an_image_of_another_size():
    _, lines = drawn(image_of((45, 0.2)))
    larger = lines.at(0.5, (180, 240))
    assert np.array_equal(larger.directions, lines.directions)
    assert np.abs(larger.across[::2, ::2] - lines.across)[30:60, 45:75].max() < 0.2
    assert np.abs(larger.across).max() > 0.9


def test_of_two_that_cross_behind_the_hole_one_is_in_front():
    """Which one, the border does not tell; both would be torn where they meet."""
    image = image_of((45, 0.5), (45, -0.5))
    _, lines = drawn(image)
    assert len(lines.directions) == 1


def test_edges_side_by_side_are_as_many_lines():
    image = image_of((36, 0.1), (52, 0.1))
    result, lines = drawn(image)
    assert len(lines.directions) == 2
    for row in (36, 52):
        near = hole_at(HOLE) & (np.abs(ROWS - row - 0.1 * (COLUMNS - 60)) < 3)
        assert np.abs(result - image)[near].mean() < 0.06


def test_grass_has_no_lines():
    noise = np.random.default_rng(1).normal(0, 1, (*SIZE, 3)).astype(np.float32)
    image = 0.4 * cv2.GaussianBlur(noise, (0, 0), 1)
    _, lines = drawn(image)
    assert len(lines.directions) == 0


def test_nothing_under_the_hole_matters():
    image = image_of((45, 0.1))
    other = np.where(hole_at(HOLE)[..., None], np.float32(-1), image)
    one, two = (with_lines(np.zeros_like(image), known, hole_at(HOLE))[0] for known in (image, other))
    assert np.array_equal(one, two)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (40, 3)])
def test_the_smallest_images_and_those_that_are_all_hole_have_none(size):
    image = np.zeros((*size, 3), np.float32)
    for hole in (np.ones(size, bool), np.arange(size[0] * size[1]).reshape(size) % 2 == 0):
        result, lines = with_lines(image, image, hole)
        assert np.array_equal(result, image)
        assert lines.directions.shape == (0, 2)
