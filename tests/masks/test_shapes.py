"""Boxes, polygons and circles: every pixel they mean, and one message for what is none."""

from __future__ import annotations

import numpy as np
import pytest

from damgan_cli.errors import MaskError
from damgan_cli.masks.shapes import draw_shapes, parse_shape

HEIGHT, WIDTH = 40, 60


def drawn(*shapes):
    return draw_shapes([parse_shape(kind, text) for kind, text in shapes], HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [
        ("3,5,10,20", (5, 25), (3, 13)),
        ("50%,25%,10%,50%", (10, 30), (30, 36)),
        ("right=2,bottom=3,10,5", (32, 37), (48, 58)),
        ("right=0,top=0,50%,100%", (0, 40), (30, 60)),
        ("right=10%, bottom=10%, 20%, 10%", (32, 36), (42, 54)),
        ("55,35,100,100", (35, 40), (55, 60)),  # cut to the photo
    ],
)
def test_a_box_is_met_to_the_pixel(text, rows, columns):
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[slice(*rows), slice(*columns)] = True
    assert np.array_equal(drawn(("box", text)), expected)


def test_circles_and_polygons_cover_what_they_enclose():
    rows, columns = np.indices((HEIGHT, WIDTH)) + 0.5
    circle = np.hypot(rows - 20, columns - 30)
    hole = drawn(("circle", "50%,50%,25%"))  # of the shorter side: 10 px
    assert hole[circle < 9].all()
    assert not hole[circle > 11].any()
    triangle = drawn(("polygon", "10,10,50,10,10,30"))
    inside = (columns > 11) & (rows > 11) & (columns + 2 * rows < 66)
    outside = (columns < 9) | (rows < 9) | (columns + 2 * rows > 74)
    assert triangle[inside].all()
    assert not triangle[outside].any()
    corner = drawn(("circle", "right=5,bottom=5,4"))
    assert corner[35, 55]
    assert np.array_equal(drawn(("box", "0,0,5,5"), ("circle", "50%,50%,25%"))[5:], hole[5:])


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("box", "1,2,3", "is no box"),
        ("box", "1,2,3,0", "is no box"),
        ("box", "-1,2,3,4", "Write X,Y,W,H in px or %"),
        ("box", "bottom=1,2,3,4", "is no box"),
        ("box", "1,2,right=3,4", "is no box"),
        ("box", "a,b,c,d", "is no box"),
        ("polygon", "1,2,3,4", "is no polygon"),
        ("polygon", "1,2,3,4,5", "is no polygon"),
        ("circle", "1,2,0", "is no circle"),
        ("circle", "", "is no circle"),
        ("point", "1", "is no point"),
    ],
)
def test_what_is_no_shape_is_told_with_an_example(kind, text, words):
    with pytest.raises(MaskError) as problem:
        parse_shape(kind, text)
    assert words in str(problem.value)
    assert "such as" in problem.value.hint


@pytest.mark.parametrize(
    ("kind", "text"),
    [("box", "60,0,5,5"), ("box", "0,101%,5,5"), ("circle", "200,200,9"), ("polygon", "70,0,90,0,90,30")],
)
def test_a_shape_outside_of_the_photo_is_an_error(kind, text):
    with pytest.raises(MaskError, match=r"lies outside of the photo \(60x40\)"):
        drawn((kind, text))
