"""What is painted, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from damgan_cli.page.actions import Found, MalformedError, paint_from


def drawn(*documents, size=(40, 60)):
    """(H, W) bool: the hole that such paint makes."""
    opacity = np.zeros(size, np.uint8)
    for document in documents:
        paint_from(document).draw(opacity)
    return opacity > 127


def stroke(*points, size=6, hardness=1.0, **more):
    return {"kind": "stroke", "points": list(points), "size": size, "hardness": hardness, **more}


def test_the_thinnest_stroke_is_one_pixel_wide():
    hole = drawn(stroke([10.5, 5.5], [30.5, 5.5], size=1))
    assert hole.sum() == 21
    assert hole[5, 10:31].all()
    assert drawn(stroke([10.2, 5.7], size=1)).nonzero() == ([5], [10])  # a tap


def test_a_stroke_has_its_width_and_stays_inside_the_photo():
    hole = drawn(stroke([-500.0, 20.0], [500.0, 20.0], size=10))
    assert set(hole.sum(0)) <= {10, 11}
    assert hole[20].all()


def test_soft_edges_count_where_they_are_half_opaque_and_add_up():
    line = [10.5, 20.5], [50.5, 20.5]
    hard, soft = drawn(stroke(*line, size=20)), drawn(stroke(*line, size=20, hardness=0.0))
    assert soft[:, 30].sum() == pytest.approx(10, abs=1)  # half of the width
    twice = drawn(stroke(*line, size=20, hardness=0.0), stroke(*line, size=20, hardness=0.0))
    assert soft.sum() < twice.sum() < hard.sum()
    assert not (twice & ~hard).any()


def test_boxes_lassos_and_the_eraser():
    box = {"kind": "box", "box": [10, 5, 20, 15]}
    assert drawn(box).sum() == 100
    assert drawn({"kind": "box", "box": [20, 15, 10, 5]}).sum() == 100  # drawn from the other corner
    lasso = {"kind": "lasso", "points": [[10, 5], [30, 5], [30, 25]]}
    assert drawn(lasso).sum() == pytest.approx(200, abs=35)  # with the pixels that its line touches
    erased = drawn(box, stroke([15, 0], [15, 39], size=2, erase=True))
    assert 70 <= erased.sum() <= 80
    assert not drawn(box, {"kind": "clear"}).any()


def test_what_is_found_is_kept_to_the_pixel():
    hole = np.random.default_rng(0).random((40, 60)) > 0.7
    hole[:3] = hole[:, 50:] = False
    for one in (hole, np.zeros_like(hole)):
        opacity = np.zeros(one.shape, np.uint8)
        Found.of(one).draw(opacity)
        np.testing.assert_array_equal(opacity > 127, one)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"kind": "spray"},
        stroke(),
        stroke([1, 2, 3]),
        stroke([1, 2], [3]),
        stroke([1, float("nan")]),
        stroke([1, float("inf")]),
        stroke([1, 10**400]),
        stroke([1, "x"]),
        stroke([[1, 2], [3, 4]]),
        stroke(*[[1, 2]] * 20_001),
        stroke([1, 2], size=0),
        stroke([1, 2], size=1e9),
        stroke([1, 2], size="6"),
        stroke([1, 2], size=True),
        stroke([1, 2], size=float("nan")),
        stroke([1, 2], hardness=None),
        stroke([1, 2]) | {"points": {"0": [1, 2]}},
        {"kind": "box", "box": [1, 2, 3]},
        {"kind": "box", "box": "1,2,3,4"},
        {"kind": "lasso", "points": [[1, 2], [3, 4]]},
    ],
    ids=lambda document: str(document)[:60],
)
def test_malformed_paint_is_refused(document):
    with pytest.raises(MalformedError):
        paint_from(document)
