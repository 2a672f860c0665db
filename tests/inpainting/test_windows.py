"""Windows: what the model gets to see of a photo, and where its fill goes."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest

from damgan_cli.inpainting import windows
from damgan_cli.inpainting.exemplar import copying_of
from damgan_cli.inpainting.plan import LARGEST, NATIVE, NO_LIMIT, OVERLAP, REACH, Reach, plan, reach_of
from damgan_cli.inpainting.windows import blanked, reduced
from tests.inpainting.holes import HOLES, hole_with, photo


def fill_of(window, value):
    return np.full((*window.hole.shape, 4), value, np.float32)


def paste(window, fill, result, fakeness, **options):
    ready = window.prepared(fill, result, fakeness, **options)
    if ready is not None:
        window.paste(ready, result, fakeness)


@pytest.mark.parametrize("name", HOLES)
def test_every_hole_pixel_is_filled_and_no_other(name):
    hole = HOLES[name]
    rgb = photo(*hole.shape)
    covered = np.zeros(hole.shape, np.float32)
    result, fakeness = np.where(hole[..., None], 3, rgb).astype(np.uint8), np.zeros(hole.shape, np.float32)
    for window in plan(rgb, hole):
        assert window.hole.size <= LARGEST**2
        weight = np.minimum.outer(*window.blend) * window.part
        covered[window.box] = weight + (1 - weight) * covered[window.box]
        paste(window, fill_of(window, 0.5), result, fakeness, copying=copying_of(128))
    assert np.array_equal(covered, hole.astype(np.float32))  # wholly, by one or by several
    assert np.array_equal(result[~hole], rgb[~hole])
    assert (fakeness[~hole] == 0).all()


@pytest.mark.parametrize("name", HOLES)
def test_the_truth_under_the_hole_never_reaches_a_window(name):
    hole = HOLES[name]
    rgb = photo(*hole.shape)
    other = rgb.copy()
    other[hole] = photo(*hole.shape, seed=1)[hole]
    for one, two in zip(plan(rgb, hole), plan(other, hole), strict=True):
        assert np.array_equal(one.image, two.image)
        assert (one.image[one.hole] == 0).all()


@pytest.mark.parametrize("name", [name for name in HOLES if name != "everything"])
def test_depths_are_of_the_hole_as_the_window_has_it(name):
    """Also where the plan has them already, as of strokes that share one window with all of a photo."""
    hole = HOLES[name]
    for window in plan(photo(*hole.shape), hole):
        seen = window.hole.astype(np.uint8)
        exact = cv2.distanceTransform(seen, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        assert np.allclose(window.depths, exact, atol=1e-3)  # OpenCV: not always to the last bit
    if name == "specks":
        assert all("depths" in vars(window) for window in plan(photo(*hole.shape), hole))


def test_small_photos_are_their_own_window():
    hole = HOLES["small photo"]
    (window,) = plan(photo(*hole.shape), hole)
    assert window.hole is hole
    assert window.box == (slice(0, 90), slice(0, 120))
    assert list(plan(photo(50, 50), np.zeros((50, 50), bool))) == []


def test_thin_strokes_stay_at_full_resolution_and_deep_holes_are_reduced():
    for stroke in plan(photo(400, 600), HOLES["one thin stroke"]):
        assert stroke.hole.shape == stroke.part.shape  # not resized
    square, reduced_further = plan(photo(500, 700), HOLES["one big square"])
    assert square.scale == 4  # 150 px deep: down to REACH or less
    assert not square.second
    assert reduced_further.scale == 8
    assert reduced_further.second
    in_large, _ = plan(photo(1400, 1400), np.pad(HOLES["one big square"], ((0, 900), (700, 0))))
    assert in_large.scale == 4
    assert in_large.hole.any(1).sum() == 300 / 4 <= 2 * REACH.first
    small, big, _ = plan(photo(600, 600), HOLES["two parts"])
    assert small.hole.shape == small.part.shape == (NATIVE, NATIVE)
    assert big.hole.shape != big.part.shape
    (whole,) = plan(photo(500, 700), HOLES["one big square"], reach=NO_LIMIT)
    assert whole.hole.shape == whole.part.shape


def test_models_of_small_images_reach_less_and_look_twice():
    assert reach_of(128) == REACH
    assert reach_of(64) == Reach(20, 10, 20)
    assert reach_of(256) == Reach(92, 92, 32)
    assert reach_of(512) == Reach(184, 184, 32)


def test_an_object_s_outline_is_reduced_further_than_strokes_as_deep():
    strokes = hole_with(
        (700, 900), (250, 450, 50, 850), (50, 650, 350, 550)
    )  # 100 px and, where they cross, 141
    (cross,) = plan(photo(700, 900), strokes, reach=Reach(50, 50, 25))
    (square,) = plan(photo(700, 900), hole_with((700, 900), (250, 450, 350, 550)), reach=Reach(50, 50, 25))
    assert (cross.scale, square.scale) == (3, 4)
    for height, scale in ((330, 3), (450, 2)):  # 65 px deep: as a person stands, and a longer stroke
        (upright,) = plan(
            photo(700, 900), hole_with((700, 900), (150, 150 + height, 400, 530)), reach=Reach(50, 50, 25)
        )
        assert upright.scale == scale
    # weights of small images look twice at both, and reduce neither further
    for hole in (strokes, HOLES["one big square"]):
        assert [window.second for window in plan(photo(*hole.shape), hole)] == [False, True]


def test_a_reduced_window_averages_known_pixels_only():
    rgb = np.full((500, 700, 3), 200, np.uint8)
    hole = HOLES["one big square"]
    rgb[hole] = 0
    for window in plan(rgb, hole):
        assert np.allclose(window.image[~window.hole], 200 / 127.5 - 1, atol=1e-5)


def test_a_stroke_into_a_deep_hole_stays_at_full_resolution():
    stroke, square, second = plan(photo(500, 700), HOLES["a stroke into a square"])
    assert (stroke.scale, square.scale, second.scale) == (1, 3, 5)
    assert stroke.part.sum() > 4 * 250  # all but what is close to the square
    assert stroke.unknown.sum() > stroke.part.sum()  # the square is not known either


@pytest.mark.parametrize(("right", "kept"), [(0.4, "first"), (0.29, "first"), (0.2, "second")])
def test_of_two_fills_each_region_keeps_the_one_that_expects_to_be_less_off(monkeypatch, right, kept):
    monkeypatch.setattr("damgan_cli.inpainting.windows.match_seam", lambda fill, *_: fill)
    rgb = np.full((500, 700, 3), 51, np.uint8)
    result, fakeness = rgb.copy(), np.zeros(rgb.shape[:2], np.float32)
    first, second = plan(rgb, HOLES["one big square"], reach=Reach(80, 40, 80))  # columns 200 to 500
    assert (first.second, second.second) == (False, True)
    paste(first, fill_of(first, 0.3), result, fakeness)  # colour and fakeness
    levels = (0.3 + 1) * 127.5, (0.1 + 1) * 127.5
    fill = fill_of(second, 0.1)
    fill[:, second.hole.shape[1] // 2 :, 3] = right  # 0.29 is too little less than 0.3
    paste(second, fill, result, fakeness)
    assert abs(result[250, 220, 0] - levels[1]) <= 1
    assert abs(result[250, 480, 0] - levels[kept == "second"]) <= 1
    assert np.abs(np.diff(result[250, 210:490, 0].astype(int))).max() <= 4  # levels: one fades into the other


@pytest.mark.parametrize("name", [*HOLES])
def test_a_constant_fill_comes_out_constant_across_windows_and_scales(name):
    hole = HOLES[name]
    rgb = np.full((*hole.shape, 3), 51, np.uint8)
    result, fakeness = rgb.copy(), np.zeros(hole.shape, np.float32)
    for window in plan(rgb, hole):
        fill = fill_of(window, 51 / 127.5 - 1)
        fill[..., 3] = 0.25
        paste(window, fill, result, fakeness, copying=copying_of(128))
    assert (result == 51).all()
    assert np.allclose(fakeness[hole], 0.25, atol=1e-6)


def test_neighbouring_windows_blend_without_a_step(monkeypatch):
    monkeypatch.setattr("damgan_cli.inpainting.windows.match_seam", lambda fill, *_: fill)
    hole = HOLES["longer than a window"]
    windows = list(plan(photo(*hole.shape), hole))
    assert len(windows) > 2
    result = np.zeros((*hole.shape, 3), np.uint8)
    for number, window in enumerate(windows):  # that disagree as much as they can
        paste(window, fill_of(window, 1 if number % 2 else -1), result, np.zeros(hole.shape, np.float32))
    steps = np.abs(np.diff(result[115, 5:3495, 0].astype(int)))
    assert steps.max() <= 255 / OVERLAP + 1
    assert steps.sum() > 255


@pytest.mark.parametrize("shape", [(LARGEST, LARGEST), (LARGEST // 2, 2 * LARGEST)])
def test_a_photo_no_larger_than_a_window_is_not_cut(shape):
    height, width = shape
    hole = hole_with(
        shape, (3, 20, 3, width - 3), (height - 20, height - 3, 3, width - 3), (20, height, 90, 99)
    )
    (window,) = plan(photo(*shape), hole)
    assert window.hole.shape == shape


def test_parts_share_a_window_where_that_is_cheaper():
    near = hole_with((800, 800), (300, 330, 300, 330), (300, 330, 360, 390), (360, 390, 330, 360))
    (window,) = plan(photo(800, 800), near)
    assert window.hole.shape == (192, 192)  # less than three that overlap
    assert window.part.sum() == near.sum()
    far = hole_with((800, 800), (300, 330, 100, 130), (300, 330, 600, 630))
    assert [window.hole.shape for window in plan(photo(800, 800), far)] == [(128, 128)] * 2


def test_a_scratch_across_a_large_photo_costs_what_the_scratch_costs():
    shape = (3000, 4000)
    hole = np.zeros(shape, bool)
    for row in range(shape[0]):
        hole[row, row : row + 6] = True
    rgb = np.broadcast_to(np.uint8(7), (*shape, 3))
    tracemalloc.start()
    pixels = sum(window.hole.size for window in plan(rgb, hole))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert pixels < 0.25 * hole.size
    assert peak < 12 * hole.size  # bytes; a window around the whole of it would take ten times that


def test_a_small_hole_in_a_huge_photo_costs_what_the_hole_costs():
    shape = (4000, 6000)
    hole = hole_with(shape, (3900, 3940, 70, 110))
    rgb = np.broadcast_to(np.uint8(7), (*shape, 3))
    tracemalloc.start()
    (window,) = plan(rgb, hole)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000  # bytes; one array of the photo's size would be 24 million
    (alone,) = plan(rgb[3600:, :400], hole[3600:, :400])
    assert np.array_equal(window.image, alone.image)
    assert np.array_equal(window.part, alone.part)


@pytest.mark.parametrize(("scale", "octaves"), [(2, [1]), (3, [2, 1])])
def test_octaves_go_on_from_the_fill_where_it_lies(scale, octaves):
    """A ramp that is filled well goes on as a ramp, in place; sides are no multiples of the scale."""
    height, width = 301, 403
    rows, columns = np.mgrid[:height, :width]
    rgb = (20 + 0.3 * rows + 0.25 * columns)[..., None].repeat(3, 2).astype(np.uint8)
    nowhere = np.zeros((height, width), bool)
    hole = hole_with((height, width), (100, 200, 100, 300))
    (window,) = plan(rgb, hole, reach=Reach(50 / scale, 50 / scale, 50 / scale))
    assert window.scale == scale
    for octave in octaves:
        well = reduced(rgb[window.box], nowhere[window.box], window.scale)[0]
        window = window.finer(np.dstack([well, well[..., 0]]), rgb, 2.0)
        image, unknown = reduced(rgb[window.box], hole[window.box], octave)
        assert window.scale == octave
        assert np.array_equal(window.image, image)
        assert np.array_equal(window.hole, unknown)
    off = (window.given - blanked(rgb, nowhere)[window.box])[8:-8, 8:-8]
    assert np.abs(off).max() < 0.01  # a level
    assert abs(off.mean()) < 0.0006  # half a pixel off would be 0.002


def test_what_the_next_octave_starts_from_is_blurred_and_has_the_colours_of_the_border():
    rgb = np.full((300, 400, 3), 200, np.uint8)
    hole = hole_with((300, 400), (100, 200, 100, 300))
    (window,) = plan(rgb, hole, reach=Reach(25, 25, 25))
    noise = np.random.default_rng(0).normal(0, 0.2, (*window.hole.shape, 4)).astype(np.float32)
    sharp, soft = (window.finer(noise, rgb, blur).given[hole[window.box]] for blur in (0.5, 4))
    assert 0.25 * sharp.std() > soft.std() > 0.01
    assert soft.mean() == pytest.approx(200 / 127.5 - 1, abs=0.1)  # not 0


def test_an_octave_keeps_the_colours_of_what_it_refined_and_adds_detail():
    rgb = np.full((300, 400, 3), 128, np.uint8)
    hole = hole_with((300, 400), (100, 200, 100, 300))
    (window,) = plan(rgb, hole, reach=Reach(25, 25, 25))
    window = window.finer(np.zeros((*window.hole.shape, 4), np.float32), rgb, 2.0)
    redder = np.random.default_rng(0).normal(0, 0.2, (*window.hole.shape, 4)).astype(np.float32)
    inside = np.zeros_like(window.hole)
    inside[130:170, 130:270] = True
    redder[..., 0] += 0.3 * inside[window.box]
    fill = window.prepared(redder, rgb, np.zeros(hole.shape, np.float32)).fill[inside[window.box]]
    assert np.abs(fill[:, :3].mean(0)).max() < 0.05
    assert fill[:, :3].std() > 0.18


def test_lines_that_go_on_are_drawn_into_what_guides_pieces(monkeypatch):
    image = np.full((600, 600, 3), 200, np.uint8)
    image[300:] = 60
    hole = np.zeros((600, 600), bool)
    hole[200:400, 200:400] = True
    (window,) = plan(image, hole, reach=reach_of(256))
    given = []
    monkeypatch.setattr(windows, "Exemplar", lambda filled, *_, lines: given.extend((filled, lines)))
    fill = fill_of(window, 0.0)
    window.prepared(fill, image, np.zeros((600, 600), np.float32), copying=copying_of(256), pieces=True)
    filled, lines = given
    assert np.abs(lines.directions[0, 0]) < 0.01
    for row, level in ((-3, 200), (3, 60)):
        seen = filled[300 // window.scale + row, 300 // window.scale]
        assert seen == pytest.approx(level / 127.5 - 1, abs=0.1)
